//! The simulator on a free port, for clients that are not Rust.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http;
use crate::process::{POLL, Process, check_interrupted};
use crate::step::cargo;

const START_DEADLINE: Duration = Duration::from_secs(20);

/// A simulator that listens, ended when dropped.
pub(crate) struct Simulator {
    port: u16,
    _process: Process,
}

impl Simulator {
    /// Starts the binary that the workspace's tests were built with.
    pub(crate) fn start() -> Result<Self> {
        let port = http::free_port()?;
        let mut command = Command::new(binary()?);
        let mut process = Process::spawn(command.args(["--port", &port.to_string()]))
            .context("the simulator cannot be run")?;
        let start = Instant::now();
        while !http::listens(port) {
            check_interrupted()?;
            if let Some(status) = process.try_wait()? {
                bail!("the simulator ended while it started, {status}");
            }
            if start.elapsed() > START_DEADLINE {
                bail!("the simulator does not listen after {} s", START_DEADLINE.as_secs());
            }
            sleep(POLL);
        }
        Ok(Self { port, _process: process })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Built with the whole workspace's features, as the tests are: `cargo run --package` would choose
/// others, and compile the dependencies once more.
fn binary() -> Result<String> {
    let output = cargo(&["test", "--workspace", "--all-targets", "--no-run", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run")?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|artifact| {
            artifact["target"]["name"] == "fanfare-sim"
                && artifact["target"]["kind"][0] == "bin"
                && artifact["profile"]["test"] == false
        })
        .find_map(|artifact| artifact["executable"].as_str().map(str::to_owned))
        .context("cargo built no fanfare-sim")
}
