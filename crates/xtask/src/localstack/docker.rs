//! LocalStack in Docker, from `localstack/compose.yaml`: one compose project per port.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// An engine that takes longer to say that it is there is not there.
const ENGINE_DEADLINE: Duration = Duration::from_secs(10);

/// Whether a Docker engine answers, and its client knows `compose`.
pub(super) fn engine_answers() -> bool {
    let answers = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        let process =
            Process::spawn(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()));
        process.is_ok_and(|process| {
            process.wait(Some(ENGINE_DEADLINE)).is_ok_and(|status| status.success())
        })
    };
    answers(&["info"]) && answers(&["compose", "version"])
}

/// A compose project that is up, taken down when dropped.
pub(super) struct Project {
    root: PathBuf,
    port: u16,
    left_running: bool,
}

impl Project {
    /// Starts the container; the first time it pulls the image, which takes minutes.
    pub(super) fn start(root: &Path, port: u16) -> Result<Self> {
        // Made first: an interrupted or failed start is taken down too.
        let project = Self { root: root.into(), port, left_running: false };
        let process = Process::spawn(compose(root, port).args(["up", "--detach"]))
            .context("docker cannot be run")?;
        if !process.wait(None)?.success() {
            bail!("`docker compose up` failed: see above");
        }
        Ok(project)
    }

    /// The log's last lines.
    pub(super) fn log_tail(&self) -> String {
        let output = compose(&self.root, self.port).args(["logs", "--tail", "25"]).output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    /// Gives the project up to live on.
    pub(super) fn leave_running(mut self) {
        self.left_running = true;
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if !self.left_running
            && let Err(error) = stop(&self.root, self.port)
        {
            eprintln!("error: {error:#}");
        }
    }
}

/// Takes the project on `port` down, with its volumes and its functions' containers.
pub(super) fn stop(root: &Path, port: u16) -> Result<()> {
    // First, so that no more functions start.
    output(compose(root, port).args(["stop", "--timeout", "5"]))?;
    // LocalStack ends them itself, if it has the time; they would keep the network in use.
    let name = format!("name=^{}-localstack-1-lambda-", project(port));
    let functions = output(Command::new("docker").args(["ps", "-aq", "--filter", &name]))?;
    if !functions.trim().is_empty() {
        let remove = &mut Command::new("docker");
        output(remove.args(["rm", "--force"]).args(functions.split_whitespace()))?;
    }
    output(compose(root, port).args(["down", "--volumes"]))?;
    Ok(())
}

/// What a command prints. Not through `Process`: an interrupt must not keep the containers from
/// being taken down.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("docker cannot be run")?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn project(port: u16) -> String {
    format!("fanfare-localstack-{port}")
}

fn compose(root: &Path, port: u16) -> Command {
    let mut command = Command::new("docker");
    command
        .args(["compose", "--project-name", &project(port), "--file"])
        .arg(root.join("localstack/compose.yaml"))
        .env("FANFARE_LOCALSTACK_PORT", port.to_string());
    command
}
