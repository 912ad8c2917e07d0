//! A LocalStack of the workspace's own: by Docker where an engine answers, else as a Python
//! process. Its files are under `target/localstack/`; what `up` leaves running is written down in
//! `target/localstack/state.json`, which `down` and `status` go by.

mod docker;
mod host;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{POLL, check_interrupted};
use crate::{http, root};

/// LocalStack's customary port.
pub(crate) const DEFAULT_PORT: u16 = 4566;

/// How long LocalStack may take until it is healthy; 2 s as a process, more in a cold container.
const START_DEADLINE: Duration = Duration::from_secs(120);

const HEALTH: &str = "/_localstack/health";

/// A LocalStack that is ready, ended when dropped.
pub(crate) struct Server {
    port: u16,
    version: String,
    mode: Mode,
}

enum Mode {
    Docker(docker::Project),
    Host(host::Runtime),
}

impl Mode {
    fn log_tail(&self) -> String {
        match self {
            Self::Docker(project) => project.log_tail(),
            Self::Host(runtime) => runtime.log_tail(),
        }
    }
}

impl Server {
    /// Starts LocalStack on `port` of 127.0.0.1 and waits until it is healthy.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let root = root();
        let mut mode = if docker::engine_answers() {
            Mode::Docker(docker::Project::start(&root, port)?)
        } else {
            Mode::Host(host::Runtime::start(&root, port)?)
        };
        let start = Instant::now();
        loop {
            check_interrupted()?;
            if let Some(version) = version(port) {
                start_kinesis(port).with_context(|| {
                    format!(
                        "LocalStack's Kinesis does not start; its log ends:\n{}",
                        mode.log_tail()
                    )
                })?;
                return Ok(Self { port, version, mode });
            }
            let failure = match &mut mode {
                Mode::Docker(_) => None,
                Mode::Host(runtime) => runtime.try_wait()?,
            };
            if failure.is_some() || start.elapsed() > START_DEADLINE {
                let what = failure.map_or_else(
                    || format!("is not healthy after {} s", START_DEADLINE.as_secs()),
                    |status| format!("ended while it started, {status}"),
                );
                bail!("LocalStack {what}; its log ends:\n{}", mode.log_tail());
            }
            sleep(POLL);
        }
    }

    /// The endpoint.
    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// Version and way of running, for people.
    pub(crate) fn description(&self) -> String {
        let mode = match &self.mode {
            Mode::Docker(_) => "in Docker".to_owned(),
            Mode::Host(runtime) => format!("process {}", runtime.id()),
        };
        format!("LocalStack {} at {} ({mode})", self.version, self.url())
    }

    /// Gives the server up to live on, written down for `down`.
    fn leave_running(self, state: &Path) -> Result<()> {
        let pid = match &self.mode {
            Mode::Docker(_) => None,
            Mode::Host(runtime) => Some(runtime.id()),
        };
        let text = json!({ "port": self.port, "version": self.version, "pid": pid });
        fs::write(state, format!("{text:#}\n"))
            .with_context(|| format!("{} cannot be written", state.display()))?;
        match self.mode {
            Mode::Docker(project) => project.leave_running(),
            Mode::Host(runtime) => runtime.leave_running(),
        }
        Ok(())
    }
}

/// Starts LocalStack and leaves it running; a second call changes nothing.
pub(crate) fn up(port: u16) -> Result<bool> {
    if let Some(running) = Recorded::read().filter(Recorded::is_running) {
        if running.port != port {
            bail!(
                "LocalStack runs on port {} already: `cargo xtask localstack down` first",
                running.port
            );
        }
        println!("{} runs already", running.description());
        return Ok(true);
    }
    if http::listens(port) {
        bail!("port {port} is taken by something that this command did not start: try --port");
    }
    let server = Server::start(port)?;
    let (description, url) = (server.description(), server.url());
    server.leave_running(&state_file())?;
    println!("{description}\nFor tests: export FANFARE_LOCALSTACK_URL={url}");
    Ok(true)
}

/// Stops what `up` left running, if it runs.
pub(crate) fn down() -> Result<bool> {
    match Recorded::read() {
        Some(recorded) if recorded.exists() => {
            match recorded.pid {
                Some(pid) => host::stop(&root(), recorded.port, pid),
                None => docker::stop(&root(), recorded.port)?,
            }
            println!("LocalStack stopped");
        }
        _ => println!("LocalStack is not running"),
    }
    if state_file().exists() {
        fs::remove_file(state_file())?;
    }
    Ok(true)
}

/// Says where LocalStack runs; false if it does not.
pub(crate) fn status() -> Result<bool> {
    let running = Recorded::read().filter(Recorded::is_running);
    match &running {
        Some(running) => println!("{}", running.description()),
        None => println!("LocalStack is not running: `cargo xtask localstack up` starts it"),
    }
    Ok(running.is_some())
}

/// What `up` wrote down.
struct Recorded {
    port: u16,
    version: String,
    /// None: in Docker.
    pid: Option<u32>,
}

impl Recorded {
    /// None if nothing, or nothing that can be read, was written down.
    fn read() -> Option<Self> {
        let text = fs::read_to_string(state_file()).ok()?;
        let state: Value = serde_json::from_str(&text).ok()?;
        Some(Self {
            port: state["port"].as_u64()?.try_into().ok()?,
            version: state["version"].as_str()?.to_owned(),
            pid: state["pid"].as_u64().and_then(|pid| pid.try_into().ok()),
        })
    }

    /// Whether there is something to stop, healthy or not.
    fn exists(&self) -> bool {
        self.pid.is_none_or(host::runs)
    }

    fn is_running(&self) -> bool {
        self.exists() && version(self.port).is_some()
    }

    fn description(&self) -> String {
        let mode = self.pid.map_or_else(|| "in Docker".to_owned(), |pid| format!("process {pid}"));
        format!("LocalStack {} at {} ({mode})", self.version, url(self.port))
    }
}

/// Has LocalStack start its Kinesis, a process of its own, which it does at the first call: some
/// seconds that no test waits for then.
fn start_kinesis(port: u16) -> Result<()> {
    const HEADERS: [(&str, &str); 3] = [
        ("X-Amz-Target", "Kinesis_20131202.ListStreams"),
        ("Content-Type", "application/x-amz-json-1.1"),
        (
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=host, Signature=0",
        ),
    ];
    http::post(port, &HEADERS, "{}", START_DEADLINE)?;
    Ok(())
}

/// The version of the LocalStack that is ready on `port`.
fn version(port: u16) -> Option<String> {
    let health: Value = serde_json::from_str(&http::get(port, HEALTH).ok()?).ok()?;
    health["version"].as_str().map(str::to_owned)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn state_file() -> PathBuf {
    root().join("target/localstack/state.json")
}
