//! Consumers in turn, each with a simulator and a full queue of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::machine::{own_time, peak_memory};
use crate::messages::Plan;
use crate::messages::client::{self, Done, Figures};
use crate::messages::consumers::{ALL, Entry, Handler, Work};
use crate::messages::place::{self, QUEUE_NAME};
use crate::seen::Seen;
use crate::simulator::Simulator;

/// Bytes of an event's data.
pub(crate) const BYTES: usize = 300;

/// How long handlers take.
const HANDLERS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(5)];

/// A consumer that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    consumer: String,
    url: String,
    events: u64,
    takes: Duration,
}

/// Handlers that take so long, and what each consumer came to with them, round by round.
pub(crate) struct Results {
    pub(crate) takes: Duration,
    pub(crate) events: u64,
    pub(crate) rows: Vec<(Entry, Vec<Figures>)>,
}

pub(crate) async fn run(plan: Plan, only: Option<&str>) -> Result<Vec<Results>> {
    let mut results = Vec::new();
    for (takes, events) in HANDLERS.into_iter().zip(plan.events) {
        let mut rows: Vec<(Entry, Vec<Figures>)> = ALL
            .iter()
            .filter(|entry| only.is_none_or(|only| entry.name.contains(only)))
            .map(|entry| (*entry, Vec::new()))
            .collect();
        if rows.is_empty() {
            continue;
        }
        for round in 0..plan.rounds {
            eprintln!("Consuming, handlers of {takes:?}, round {} of {}", round + 1, plan.rounds);
            rows.rotate_left(1);
            for (entry, rounds) in &mut rows {
                let figures = measure(entry, takes, events).await;
                let what = || format!("{}, handlers of {takes:?}", entry.name);
                rounds.push(figures.with_context(what)?);
            }
        }
        rows.sort_by_key(|(entry, _)| ALL.iter().position(|other| other.name == entry.name));
        results.push(Results { takes, events, rows });
    }
    Ok(results)
}

async fn measure(entry: &Entry, takes: Duration, events: u64) -> Result<Figures> {
    let mut simulator = Simulator::start().await?;
    let config = place::config(simulator.url()).await;
    place::create(&config).await?;
    place::fill(&config, events, BYTES).await.context("filling the queue")?;
    let job = client::Job::Consume(Job {
        consumer: entry.name.into(),
        url: simulator.url().into(),
        events,
        takes,
    });
    let figures = client::run(&job, &mut simulator).await?;
    let left = simulator.left(QUEUE_NAME).await?;
    ensure!(left == 0, "{left} messages are not deleted");
    Ok(figures)
}

/// What the contestant's process does.
pub(crate) async fn consume(job: Job) -> Result<Done> {
    let entry = ALL.iter().find(|entry| entry.name == job.consumer).context("no such consumer")?;
    let seen = Arc::new(Seen::new(job.events));
    let work = Work {
        config: place::config(&job.url).await,
        queue_url: place::queue_url(&job.url),
        stop: CancellationToken::new(),
        handler: Handler { seen: Arc::clone(&seen), takes: job.takes },
    };
    let stop = work.stop.clone();
    client::begins()?;
    let (began, before) = (Instant::now(), own_time());
    let mut consumer = tokio::spawn((entry.run)(work));
    tokio::select! {
        () = seen.all() => {}
        ended = &mut consumer => {
            ended??;
            bail!("it ended after {} of {} events", seen.count(), job.events);
        }
        () = tokio::time::sleep(PATIENCE) => {
            bail!("{} of {} events in {} s", seen.count(), job.events, PATIENCE.as_secs());
        }
    }
    let (seconds, used) = (began.elapsed().as_secs_f64(), own_time() - before);
    client::ends()?;
    stop.cancel();
    consumer.await??;
    let events = job.events as f64;
    Ok(Done {
        messages: job.events,
        twice: seen.twice(),
        per_second: events / seconds,
        // With what it takes to delete the last.
        processor: (own_time() - before).as_secs_f64() / events,
        share: used.as_secs_f64() / seconds,
        memory: peak_memory().unwrap_or_default(),
    })
}
