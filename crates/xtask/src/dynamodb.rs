//! A DynamoDB for the tests: moto's, in LocalStack's Python environment, which has it.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{POLL, Process, check_interrupted};
use crate::{http, python, root};

/// Run as `python dynamodb.py PORT`.
const SERVER: &str = "tests/servers/dynamodb.py";

const START_DEADLINE: Duration = Duration::from_secs(60);

/// A server that listens, ended when dropped.
pub(crate) struct Server {
    port: u16,
    process: Process,
}

impl Server {
    /// Starts it on `port` of 127.0.0.1.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let root = root();
        let mut command = Command::new(python::environment(&root)?);
        command.arg(SERVER).arg(port.to_string()).current_dir(&root).stdout(Stdio::null());
        let mut process = Process::spawn(&mut command).context("DynamoDB cannot be run")?;
        let start = Instant::now();
        while !http::listens(port) {
            check_interrupted()?;
            if let Some(status) = process.try_wait()? {
                bail!("DynamoDB ended while it started, {status}");
            }
            if start.elapsed() > START_DEADLINE {
                bail!("DynamoDB does not listen after {} s", START_DEADLINE.as_secs());
            }
            sleep(POLL);
        }
        Ok(Self { port, process })
    }

    /// The endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// For people.
    pub(crate) fn description(&self) -> String {
        format!("DynamoDB (moto) at {} (process {})", self.url(), self.process.id())
    }
}
