//! Relays that are killed, and relays that are stopped and go on: nothing lost, the order kept, and
//! no more published twice than was under way.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    child::{FarBroker, RelayProcess},
    places::{Happened, Place, on_both},
};

/// How often a relay is killed: on PostgreSQL 200 times.
const KILLS: usize = 200;

const KEYS: u64 = 12;

on_both! {
    killed_between_acceptance_and_deletion_in_a_loop,
}

/// Trial 1: `kill -9` of the relay between the broker's acceptance and the deletion.
async fn killed_between_acceptance_and_deletion_in_a_loop(place: Place) {
    let kills = if place.is_sqlite() { KILLS / 4 } else { KILLS };
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let broker = FarBroker::start().await;
    let mut recorded = 0;
    for kill in 0..kills {
        // Answers take a while, so that most kills hit between acceptance and deletion.
        broker.answer_after(Duration::from_micros(random.u64(0..3_000)));
        let name = format!("relay {kill}");
        let relay = RelayProcess::start(&name, &place.url, &broker, Duration::from_secs(30));
        for _ in 0..3 {
            let events = (0..KEYS).map(|key| Happened::new(format!("k-{key}"), recorded / KEYS));
            place.record(events.collect()).await.unwrap();
            recorded += KEYS;
        }
        broker.hears_from(&name).await;
        tokio::time::sleep(Duration::from_micros(random.u64(0..8_000))).await;
        relay.kill();
        // It is dead: what its lease would wait for needs no waiting.
        place.end_leases().await;
    }
    broker.answer_after(Duration::ZERO);
    let last = RelayProcess::start("the last", &place.url, &broker, Duration::from_secs(30));
    broker.has(usize::try_from(recorded).unwrap()).await;
    drop(last);
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..recorded / KEYS).collect::<Vec<_>>(), "{key}, seed {seed}");
    }
    // How often each event may come again: for each kill that hit the call that it was in.
    let mut suspects: HashMap<String, usize> = HashMap::new();
    for event in broker.unsettled() {
        *suspects.entry(event.id).or_default() += 1;
    }
    let duplicates = broker.duplicates();
    eprintln!("{kills} kills, {recorded} events, {} of them more than once", duplicates.len());
    for (id, times) in duplicates {
        let allowed = suspects.get(&id).copied().unwrap_or(0);
        assert!(times <= allowed, "{id} came {times} times more, seed {seed}");
    }
}

/// Trial 2: SIGSTOP of a relay past its lease, then SIGCONT. Not on SQLite, where a process that is
/// stopped while it writes keeps everybody from writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_past_its_lease_and_continued() {
    let Some(place) = Place::postgres().await else { return };
    let lease = Duration::from_millis(1_500);
    let broker = FarBroker::start().await;
    broker.answer_after(Duration::from_millis(5));
    let first = RelayProcess::start("the first", &place.url, &broker, lease);
    let mut recorded = 0;
    let mut record = async |rounds: u64| {
        for _ in 0..rounds {
            let events = (0..KEYS).map(|key| Happened::new(format!("k-{key}"), recorded / KEYS));
            place.record(events.collect()).await.unwrap();
            recorded += KEYS;
        }
    };
    record(20).await;
    broker.hears_from("the first").await;
    first.signal("-STOP");
    let stopped = Instant::now();
    let second = RelayProcess::start("the second", &place.url, &broker, lease);
    record(20).await;
    broker.has(usize::try_from(40 * KEYS).unwrap()).await;
    assert!(stopped.elapsed() > lease / 2, "a lease ended too early: {:?}", stopped.elapsed());
    let before = broker.accepted_from("the first");
    first.signal("-CONT");
    record(20).await;
    broker.has(usize::try_from(60 * KEYS).unwrap()).await;
    // With the second gone the first gets everything again, and does it right.
    drop(second);
    record(5).await;
    broker.has(usize::try_from(65 * KEYS).unwrap()).await;
    assert!(broker.accepted_from("the first") > before);
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..65).collect::<Vec<_>>(), "{key}");
    }
    // Without a lease it sends nothing: twice came what was under way when it was stopped, and when
    // the second was killed; a call has at most one event of each key.
    let twice: usize = broker.duplicates().values().sum();
    let under_way = usize::try_from(2 * KEYS).unwrap();
    assert!(twice <= under_way, "{twice} events came twice");
}
