//! Queues' workers under everything at once: random faults of AWS and of the way there, crashes and
//! restarts of workers, handlers that fail, panic or outlive their lease, and poison of every sort.
//! Seeded, under paused time.
//!
//! 5,000 events a seed are in the normal tests. 100,000 are run by name, in a few minutes:
//! `cargo test --release -p fanfare-aws --test soak_queue -- --ignored --nocapture`.
//! `FANFARE_SEED=7` in front of either runs that seed alone.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod crew;
mod events;
mod ground;
mod ledger;
mod produce;
#[path = "../support/seeds.rs"]
mod seeds;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fanfare_aws::BufferedPublisher;
use fanfare_sim::RandomFaults;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crew::Crew;
use events::{Fate, fates};
use ground::{Ground, SUBSCRIPTIONS, Subscription};
use ledger::Ledger;
use seeds::soak_all;

const SEEDS: u64 = 20;

/// Events of a seed in the normal tests.
const EVENTS: usize = 5_000;

/// The same in the trial that is run by name.
const MANY: usize = 100_000;

/// Requests for each event and subscription, polls included: what is published, received and settled
/// in full batches takes 0.3; the rest is what faults, crashes and small batches cost.
const REQUESTS: f64 = 1.2;

/// The same where groups are parked: dead letters go one by one, and come back twice.
const REQUESTS_PARKED: f64 = 2.5;

/// How often dead-letter queues are redriven: once, and again for what came back before its turn.
const REDRIVES: usize = 2;

#[test]
fn whatever_happens_every_event_is_handled_once_in_its_keys_order_and_only_poison_is_dead() {
    soak_all(SEEDS, |seed| soak(seed, EVENTS));
}

#[test]
#[ignore = "takes minutes, see the head of this file"]
fn whatever_happens_to_a_hundred_thousand_events_each_is_handled_once_in_order() {
    soak_all(SEEDS, |seed| soak(seed, MANY));
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn soak(seed: u64, events: usize) {
    let (began, start) = (std::time::Instant::now(), Instant::now());
    // All that is random draws from it, also in handlers and between tries: there is one thread.
    fastrand::seed(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let ground = Arc::new(Ground::new().await);
    // Every seventh parks the groups of poison, and handles them when they come back.
    let parks = seed % 7 == 3;
    // Every other publishes by many callers at once, through a buffer.
    let buffers = seed % 2 == 1;
    let ledger = Arc::new(Ledger::new(events, parks));
    ground.sim.set_faults(Some(faults(seed)));
    let mut crew = Crew::hire(&ground, &ledger, parks, &mut rng);
    let mut producers = JoinSet::new();
    for producer in 0..produce::PRODUCERS {
        let publisher = ground.publisher(rng.fork());
        let rng = rng.fork();
        if buffers {
            let publisher = BufferedPublisher::new(publisher);
            producers.spawn(produce::one_by_one(publisher, producer, events, rng));
        } else {
            producers.spawn(produce::in_batches(publisher, producer, events, rng));
        }
    }

    let patience = start + seconds(4 * 3_600 + events as u64);
    let mut restart = Instant::now() + seconds(1);
    while !producers.is_empty() || ground.held() > 0 {
        sleep(Duration::from_millis(200)).await;
        while let Some(produced) = producers.try_join_next() {
            produced.unwrap();
        }
        ledger.check(seed);
        assert!(Instant::now() < patience, "seed {seed}: it stands still: {}", ledger.summary());
        if Instant::now() >= restart {
            crew.restart_one(&mut rng);
            restart = Instant::now() + Duration::from_millis(rng.u64(500..20_000));
        }
    }
    check(seed, &ground, &ledger, |of| fates(of, events, parks, false));
    if parks {
        ledger.mended.store(true, Relaxed);
        for _ in 0..REDRIVES {
            ground.sim.set_faults(None);
            ground.start_redrive().await;
            ground.sim.set_faults(Some(faults(seed)));
            ground.settled().await;
        }
    }
    ground.sim.set_faults(None);
    crew.dismiss().await;
    check(seed, &ground, &ledger, |of| fates(of, events, parks, parks));
    assert_eq!(ground.held(), 0, "seed {seed}: something came back");
    let requests = ground.sim.requests();
    let deliveries = SUBSCRIPTIONS.iter().map(|of| of.numbers(events).count()).sum::<usize>();
    let each = requests.total() as f64 / deliveries as f64;
    let (virtual_time, real_time) = (start.elapsed(), began.elapsed());
    eprintln!(
        "seed {seed}: {events} events, {}, {each:.2} requests for each, {} restarts, \
         {virtual_time:.0?} in {real_time:.1?}",
        ledger.summary(),
        crew.restarts(),
    );
    let most = if parks { REQUESTS_PARKED } else { REQUESTS };
    assert!(each < most, "seed {seed}: {requests:?}");
}

/// Everything that AWS does to its callers, now and then.
fn faults(seed: u64) -> RandomFaults {
    RandomFaults {
        seed,
        throttle: 0.02,
        server_error: 0.02,
        lose_answer: 0.02,
        fail_entry: 0.01,
        duplicate: 0.03,
        expire_receipt: 0.01,
        reorder: 0.1,
        ..RandomFaults::default()
    }
}

/// That all is as the fates of the events want it.
fn check(
    seed: u64,
    ground: &Ground,
    ledger: &Ledger,
    fates: impl Fn(Subscription) -> BTreeMap<usize, Fate>,
) {
    ledger.check(seed);
    for subscription in SUBSCRIPTIONS {
        let fates = fates(subscription);
        let missing = ledger.missing(subscription, &fates);
        assert!(missing.is_empty(), "seed {seed}, {subscription:?}: {missing:?} are lost");
        subscription.check_letters(seed, ground, &fates);
    }
}
