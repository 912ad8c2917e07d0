//! Publishers in turn, each with a simulator of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::machine::{own_time, peak_memory};
use crate::messages::Plan;
use crate::messages::client::{self, Done, Figures};
use crate::messages::place::{self, QUEUE_NAME};
use crate::messages::publishers::{ALL, Entry};
use crate::simulator::Simulator;

/// Bytes of an event's data.
const SIZES: [usize; 2] = [300, 3_000];

/// Events that callers take in turn, again and again.
const EVENTS: u64 = 1_000;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    publisher: String,
    url: String,
    bytes: usize,
    warm_up: Duration,
    window: Duration,
}

/// Events of a size, and what each publisher came to with them, round by round.
pub(crate) struct Results {
    pub(crate) bytes: usize,
    /// With its envelope, on average.
    pub(crate) body: usize,
    pub(crate) rows: Vec<(Entry, Vec<Figures>)>,
}

pub(crate) async fn run(plan: Plan, only: Option<&str>) -> Result<Vec<Results>> {
    let mut results = Vec::new();
    for bytes in SIZES {
        let mut rows: Vec<(Entry, Vec<Figures>)> = ALL
            .iter()
            .filter(|entry| only.is_none_or(|only| entry.name.contains(only)))
            .map(|entry| (*entry, Vec::new()))
            .collect();
        if rows.is_empty() {
            continue;
        }
        for round in 0..plan.rounds {
            eprintln!("Publishing {bytes} B, round {} of {}", round + 1, plan.rounds);
            rows.rotate_left(1);
            for (entry, rounds) in &mut rows {
                let figures = measure(entry, bytes, plan).await;
                rounds.push(
                    figures.with_context(|| format!("{}, publishing {bytes} B", entry.name))?,
                );
            }
        }
        rows.sort_by_key(|(entry, _)| ALL.iter().position(|other| other.name == entry.name));
        let messages = place::messages(EVENTS, bytes)?;
        let body =
            messages.iter().map(|message| message.body.len()).sum::<usize>() / messages.len();
        results.push(Results { bytes, body, rows });
    }
    Ok(results)
}

async fn measure(entry: &Entry, bytes: usize, plan: Plan) -> Result<Figures> {
    let mut simulator = Simulator::start().await?;
    place::create(&place::config(simulator.url()).await).await?;
    let job = client::Job::Publish(Job {
        publisher: entry.name.into(),
        url: simulator.url().into(),
        bytes,
        warm_up: plan.warm_up,
        window: plan.window,
    });
    let figures = client::run(&job, &mut simulator).await?;
    let (accepted, arrived) = (figures.done.messages, simulator.left(QUEUE_NAME).await?);
    ensure!(arrived == accepted, "{accepted} were accepted, and {arrived} have arrived");
    Ok(figures)
}

/// What the contestant's process does.
pub(crate) async fn publish(job: Job) -> Result<Done> {
    let entry =
        ALL.iter().find(|entry| entry.name == job.publisher).context("no such publisher")?;
    let messages = Arc::new(place::messages(EVENTS, job.bytes)?);
    let publisher = (entry.set_up)(place::config(&job.url).await).await?;
    let stop = CancellationToken::new();
    let mut callers = JoinSet::new();
    for caller in 0..entry.callers {
        let (publisher, messages) = (Arc::clone(&publisher), Arc::clone(&messages));
        let (stop, size) = (stop.clone(), entry.call);
        callers.spawn(async move {
            let mut calls = Vec::new();
            for events in messages.chunks_exact(size).cycle().skip(caller) {
                if stop.is_cancelled() {
                    break;
                }
                publisher.publish(events).await?;
                calls.push(Instant::now());
            }
            anyhow::Ok(calls)
        });
    }
    let window = async {
        tokio::time::sleep(job.warm_up).await;
        let from = (Instant::now(), own_time());
        client::begins()?;
        tokio::time::sleep(job.window).await;
        client::ends()?;
        anyhow::Ok((from, (Instant::now(), own_time())))
    };
    let failed = async {
        // None ends by itself before it is told to, but by an error.
        let ended = callers.join_next().await.context("no caller")?;
        anyhow::Ok(ended?.err().context("a caller has ended")?)
    };
    let ((from, before), (to, after)) = tokio::select! {
        window = window => window?,
        failed = failed => return Err(failed?),
    };
    stop.cancel();
    let mut calls = Vec::new();
    while let Some(ended) = callers.join_next().await {
        calls.extend(ended?.context("a caller failed")?);
    }
    let within = calls.iter().filter(|ended| from < **ended && **ended <= to).count();
    let (seconds, processor) = ((to - from).as_secs_f64(), (after - before).as_secs_f64());
    let messages = (within * entry.call) as f64;
    Ok(Done {
        messages: (calls.len() * entry.call) as u64,
        twice: 0,
        per_second: messages / seconds,
        processor: processor / messages,
        share: processor / seconds,
        memory: peak_memory().unwrap_or_default(),
    })
}
