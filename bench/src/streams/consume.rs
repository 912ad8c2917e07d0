//! Consumers in turn, on the same stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::machine::own_time;
use crate::seen::Seen;
use crate::simulator::Simulator;
use crate::streams::Plan;
use crate::streams::consumers::{
    BY_HAND, BY_HAND_OPENING, Entry, FANFARE, RUSTSTREAM, RUSTSTREAM_BATCHES,
};
use crate::streams::producers;
use crate::streams::stream::{self, Keys, STREAM};

/// Shards of the stream.
pub(crate) const SHARDS: u32 = 200;

/// Bytes of an event's data.
pub(crate) const BYTES: usize = 300;

/// Events that are put into the stream by one call.
const CALL: usize = 10_000;

/// Until a shard can be read as if nobody had read it before.
const REST: Duration = Duration::from_millis(2_500);

/// A consumer that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What consumers find.
#[derive(Clone, Copy)]
pub(crate) struct Find {
    pub(crate) title: &'static str,
    filled_by: producers::Entry,
    pub(crate) consumers: &'static [Entry],
}

const PLAIN: Find = Find {
    title: "Consuming, a record for each event",
    filled_by: producers::FANFARE,
    consumers: &[BY_HAND, FANFARE, RUSTSTREAM, RUSTSTREAM_BATCHES],
};

const PACKED: Find = Find {
    title: "Consuming, aggregated",
    filled_by: producers::AGGREGATED,
    consumers: &[BY_HAND_OPENING, FANFARE],
};

/// What was found, and what each consumer came to, round by round.
pub(crate) struct Results {
    pub(crate) find: Find,
    /// Bytes of an event with its envelope, on average.
    pub(crate) body: f64,
    /// Records for each event.
    pub(crate) records: f64,
    pub(crate) rows: Vec<(Entry, Vec<Figures>)>,
}

/// What a consumer came to in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Per second, from its start to the last event.
    pub(crate) events: f64,
    /// Seconds from its start to the first event.
    pub(crate) first: f64,
    /// For each event.
    pub(crate) requests: f64,
    /// Seconds of the client's processor for each event.
    pub(crate) client: f64,
    /// The processors that were used.
    pub(crate) client_share: f64,
    pub(crate) simulator_share: f64,
    /// How many events came more than once.
    pub(crate) twice: u64,
}

pub(crate) async fn run(plan: Plan, only: Option<&str>) -> Result<Vec<Results>> {
    let mut results = Vec::new();
    for find in [PLAIN, PACKED] {
        let mut rows: Vec<(Entry, Vec<Figures>)> =
            find.consumers.iter().map(|entry| (*entry, Vec::new())).collect();
        if let Some(only) = only {
            rows.retain(|(entry, _)| entry.name.contains(only));
        }
        if rows.is_empty() {
            continue;
        }
        let mut simulator = Simulator::start().await?;
        eprintln!("{}: {} events", find.title, plan.events);
        let filled = fill(&simulator, find.filled_by, plan.events).await;
        let body = filled.context("filling the stream")?;
        let stored = simulator.stored(STREAM).await?;
        for round in 0..plan.rounds {
            eprintln!("{}, round {} of {}", find.title, round + 1, plan.rounds);
            rows.rotate_left(1);
            for (entry, rounds) in &mut rows {
                tokio::time::sleep(REST).await;
                let figures = measure(entry, &mut simulator, plan.events).await;
                rounds.push(figures.with_context(|| format!("{}, {}", entry.name, find.title))?);
            }
        }
        rows.sort_by_key(|(entry, _)| find.consumers.iter().position(|e| e.name == entry.name));
        let records = stored.records as f64 / stored.events as f64;
        results.push(Results { find, body, records, rows });
    }
    Ok(results)
}

/// Puts so many events into a new stream, and tells the bytes of one with its envelope.
async fn fill(simulator: &Simulator, by: producers::Entry, events: u64) -> Result<f64> {
    let config = stream::config(simulator.url()).await;
    stream::create(&config, SHARDS).await?;
    let producer = (by.set_up)(config, SHARDS).await?;
    let messages = stream::messages(events, BYTES, Keys::Distinct)?;
    try_join_all(messages.chunks(CALL).map(|events| producer.publish(events))).await?;
    Ok(messages.iter().map(|message| message.body.len()).sum::<usize>() as f64 / events as f64)
}

async fn measure(entry: &Entry, simulator: &mut Simulator, events: u64) -> Result<Figures> {
    let config = stream::config(simulator.url()).await;
    let (seen, stop) = (Arc::new(Seen::new(events)), CancellationToken::new());
    let (before, client) = (simulator.usage().await?, own_time());
    let began = Instant::now();
    let mut consumer = tokio::spawn((entry.run)(config, Arc::clone(&seen), stop.clone()));
    tokio::select! {
        () = seen.all() => {}
        ended = &mut consumer => {
            ended??;
            bail!("it ended after {} of {events} events", seen.count());
        }
        () = tokio::time::sleep(PATIENCE) => {
            bail!("{} of {events} events in {} s", seen.count(), PATIENCE.as_secs());
        }
    }
    let (seconds, client) = (began.elapsed().as_secs_f64(), (own_time() - client).as_secs_f64());
    let after = simulator.usage().await?;
    stop.cancel();
    consumer.await??;
    let first = seen.first().context("no first event")?;
    let requests = after.requests() - before.requests();
    Ok(Figures {
        events: events as f64 / seconds,
        first: (first - began).as_secs_f64(),
        requests: requests as f64 / events as f64,
        client: client / events as f64,
        client_share: client / seconds,
        simulator_share: (after.processor - before.processor).as_secs_f64() / seconds,
        twice: seen.twice(),
    })
}
