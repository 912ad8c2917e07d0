//! LocalStack as a Python process, for machines without Docker.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::process::{self, Process};
use crate::python;

const MODULE: &str = "localstack.runtime.main";

/// What every run has in its environment, besides its port and folder.
const ENVIRONMENT: [(&str, &str); 15] = [
    // Else a /.dockerenv on the machine makes it write to the system's folders.
    ("OVERRIDE_IN_DOCKER", "0"),
    // No telemetry, no certificate from the network, no DNS server.
    ("DISABLE_EVENTS", "1"),
    ("SKIP_SSL_CERT_DOWNLOAD", "1"),
    ("DNS_ADDRESS", "0"),
    ("KINESIS_PERSISTENCE", "0"),
    ("KINESIS_LATENCY", "0"),
    // Tests leave their streams behind.
    ("KINESIS_SHARD_LIMIT", "100000"),
    // Functions are processes: localstack/executor.
    ("LAMBDA_RUNTIME_EXECUTOR", "process"),
    // A function that was created can be invoked.
    ("LAMBDA_SYNCHRONOUS_CREATE", "1"),
    // Event source mappings look every second, and ever more seldom, up to 10 s, while nothing
    // comes; after an error they wait up to a minute, as does a failed asynchronous invocation.
    ("LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC", "0.05"),
    ("LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC", "0.2"),
    ("LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_ERROR_SEC", "1"),
    ("LAMBDA_RETRY_BASE_DELAY", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("PYTHONNOUSERSITE", "1"),
];

/// The process and its folder, ended and removed when dropped.
pub(super) struct Runtime {
    process: Option<Process>,
    folder: PathBuf,
}

impl Runtime {
    /// Starts the process; it is not ready yet.
    pub(super) fn start(root: &Path, port: u16) -> Result<Self> {
        let python = python::environment(root)?;
        let folder = folder(root, port);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let temporary = folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        // The folder is this run's alone; what was installed once is used by all.
        let packages = folder.join(python::PACKAGES);
        fs::create_dir_all(packages.parent().unwrap_or(&folder))?;
        symlink(python::packages(&python)?, packages)?;
        let log = File::create(log(&folder))?;
        let mut command = Command::new(&python);
        command
            .args(["-m", MODULE])
            .current_dir(&folder)
            .envs(ENVIRONMENT)
            .env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"))
            .env("FILESYSTEM_ROOT", &folder)
            .env("TMPDIR", &temporary)
            .env("PATH", python::path(&python)?)
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = Process::spawn(&mut command)
            .with_context(|| format!("{} cannot be run", python.display()))?;
        Ok(Self { process: Some(process), folder })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    /// The exit status, if it has ended by itself.
    pub(super) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.process.as_mut().map_or(Ok(None), Process::try_wait)
    }

    /// The log's last lines.
    pub(super) fn log_tail(&self) -> String {
        python::tail(&log(&self.folder))
    }

    /// Gives the process up to live on.
    pub(super) fn leave_running(mut self) {
        if let Some(process) = self.process.take() {
            process.leave_running();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end();
            clear(&self.folder);
        }
    }
}

/// Stops what was left running, with its files.
pub(super) fn stop(root: &Path, port: u16, id: u32) {
    process::end_tree(id, Signal::SIGTERM, || !runs(id));
    clear(&folder(root, port));
}

fn clear(folder: &Path) {
    // Only left-overs of a run that is over: not worth a message.
    let _ = fs::remove_dir_all(folder);
}

/// The files of a run.
fn folder(root: &Path, port: u16) -> PathBuf {
    root.join(format!("target/localstack/port-{port}"))
}

/// Whether process `id` is a LocalStack.
pub(super) fn runs(id: u32) -> bool {
    process::runs(id, MODULE)
}

fn log(folder: &Path) -> PathBuf {
    folder.join("localstack.log")
}
