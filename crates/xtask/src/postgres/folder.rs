//! The folder of one run's cluster, and the account that it belongs to.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::process::{end_tree, runs};
use crate::root;

/// What the folders' names begin with.
const PREFIX: &str = "fanfare-postgres-";

/// Who runs the server where this process is root, whom PostgreSQL refuses: the first that exists.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// A folder younger than this may belong to a run that has not locked it yet.
const YOUNG: Duration = Duration::from_secs(60);

/// Removed with all that is in it when dropped.
pub(super) struct Folder {
    folder: TempDir,
    account: Option<User>,
    /// Locked as long as this process lives, so that others know that the folder is in use.
    _lock: File,
}

impl Folder {
    /// A new folder under `target/`, or in the system's temporary folder if the account that runs
    /// the server cannot reach `target/`.
    pub(super) fn make() -> Result<Self> {
        let target = root().join("target/postgres");
        fs::create_dir_all(&target)?;
        let account = account()?;
        for base in [target, std::env::temp_dir()] {
            remove_left_overs(&base);
            let folder = Self::make_in(&base, account.clone())?;
            if folder.is_reachable() {
                return Ok(folder);
            }
        }
        bail!(
            "the account that runs PostgreSQL cannot write to target/ nor to the temporary folder"
        )
    }

    fn make_in(base: &Path, account: Option<User>) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(base)
            .with_context(|| format!("no folder can be made in {}", base.display()))?;
        let lock = File::create(lock_file(folder.path()))?;
        lock.lock()?;
        let made = Self { folder, account, _lock: lock };
        // The account has to pass through, not to look around.
        fs::set_permissions(made.folder.path(), Permissions::from_mode(0o711))?;
        fs::create_dir(made.data())?;
        fs::set_permissions(made.data(), Permissions::from_mode(0o700))?;
        if let Some(account) = &made.account {
            chown(made.data(), Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        }
        Ok(made)
    }

    /// Whether the account can write to the data: every folder above has to let it pass.
    fn is_reachable(&self) -> bool {
        let mut test = self.command("test");
        let status = test.arg("-w").arg(self.data()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// The cluster's own folder.
    pub(super) fn data(&self) -> PathBuf {
        data(self.folder.path())
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }

    /// A command that the account runs.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        // The current one may be closed to the account.
        command.current_dir("/");
        if let Some(account) = &self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        command
    }
}

/// None: this process may run the server itself.
fn account() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ACCOUNTS {
        if let Some(account) = User::from_name(name)? {
            return Ok(Some(account));
        }
    }
    bail!("PostgreSQL does not run as root, and there is no user {}", ACCOUNTS.join(" or "))
}

/// Ends and removes what runs that were killed left in `base`.
fn remove_left_overs(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().filter_map(Result::ok);
    let ours = entries.filter(|entry| {
        let metadata = entry.metadata().ok();
        entry.file_name().to_string_lossy().starts_with(PREFIX)
            && metadata.is_some_and(|metadata| {
                let age = metadata.modified().ok().and_then(|made| made.elapsed().ok());
                metadata.uid() == Uid::effective().as_raw() && age.is_some_and(|age| age > YOUNG)
            })
    });
    for folder in ours.map(|entry| entry.path()) {
        let lock = File::open(lock_file(&folder));
        if !lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            continue;
        }
        let data = data(&folder);
        let first_line = fs::read_to_string(data.join("postmaster.pid"));
        let id = first_line.ok().and_then(|text| text.lines().next()?.parse().ok());
        let is_left = |id: u32| runs(id, &data.to_string_lossy());
        if let Some(id) = id.filter(|id| is_left(*id)) {
            end_tree(id, Signal::SIGQUIT, || !is_left(id));
        }
        // What cannot be removed now is tried again by the next run.
        let _ = fs::remove_dir_all(&folder);
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn lock_file(folder: &Path) -> PathBuf {
    folder.join("lock")
}
