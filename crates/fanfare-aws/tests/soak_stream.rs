//! A stream's workers under everything at once: random faults of AWS, resharding, deaths of workers,
//! failing handlers and poison. Seeded, under paused time.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/stream.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_aws::{AwsPublisher, StreamWorker};
use fanfare_core::{
    BoxFuture, Checkpoint, Consumer, Delivery, Emitter, HandlerError, Lease, LeaseError,
    LeaseGroup, LeaseStore, MemoryLeaseStore, NewLease, Renewal, Renewed, Retry, Router,
};
use fanfare_sim::RandomFaults;
use fanfare_topology::Kinesis;
use seeds::soak_all;
use support::*;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const SEEDS: u64 = 20;

/// Events of a seed in the normal tests.
const EVENTS: usize = 2_500;

/// The same in the trial that is run by name.
const MANY: usize = 50_000;

const KEYS: usize = 60;
const PRODUCERS: usize = 4;
const WORKERS: usize = 3;

/// Every so manieth event can never be handled.
const POISON: usize = 211;

#[test]
fn whatever_happens_every_event_is_handled_and_each_keys_are_in_order() {
    soak_all(SEEDS, |seed| soak(seed, EVENTS));
}

#[test]
#[ignore = "takes minutes: cargo test -p fanfare-aws --test soak_stream -- --ignored --nocapture"]
fn whatever_happens_to_fifty_thousand_events_each_is_handled_in_order() {
    soak_all(SEEDS, |seed| soak(seed, MANY));
}

/// What came of the events.
#[derive(Default)]
struct Effects {
    /// Of each key in order of their first effects.
    first: BTreeMap<String, Vec<usize>>,
    known: BTreeSet<usize>,
    repeated: usize,
}

async fn soak(seed: u64, events: usize) {
    let began = std::time::Instant::now();
    // All that is random draws from it, also in handlers and between tries: there is one thread.
    fastrand::seed(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let binding = Kinesis::shards(3);
    let shop = Shop::new(if seed.is_multiple_of(2) { binding.aggregated() } else { binding }).await;
    let leases = Watched::default();
    let mut worker = StreamWorker::new(shop.stream.clone(), leases.clone()).lease(seconds(6));
    if seed % 5 == 4 {
        worker = worker.enhanced_fan_out(shop.register().await);
    }
    shop.sim.set_faults(Some(RandomFaults {
        seed,
        throttle: 0.02,
        server_error: 0.02,
        lose_answer: 0.02,
        fail_entry: 0.01,
        expire_iterator: 0.03,
        ..RandomFaults::default()
    }));
    let effects = Arc::new(Mutex::new(Effects::default()));
    let start = || shop.work_with(worker.clone(), consumer(&effects));
    let mut workers: Vec<_> = (0..WORKERS).map(|_| start()).collect();
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let publisher = AwsPublisher::new(shop.aws.clone(), shop.bindings.clone());
        let orders = Emitter::new("orders", publisher);
        producers.spawn(produce(orders, producer, events, rng.fork()));
    }

    // What happens, by how much has been handled in percent.
    let mut plan = vec![(25, "split"), (60, "merge")];
    plan.extend((0..5).map(|_| (rng.u32(2..98), "death")));
    plan.sort_unstable();
    let expected: BTreeSet<usize> =
        (0..events).filter(|number| !number.is_multiple_of(POISON)).collect();
    for (percent, happens) in plan {
        let enough = expected.len() * percent as usize / 100;
        wait(seed, events, || effects.lock().unwrap().known.len() >= enough).await;
        match happens {
            "split" => reshard(&shop, &mut rng, true).await,
            "merge" => reshard(&shop, &mut rng, false).await,
            _ => {
                let victim = rng.usize(..workers.len());
                std::mem::replace(&mut workers[victim], start()).kill().await;
            }
        }
    }
    while let Some(produced) = producers.join_next().await {
        produced.unwrap();
    }
    let poison = events.div_ceil(POISON);
    wait(seed, events, || {
        effects.lock().unwrap().known.len() == expected.len() && shop.dead() >= poison
    })
    .await;
    sleep(seconds(120)).await;
    for working in workers {
        working.finish().await.unwrap();
    }

    let Effects { first, known, repeated } = std::mem::take(&mut *effects.lock().unwrap());
    assert_eq!(known, expected, "seed {seed}");
    for (key, numbers) in first {
        assert!(numbers.is_sorted(), "seed {seed}, {key}: {numbers:?}");
    }
    let letters: BTreeSet<usize> =
        shop.letters().iter().map(|letter| number(&letter.body)).collect();
    assert_eq!(letters, (0..events).filter(|n| n.is_multiple_of(POISON)).collect(), "seed {seed}");
    leases.assert_done().await;
    let reads = shop.sim.requests().count("GetRecords");
    eprintln!(
        "seed {seed}: {events} events, {repeated} again, {reads} reads, {:?}",
        began.elapsed()
    );
}

/// Waits for what should come to pass within so many virtual seconds.
async fn wait(seed: u64, events: usize, what: impl Fn() -> bool) {
    let patience = Instant::now() + seconds(3_600 + events as u64 / 10);
    while !what() {
        assert!(Instant::now() < patience, "seed {seed}: it stands still");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Notes an event when its effect is there, fails now and then, and rejects poison.
fn consumer(effects: &Arc<Mutex<Effects>>) -> Consumer {
    let effects = Arc::clone(effects);
    let handler = move |order: Delivery<OrderPlaced>| {
        let effects = Arc::clone(&effects);
        async move {
            let OrderPlaced { order_id, number } = order.event;
            if number.is_multiple_of(POISON) {
                return Err(HandlerError::reject("poison"));
            }
            sleep(Duration::from_millis(fastrand::u64(..20))).await;
            if fastrand::u8(..) < 5 {
                return Err(HandlerError::retry("not now"));
            }
            let mut effects = effects.lock().unwrap();
            if effects.known.insert(number) {
                effects.first.entry(order_id).or_default().push(number);
            } else {
                effects.repeated += 1;
            }
            Ok(())
        }
    };
    let consumer: Consumer = Router::<()>::new("products").on(handler).into();
    consumer.retry(Retry::exponential(Duration::from_millis(200), seconds(2)))
}

/// Publishes the events of this producer's keys, each key's in order, until all are accepted.
async fn produce(orders: Emitter, producer: usize, events: usize, mut rng: fastrand::Rng) {
    let mut numbers = (0..events).filter(|number| number % PRODUCERS == producer).peekable();
    while numbers.peek().is_some() {
        let batch = numbers.by_ref().take(rng.usize(1..600));
        let key = |n: usize| {
            format!("key-{}", n / PRODUCERS * 7 % (KEYS / PRODUCERS) * PRODUCERS + producer)
        };
        let mut batch: Vec<_> = batch.map(|number| order(key(number), number)).collect();
        while !batch.is_empty() {
            let report = orders.emit_all(batch.clone()).await.unwrap();
            let outcomes = report.outcomes().iter();
            batch =
                outcomes.zip(batch).filter(|(o, _)| o.is_err()).map(|(_, event)| event).collect();
        }
        sleep(Duration::from_millis(rng.u64(..400))).await;
    }
}

/// Splits a shard, or merges two; a simulator with faults may take some tries.
async fn reshard(shop: &Shop, rng: &mut fastrand::Rng, split: bool) {
    for _ in 0..1_000 {
        sleep(Duration::from_millis(500)).await;
        let Ok(shards) = shop.kinesis.list_shards().stream_name(STREAM).send().await else {
            continue;
        };
        let mut open = Vec::new();
        for shard in shards.shards() {
            if shard.sequence_number_range().unwrap().ending_sequence_number().is_none() {
                let range = shard.hash_key_range().unwrap();
                let start: u128 = range.starting_hash_key().parse().unwrap();
                let end: u128 = range.ending_hash_key().parse().unwrap();
                open.push((start, end, shard.shard_id().to_owned()));
            }
        }
        open.sort();
        let done = if split {
            let (start, end, id) = open[rng.usize(..open.len())].clone();
            let at = start + (end - start) / 2;
            let split = shop.kinesis.split_shard().stream_name(STREAM).shard_to_split(id);
            split.new_starting_hash_key(at.to_string()).send().await.is_ok()
        } else {
            let lower = rng.usize(..open.len() - 1);
            let merge = shop.kinesis.merge_shards().stream_name(STREAM);
            let merge = merge.shard_to_merge(&open[lower].2);
            merge.adjacent_shard_to_merge(&open[lower + 1].2).send().await.is_ok()
        };
        if done {
            return;
        }
    }
    panic!("the stream cannot be resharded");
}

fn number(body: &str) -> usize {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    usize::try_from(body["data"]["number"].as_u64().unwrap()).unwrap()
}

/// A lease store that sees to it that no checkpoint goes back.
#[derive(Clone, Default)]
struct Watched {
    inner: MemoryLeaseStore,
    last: Arc<Mutex<HashMap<String, Checkpoint>>>,
}

/// Something that grows with how far a checkpoint is.
fn rank(checkpoint: &Checkpoint) -> (u8, usize, String, u64) {
    match checkpoint {
        Checkpoint::After { sequence_number, sub_sequence_number } => {
            let sub = sub_sequence_number.unwrap_or(u64::MAX);
            (1, sequence_number.len(), sequence_number.clone(), sub)
        }
        Checkpoint::End => (2, 0, String::new(), 0),
        _ => (0, 0, String::new(), 0),
    }
}

impl Watched {
    async fn check(&self, group: &LeaseGroup) {
        for lease in self.inner.leases(group).await.unwrap() {
            let mut last = self.last.lock().unwrap();
            let last = last.entry(lease.key.clone()).or_insert_with(|| lease.checkpoint.clone());
            assert!(rank(last) <= rank(&lease.checkpoint), "{last:?} went back to {lease:?}");
            *last = lease.checkpoint;
        }
    }

    /// That three shards have ended at least: the one that was split, and the two that were merged;
    /// more where an answer was lost.
    async fn assert_done(&self) {
        let last = self.last.lock().unwrap();
        let ended = last.values().filter(|checkpoint| **checkpoint == Checkpoint::End).count();
        assert!(ended >= 3, "{last:?}");
    }
}

impl LeaseStore for Watched {
    fn leases<'a>(
        &'a self,
        group: &'a LeaseGroup,
    ) -> BoxFuture<'a, Result<Vec<Lease>, LeaseError>> {
        self.inner.leases(group)
    }

    fn begin<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        self.inner.begin(group, leases)
    }

    fn add<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        self.inner.add(group, leases)
    }

    fn take<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Option<Lease>, LeaseError>> {
        self.inner.take(group, seen, owner)
    }

    fn ask<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        successor: &'a str,
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        self.inner.ask(group, seen, successor)
    }

    fn renew<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<Vec<Renewed>, LeaseError>> {
        Box::pin(async move {
            let renewed = self.inner.renew(group, owner, renewals).await;
            self.check(group).await;
            renewed
        })
    }

    fn release<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let released = self.inner.release(group, owner, renewals).await;
            self.check(group).await;
            released
        })
    }

    fn remove<'a>(
        &'a self,
        group: &'a LeaseGroup,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        self.inner.remove(group, keys)
    }
}
