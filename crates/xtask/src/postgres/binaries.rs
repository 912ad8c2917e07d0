//! Where PostgreSQL's programs are; installed if they are missing and this process may do that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::process::Process;
use crate::{python, root};

/// The oldest major version that is supported by its makers, and known to work.
const OLDEST: u32 = 14;

const MISSING: &str = "PostgreSQL 14 or newer is needed: `apt install postgresql` (Debian, Ubuntu), \
    `dnf install postgresql-server` (Fedora), `brew install postgresql@17` (macOS); \
    or set DATABASE_URL to a server's URL";

/// Says so to the Debian packages: no cluster of the system's own is made and started.
const NO_CLUSTER: (&str, &str) =
    ("/etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n");

/// A folder with `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// Finds them, or installs them first.
    pub(super) fn get() -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        if !(Uid::effective().is_root() && Path::new("/usr/bin/apt-get").exists()) {
            bail!(MISSING);
        }
        install()?;
        Self::find().context(MISSING)
    }

    /// Those on the PATH, those that `pg_config` knows, or the newest in the places where packages
    /// put them.
    pub(super) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let chosen = std::env::split_paths(&path).chain(told_by_pg_config());
        let newest = || packaged().filter_map(|folder| Self::of(&folder)).max_by_key(Self::major);
        chosen.filter_map(|folder| Self::of(&folder)).next().or_else(newest)
    }

    /// None if they are not there, do not run, or are too old.
    fn of(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").exists() {
            return None;
        }
        // On the PATH there may be links, beside which `postgres` does not find its own files.
        let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let version = version(&String::from_utf8_lossy(&output.stdout))?;
        let found = Self { folder: postgres.parent()?.to_owned(), version };
        (found.major()? >= OLDEST).then_some(found)
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    fn major(&self) -> Option<u32> {
        self.version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    }
}

/// `15.18` in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("(PostgreSQL) ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn told_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().into())
}

/// Debian's, Fedora's and PGDG's places, Homebrew's on both kinds of Mac.
fn packaged() -> impl Iterator<Item = PathBuf> {
    let below = |folder: &str, beginning: &'static str| {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries
            .filter(move |entry| entry.file_name().to_string_lossy().starts_with(beginning))
            .map(|entry| entry.path().join("bin"))
    };
    below("/usr/lib/postgresql", "")
        .chain(below("/usr", "pgsql-"))
        .chain(below("/opt/homebrew/opt", "postgresql@"))
        .chain(below("/usr/local/opt", "postgresql@"))
}

/// By apt, as root: what continuous integration on Debian and Ubuntu is.
fn install() -> Result<()> {
    println!("Installing PostgreSQL by apt-get (once)");
    let configuration = Path::new(NO_CLUSTER.0);
    if !configuration.exists() {
        fs::create_dir_all(configuration.parent().unwrap_or(configuration))?;
        fs::write(configuration, NO_CLUSTER.1)?;
    }
    let folder = root().join("target/postgres");
    fs::create_dir_all(&folder)?;
    let log = folder.join("apt.log");
    let output = File::create(&log)?;
    let run = |arguments: &[&str]| -> Result<bool> {
        let mut apt = Command::new("apt-get");
        apt.args(arguments)
            .args(["--quiet", "--option", "DPkg::Lock::Timeout=120"])
            // The configuration above stays, instead of a question about it.
            .args(["--option", "Dpkg::Options::=--force-confold"])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?);
        Ok(Process::spawn(&mut apt).context("apt-get cannot be run")?.wait(None)?.success())
    };
    // One source of several that does not answer need not matter: the installation decides.
    run(&["update"])?;
    if !run(&["install", "--yes", "--no-install-recommends", "postgresql"])? {
        bail!("apt-get failed; {} ends:\n{}\n{MISSING}", log.display(), python::tail(&log));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Binaries, version};

    #[test]
    fn the_version_is_what_postgres_prints() {
        for (line, wanted, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "15.18", 15),
            ("postgres (PostgreSQL) 17.2", "17.2", 17),
            ("postgres (PostgreSQL) 19devel", "19devel", 19),
        ] {
            let version = version(line).unwrap();
            assert_eq!(version, wanted);
            assert_eq!(Binaries { folder: "/".into(), version }.major(), Some(major));
        }
        assert_eq!(version("something else 3"), None);
    }
}
