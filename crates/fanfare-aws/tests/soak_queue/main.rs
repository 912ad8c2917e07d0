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
mod wire;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_sim::RandomFaults;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crew::Crew;
use ground::Ground;
use ledger::Ledger;

const SEEDS: u64 = 20;

/// Events of a seed in the normal tests.
const EVENTS: usize = 5_000;

/// The same in the trial that is run by name.
const MANY: usize = 100_000;

/// Requests for each event and subscription, polls included: what is published, received and settled
/// in full batches takes 0.3; the rest is what faults, crashes and small batches cost.
const REQUESTS: f64 = 1.5;

#[test]
fn whatever_happens_every_event_is_handled_once_in_its_keys_order_and_only_poison_is_dead() {
    soak_all(EVENTS);
}

#[test]
#[ignore = "takes minutes, see the head of this file"]
fn whatever_happens_to_a_hundred_thousand_events_each_is_handled_once_in_order() {
    soak_all(MANY);
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Goes through all seeds, or the one that the environment names, on as many threads as there are
/// processors, each with a clock of its own.
fn soak_all(events: usize) {
    let one: Option<u64> = std::env::var("FANFARE_SEED").ok().map(|seed| seed.parse().unwrap());
    let next = Mutex::new(one.map_or(0..SEEDS, |seed| seed..seed + 1));
    let soak_some = || {
        while let Some(seed) = { next.lock().unwrap().next() } {
            let named = Named(seed);
            eprintln!("seed {seed} begins");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
            runtime.unwrap().block_on(soak(seed, events));
            drop(named);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(soak_some)));
    });
}

/// Says how to run a seed that failed alone.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with FANFARE_SEED={}", self.0);
        }
    }
}

async fn soak(seed: u64, events: usize) {
    let (began, start) = (std::time::Instant::now(), Instant::now());
    // All that is random draws from it, also in handlers and between tries: there is one thread.
    fastrand::seed(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let ground = Arc::new(Ground::new().await);
    let ledger = Arc::new(Ledger::new(events));
    ground.sim.set_faults(Some(RandomFaults {
        seed,
        throttle: 0.02,
        server_error: 0.02,
        lose_answer: 0.02,
        fail_entry: 0.01,
        duplicate: 0.03,
        expire_receipt: 0.01,
        reorder: 0.1,
        ..RandomFaults::default()
    }));
    let mut crew = Crew::hire(&ground, &ledger, &mut rng);
    let mut producers = JoinSet::new();
    for producer in 0..produce::PRODUCERS {
        let publisher = ground.publisher(rng.fork());
        producers.spawn(produce::produce(publisher, producer, events, rng.fork()));
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
    ground.sim.set_faults(None);
    crew.dismiss().await;

    ledger.check(seed);
    ledger.check_complete(seed);
    assert_eq!(ground.held(), 0, "seed {seed}: something came back");
    for subscription in &ground::SUBSCRIPTIONS {
        subscription.check_letters(seed, &ground, events);
    }
    let requests = ground.sim.requests();
    let each = requests.total() as f64 / ledger.expected() as f64;
    let (virtual_time, real_time) = (start.elapsed(), began.elapsed());
    eprintln!(
        "seed {seed}: {events} events, {}, {each:.2} requests for each, {} restarts, \
         {virtual_time:.0?} in {real_time:.1?}",
        ledger.summary(),
        crew.restarts(),
    );
    assert!(each < REQUESTS, "seed {seed}: {requests:?}");
}
