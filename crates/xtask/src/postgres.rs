//! A PostgreSQL of the workspace's own: a new cluster in a folder that goes with it, on 127.0.0.1
//! only, where everybody who can connect is trusted. Durable as users' servers are (fsync is on),
//! because what the tests find out shall hold there.

mod binaries;
mod folder;

use std::fs::{self, File};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use self::binaries::Binaries;
use self::folder::Folder;
use crate::process::{POLL, Process, check_interrupted, interrupted};
use crate::{http, python};

/// A new cluster is ready within a second; machines under load take longer.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What every server is started with: logical replication, and room for many tests at once.
const SETTINGS: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "wal_level=logical",
    "max_connections=200",
    "max_replication_slots=20",
    "max_wal_senders=20",
];

/// A PostgreSQL that is ready, ended and removed when dropped.
pub(crate) struct Server {
    // In this order: the process ends before its files go.
    process: Process,
    folder: Folder,
    port: u16,
    version: String,
}

impl Server {
    /// Makes a cluster, starts it on `port` of 127.0.0.1 and waits until it is ready.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let binaries = Binaries::get()?;
        let folder = Folder::make()?;
        let log = File::create(folder.log())?;
        let mut initdb = folder.command(binaries.initdb());
        initdb
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            // An interrupted machine loses a test's cluster; the server itself does sync.
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(folder.data())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?);
        let made = Process::spawn(&mut initdb).context("initdb cannot be run")?.wait(None)?;
        if !made.success() {
            bail!("initdb failed, {made}; its log ends:\n{}", python::tail(&folder.log()));
        }
        let mut command = folder.command(binaries.postgres());
        command.arg("-D").arg(folder.data()).args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let process = Process::spawn(command.stdout(log.try_clone()?).stderr(log))
            .context("postgres cannot be run")?
            // At once: others would wait for clients, or write what is thrown away anyhow.
            .ended_by(Signal::SIGQUIT);
        let version = binaries.version().to_owned();
        let mut server = Self { process, folder, port, version };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        let status_file = self.folder.data().join("postmaster.pid");
        // The last line, once there is one, says `ready`, as pg_ctl reads it.
        let is_ready = || {
            let status = fs::read_to_string(&status_file).unwrap_or_default();
            status.lines().nth(7).is_some_and(|line| line.trim_end() == "ready")
        };
        while !is_ready() {
            check_interrupted()?;
            let ended = self.process.try_wait()?;
            if ended.is_some() || start.elapsed() > START_DEADLINE {
                let what = ended.map_or_else(
                    || format!("is not ready after {} s", START_DEADLINE.as_secs()),
                    |status| format!("ended while it started, {status}"),
                );
                let log = python::tail(&self.folder.log());
                bail!("PostgreSQL {what}; its log ends:\n{log}");
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Where clients connect, as the superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Version and address, for people.
    pub(crate) fn description(&self) -> String {
        format!("PostgreSQL {} at {} (process {})", self.version, self.url(), self.process.id())
    }
}

/// Runs one until Ctrl-C.
pub(crate) fn run() -> Result<bool> {
    let mut server = Server::start(http::free_port()?)?;
    println!("{}\nFor tests: export DATABASE_URL={}", server.description(), server.url());
    while !interrupted() {
        if let Some(status) = server.process.try_wait()? {
            bail!("PostgreSQL ended, {status}");
        }
        sleep(POLL);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{Binaries, Server};
    use crate::{http, process};

    #[test]
    fn a_server_and_its_files_end_with_it() {
        if Binaries::find().is_none() {
            eprintln!("skipped: no PostgreSQL is installed");
            return;
        }
        let port = http::free_port().unwrap();
        let server = Server::start(port).unwrap();
        let (id, data) = (server.process.id(), server.folder.data());
        assert!(process::runs(id, "postgres") && data.join("PG_VERSION").exists());
        drop(server);
        assert!(!process::runs(id, "postgres") && !http::listens(port));
        assert!(!data.parent().unwrap().exists());
    }
}
