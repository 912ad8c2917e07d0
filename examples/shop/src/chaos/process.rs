//! A process that is killed and started again.

use std::process::Stdio;

use anyhow::{bail, ensure};
use tokio::process::{Child, Command};

/// This program with other arguments. It is killed when it is dropped.
pub(super) struct Process {
    arguments: Vec<String>,
    child: Child,
}

impl Process {
    pub(super) fn start(places: &[String], command: &[&str]) -> anyhow::Result<Self> {
        let command = command.iter().map(ToString::to_string);
        let arguments: Vec<String> = places.iter().cloned().chain(command).collect();
        let child = spawn(&arguments)?;
        Ok(Process { arguments, child })
    }

    /// Kills it with SIGKILL and starts it again. It must not have ended by itself, unless well.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.is_done()?;
        self.child.kill().await?;
        self.child = spawn(&self.arguments)?;
        Ok(())
    }

    /// Whether it has ended by itself, and well.
    pub(super) fn is_done(&mut self) -> anyhow::Result<bool> {
        let Some(status) = self.child.try_wait()? else { return Ok(false) };
        ensure!(status.success(), "`shop {}`: {status}", self.arguments.join(" "));
        Ok(true)
    }

    /// Waits until it ends by itself.
    pub(super) async fn done(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("`shop {}`: {status}", self.arguments.join(" "));
        }
        Ok(())
    }
}

fn spawn(arguments: &[String]) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    // That retries are needed is no news here.
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    command.spawn()
}
