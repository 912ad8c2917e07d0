//! The simulator, in a process of its own: this program, started once more.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use fanfare_kpl::Opened;
use fanfare_sim::Sim;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::machine::own_time;

/// What the simulator can be asked, a line each, beside its services.
#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Usage,
    Stored { stream: String },
    Left { queue: String },
}

/// A simulator that runs until the value is dropped.
pub(crate) struct Simulator {
    url: String,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

/// What was asked of it since it was started, and what that took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// By action, those that it refused included.
    pub(crate) requests: BTreeMap<String, u64>,
    pub(crate) processor: Duration,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) records: u64,
    /// More than records, where those are aggregates.
    pub(crate) events: u64,
}

impl Simulator {
    pub(crate) async fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("simulator")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the simulator cannot be started")?;
        let questions = process.stdin.take().context("the simulator has no input")?;
        let output = process.stdout.take().context("the simulator has no output")?;
        let mut answers = BufReader::new(output).lines();
        let url = answers.next_line().await?.context("the simulator ended at once")?;
        Ok(Self { url, questions, answers, _process: process })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn usage(&mut self) -> Result<Usage> {
        self.ask(&Question::Usage).await
    }

    pub(crate) async fn stored(&mut self, stream: &str) -> Result<Stored> {
        self.ask(&Question::Stored { stream: stream.into() }).await
    }

    /// How many messages a queue holds, received ones included.
    pub(crate) async fn left(&mut self, queue: &str) -> Result<u64> {
        self.ask(&Question::Left { queue: queue.into() }).await
    }

    async fn ask<A: DeserializeOwned>(&mut self, question: &Question) -> Result<A> {
        let question = serde_json::to_string(question)? + "\n";
        self.questions.write_all(question.as_bytes()).await?;
        let answer = self.answers.next_line().await?.context("the simulator is gone")?;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Usage {
    /// All requests of it.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// What the other process does: it serves, and answers questions until there are no more.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn simulate() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let sim = Sim::new();
    tokio::select! {
        served = sim.serve(listener, std::future::pending()) => Ok(served?),
        answered = answer(&sim) => answered,
    }
}

async fn answer(sim: &Sim) -> Result<()> {
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while let Some(question) = questions.next_line().await? {
        let answer = match serde_json::from_str(&question)? {
            Question::Usage => {
                let requests = sim.requests();
                let requests = requests.iter().map(|(_, action, count)| (action.into(), count));
                serde_json::to_string(&Usage {
                    requests: requests.collect(),
                    processor: own_time(),
                })?
            }
            Question::Stored { stream } => serde_json::to_string(&stored(sim, &stream)?)?,
            Question::Left { queue } => {
                let stats = sim.queue_stats(&queue).context("there is no such queue")?;
                serde_json::to_string(&stats.total())?
            }
        };
        println!("{answer}");
    }
    Ok(())
}

fn stored(sim: &Sim, stream: &str) -> Result<Stored> {
    let mut stored = Stored { records: 0, events: 0 };
    for record in sim.stream_records(stream) {
        stored.records += 1;
        stored.events += match fanfare_kpl::open(record.data)? {
            Opened::Plain(_) => 1,
            Opened::Aggregate(aggregate) => aggregate.records.len() as u64,
        };
    }
    Ok(stored)
}
