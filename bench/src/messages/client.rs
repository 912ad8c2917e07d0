//! A contestant in a process of its own: this program, started once more.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::messages::{consume, publish};
use crate::simulator::Simulator;

/// What the process is to do: the line that it reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    Publish(publish::Job),
    Consume(consume::Job),
}

/// What the process says: the lines that it writes.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    /// From here on it is measured …
    Begins,
    /// … until here.
    Ends,
    Done(Done),
}

/// What the process knows of its work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Of its whole life, accepted or handled.
    pub(crate) messages: u64,
    /// Handled more than once.
    pub(crate) twice: u64,
    /// In a second of what was measured.
    pub(crate) per_second: f64,
    /// Seconds of the processor for each.
    pub(crate) processor: f64,
    /// The processors that it used while it was measured.
    pub(crate) share: f64,
    /// Bytes at its largest.
    pub(crate) memory: u64,
}

/// What a contestant came to in a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) done: Done,
    /// For each message.
    pub(crate) requests: f64,
    /// The processors that the simulator used while the contestant was measured.
    pub(crate) simulator_share: f64,
}

/// Has a process of its own do it.
pub(crate) async fn run(job: &Job, simulator: &mut Simulator) -> Result<Figures> {
    let before = simulator.usage().await?;
    let mut process = Command::new(std::env::current_exe()?)
        .arg("client")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("the client cannot be started")?;
    let mut input = process.stdin.take().context("the client has no input")?;
    input.write_all((serde_json::to_string(job)? + "\n").as_bytes()).await?;
    let output = process.stdout.take().context("the client has no output")?;
    let mut lines = BufReader::new(output).lines();
    let (mut begun, mut share, mut done) = (None, None, None);
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Line::Begins => begun = Some((Instant::now(), simulator.usage().await?.processor)),
            Line::Ends => {
                let (at, processor) = begun.context("it ends before it began")?;
                let used: Duration = simulator.usage().await?.processor - processor;
                share = Some(used.as_secs_f64() / at.elapsed().as_secs_f64());
            }
            Line::Done(it) => done = Some(it),
        }
    }
    let status = process.wait().await?;
    ensure!(status.success(), "the client ended with {status}");
    let (done, simulator_share) = done.zip(share).context("the client says nothing")?;
    let requests = simulator.usage().await?.requests() - before.requests();
    Ok(Figures { done, requests: requests as f64 / done.messages as f64, simulator_share })
}

/// What the process does.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve() -> Result<()> {
    let mut job = String::new();
    std::io::stdin().read_line(&mut job)?;
    let done = match serde_json::from_str(&job)? {
        Job::Publish(job) => publish::publish(job).await?,
        Job::Consume(job) => consume::consume(job).await?,
    };
    say(&Line::Done(done))
}

pub(crate) fn begins() -> Result<()> {
    say(&Line::Begins)
}

pub(crate) fn ends() -> Result<()> {
    say(&Line::Ends)
}

fn say(line: &Line) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}
