//! A function in a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fanfare_testkit::runtime_api::{FunctionError, Invocation, RuntimeApi};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// What a function answers that has handled everything.
const ALL_HANDLED: &str = r#"{"batchItemFailures":[]}"#;

/// A function that has asked for work; it ends when dropped.
pub(crate) struct Function {
    api: RuntimeApi,
    process: Child,
    pid: Pid,
}

/// From its start to its first question for work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Init {
    pub(crate) took: Duration,
    pub(crate) processor: Duration,
}

impl Function {
    /// Starts one with the variables that Lambda sets and no others, so that nobody's home counts.
    /// Nothing that it might call is there: its answers do not need it.
    pub(crate) async fn start(program: &Path) -> Result<(Self, Init)> {
        let api = RuntimeApi::start().await?;
        let began = Instant::now();
        let mut process = Command::new(program)
            .env_clear()
            .envs(api.variables())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("DEAD_LETTERS", "http://127.0.0.1:9/000000000000/bench-orders-dlq")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let pid = Pid::from_raw(process.id().context("it has ended at once")?.try_into()?);
        let asked = tokio::select! {
            asked = api.first_asked() => asked,
            ended = process.wait() => bail!("it ended before it asked for work: {}", ended?),
        };
        let function = Function { api, process, pid };
        let processor = function.processor()?;
        Ok((function, Init { took: asked - began, processor }))
    }

    /// Invokes it; everything in the event has to be handled.
    pub(crate) async fn invoke(&mut self, event: &bytes::Bytes) -> Result<Duration> {
        let began = Instant::now();
        let answer = self.answer(event).await?;
        let took = began.elapsed();
        ensure!(answer == ALL_HANDLED, "it did not handle everything");
        Ok(took)
    }

    /// Invokes it, for its answer.
    pub(crate) async fn answer(&mut self, event: &bytes::Bytes) -> Result<bytes::Bytes> {
        let answer = tokio::select! {
            answer = self.api.invoke(Invocation::new(event.clone())) => answer,
            ended = self.process.wait() => bail!("it has ended: {}", ended?),
        };
        answer.map_err(|error: FunctionError| error.into())
    }

    /// What it has used of the processors since it began, all its threads together.
    pub(crate) fn processor(&self) -> Result<Duration> {
        Ok(clock_getcpuclockid(self.pid)?.now()?.into())
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        Ok(1_024
            * kibibytes.context("the system does not tell its memory")?.trim().parse::<u64>()?)
    }
}
