//! Producers in turn, each with a simulator of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::fanfare::Message;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::machine::own_time;
use crate::simulator::{Simulator, Usage};
use crate::streams::Plan;
use crate::streams::producers::{AGGREGATED, Entry, FANFARE, PUT_RECORD, PUT_RECORDS, RUSTSTREAM};
use crate::streams::stream::{self, Keys, STREAM};

/// Tasks that call a producer, each as soon as its last call has returned.
pub(crate) const CALLERS: usize = 4;

/// Events that callers take in turn, again and again: enough keys to be spread evenly over the shards,
/// few enough to stay in a processor's cache, as what was just made is.
const EVENTS: u64 = 20_000;

/// Producers that are compared on the same events and shards.
#[derive(Clone, Copy)]
pub(crate) struct Race {
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) shards: u32,
    /// Of an event's data.
    pub(crate) bytes: usize,
    pub(crate) keys: Keys,
    pub(crate) rows: &'static [Row],
}

/// A producer, and how many events it is given in a call.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) producer: Entry,
    pub(crate) call: usize,
}

const fn row(producer: Entry, call: usize) -> Row {
    Row { producer, call }
}

/// Shards of a stream whose limits are out of reach.
const WIDE: u32 = 1_024;

const ALL: &[Row] = &[
    row(PUT_RECORD, 1),
    row(RUSTSTREAM, 1),
    row(PUT_RECORDS, 500),
    row(FANFARE, 500),
    row(AGGREGATED, 500),
    row(AGGREGATED, 5_000),
];

/// Events of 300 B, the first of which the bars are about.
pub(crate) const SMALL: Race = Race {
    title: "Events of 300 B",
    about: "Every event has a key of its own; 1,024 shards, which would take 1,024,000 records or 1 GiB \
        a second.",
    shards: WIDE,
    bytes: 300,
    keys: Keys::Distinct,
    rows: ALL,
};

const LARGE: Race = Race { title: "Events of 3 kB", about: "The same.", bytes: 3_000, ..SMALL };

const FEW_KEYS: Race = Race {
    title: "Events of 300 B, five of each key in a call",
    about: "Each 500 events have 100 keys; 1,024 shards. So that a key's events stay in order also where \
        records fail, fanfare has one record of a key under way at a time: five requests of 100 \
        records, unless it aggregates. PutRecords by hand keeps no such order.",
    keys: Keys::HundredIn500,
    rows: &[row(PUT_RECORDS, 500), row(FANFARE, 500), row(AGGREGATED, 500)],
    ..SMALL
};

const MEDIUM: Race = Race {
    title: "Events of 300 B, 64 shards",
    about: "Every event has a key of its own. The fewer shards, the more events of a call share a \
        record. AWS's limit is 64,000 records or 64 MiB a second.",
    shards: 64,
    rows: AGGREGATING,
    ..SMALL
};

/// What a stream of the usual size carries.
const NARROW: Race = Race {
    title: "Events of 300 B, 8 shards",
    about: "Every event has a key of its own. Here AWS's limit is what is measured: 8,000 records or 8 \
        MiB a second.",
    shards: 8,
    rows: AGGREGATING,
    ..SMALL
};

const AGGREGATING: &[Row] =
    &[row(PUT_RECORDS, 500), row(FANFARE, 500), row(AGGREGATED, 500), row(AGGREGATED, 5_000)];

const RACES: [Race; 5] = [SMALL, LARGE, FEW_KEYS, MEDIUM, NARROW];

/// A race, and what each of its rows came to, round by round.
pub(crate) struct Results {
    pub(crate) race: Race,
    /// Bytes of an event with its envelope, on average.
    pub(crate) body: usize,
    pub(crate) rows: Vec<(Row, Vec<Figures>)>,
}

/// What a row came to in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Accepted per second.
    pub(crate) events: f64,
    /// For each event.
    pub(crate) requests: f64,
    pub(crate) records: f64,
    /// Seconds of the client's processor for each event.
    pub(crate) client: f64,
    /// The processors that were used.
    pub(crate) client_share: f64,
    pub(crate) simulator_share: f64,
    /// Seconds that a call took.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

pub(crate) async fn run(plan: Plan, only: Option<&str>) -> Result<Vec<Results>> {
    let mut results = Vec::new();
    for race in RACES {
        let messages = Arc::new(stream::messages(EVENTS, race.bytes, race.keys)?);
        let body =
            messages.iter().map(|message| message.body.len()).sum::<usize>() / messages.len();
        let mut rows: Vec<(Row, Vec<Figures>)> =
            race.rows.iter().map(|r| (*r, Vec::new())).collect();
        if let Some(only) = only {
            rows.retain(|(row, _)| row.producer.name.contains(only));
        }
        for round in 0..plan.rounds {
            eprintln!("{}, round {} of {}", race.title, round + 1, plan.rounds);
            if !rows.is_empty() {
                rows.rotate_left(1);
            }
            for (row, rounds) in &mut rows {
                let name = row.producer.name;
                let figures = measure(row, race.shards, &messages, plan).await;
                rounds.push(figures.with_context(|| format!("{name}, {}", race.title))?);
            }
        }
        rows.sort_by_key(|(row, _)| {
            race.rows
                .iter()
                .position(|r| (r.producer.name, r.call) == (row.producer.name, row.call))
        });
        results.push(Results { race, body, rows });
    }
    Ok(results)
}

async fn measure(
    row: &Row,
    shards: u32,
    messages: &Arc<Vec<Message>>,
    plan: Plan,
) -> Result<Figures> {
    let mut simulator = Simulator::start().await?;
    let config = stream::config(simulator.url()).await;
    stream::create(&config, shards).await?;
    let producer = (row.producer.set_up)(config, shards).await?;
    let before = simulator.usage().await?;

    let stop = CancellationToken::new();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (producer, messages) = (Arc::clone(&producer), Arc::clone(messages));
        let (stop, size) = (stop.clone(), row.call);
        callers.spawn(async move {
            let mut calls = Vec::new();
            for events in messages.chunks_exact(size).cycle().skip(caller) {
                if stop.is_cancelled() {
                    break;
                }
                let began = Instant::now();
                producer.publish(events).await?;
                calls.push(Call { ended: Instant::now(), took: began.elapsed() });
            }
            anyhow::Ok(calls)
        });
    }
    let window = async {
        tokio::time::sleep(plan.warm_up).await;
        let from = Moment::now(&mut simulator).await?;
        tokio::time::sleep(plan.window).await;
        anyhow::Ok((from, Moment::now(&mut simulator).await?))
    };
    let failed = async {
        // None ends by itself before it is told to, but by an error.
        match callers.join_next().await {
            Some(ended) => Err(ended?.map(drop).err().context("a caller has ended")?),
            None => anyhow::Ok(()),
        }
    };
    let (from, to) = tokio::select! {
        window = window => window?,
        failed = failed => return Err(failed.err().context("a caller has ended")?),
    };
    stop.cancel();
    let mut calls = Vec::new();
    while let Some(ended) = callers.join_next().await {
        calls.extend(ended?.context("a caller failed")?);
    }
    let accepted = (calls.len() * row.call) as u64;
    let (after, stored) = (simulator.usage().await?, simulator.stored(STREAM).await?);
    ensure!(stored.events >= accepted, "of {accepted} events {} are there", stored.events);

    let within = calls.iter().filter(|call| from.at < call.ended && call.ended <= to.at);
    let mut latencies = Histogram::<u64>::new(3)?;
    for call in within {
        latencies.record(u64::try_from(call.took.as_micros())?)?;
    }
    let events = latencies.len() as f64 * row.call as f64;
    let seconds = (to.at - from.at).as_secs_f64();
    let client = (to.client - from.client).as_secs_f64();
    let simulator = (to.simulator.processor - from.simulator.processor).as_secs_f64();
    let quantile = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Figures {
        events: events / seconds,
        requests: (after.requests() - before.requests()) as f64 / accepted as f64,
        records: stored.records as f64 / accepted as f64,
        client: client / events,
        client_share: client / seconds,
        simulator_share: simulator / seconds,
        p50: quantile(0.5),
        p99: quantile(0.99),
    })
}

/// A call that has returned.
struct Call {
    ended: Instant,
    took: Duration,
}

/// An end of the window.
struct Moment {
    at: Instant,
    client: Duration,
    simulator: Usage,
}

impl Moment {
    async fn now(simulator: &mut Simulator) -> Result<Self> {
        let simulator = simulator.usage().await?;
        Ok(Self { at: Instant::now(), client: own_time(), simulator })
    }
}
