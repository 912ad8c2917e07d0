//! A stream, a store, the workers between them, and what must hold at every moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare_core::{Checkpoint, Lease, LeaseGroup, LeaseStore, MemoryLeaseStore};
use futures_util::FutureExt;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{lines::Line, stream::Stream};
use crate::stream::leases::{Coordinator, CoordinatorError, Ended, Held, Settings};

pub(super) const LEASE: Duration = Duration::from_secs(10);

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Clones share it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) stream: Stream,
    pub(super) store: MemoryLeaseStore,
    /// Between two records.
    tick: Duration,
    watch: Arc<Mutex<Watch>>,
}

/// What has been seen to happen.
#[derive(Default)]
struct Watch {
    /// Each consuming of each shard; of those long ago, some.
    begun: BTreeMap<String, Vec<Begun>>,
    /// The number of records of each shard that have been handled, from the first on.
    handled: BTreeMap<String, u64>,
    /// How far the store says that each shard is.
    stored: BTreeMap<String, u64>,
    behaviours: BTreeMap<String, Behaviour>,
    /// What was found to be wrong while shards were consumed: the workers under test go on after
    /// panics.
    panics: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Begun {
    pub(super) worker: String,
    pub(super) at: Instant,
    pub(super) held: Held,
}

/// How consuming a shard goes, on all workers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Takes so long to end when it is wanted.
    Drains(Duration),
    /// Fails after this many records.
    FailsAfter(u64),
    /// Panics after this many records.
    PanicsAfter(u64),
}

impl World {
    pub(super) fn new(shards: usize) -> World {
        let tick = Duration::from_millis(500);
        World {
            stream: Stream::new(shards),
            store: MemoryLeaseStore::default(),
            tick,
            watch: Arc::default(),
        }
    }

    /// One where not much happens, for tests that last for long.
    pub(super) fn quiet(shards: usize) -> World {
        World { tick: seconds(10), ..World::new(shards) }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn group() -> LeaseGroup {
        LeaseGroup::new("shop", "orders")
    }

    pub(super) fn behave(&self, shard: &str, behaviour: Option<Behaviour>) {
        let mut watch = self.watch();
        match behaviour {
            Some(behaviour) => drop(watch.behaviours.insert(shard.into(), behaviour)),
            None => drop(watch.behaviours.remove(shard)),
        }
    }

    /// The leases, as they are.
    pub(super) async fn leases(&self) -> Vec<Lease> {
        self.store.leases(&World::group()).await.unwrap()
    }

    pub(super) async fn lease(&self, key: &str) -> Lease {
        let leases = self.leases().await;
        leases.into_iter().find(|lease| lease.key == key).unwrap()
    }

    /// How many shards each worker is consuming, fewest first.
    pub(super) fn loads(&self, workers: &[&Worker]) -> Vec<usize> {
        let valid = self.valid();
        let of = |worker: &&Worker| valid.iter().filter(|one| one.worker == worker.name).count();
        let mut loads: Vec<usize> = workers.iter().map(of).collect();
        loads.sort_unstable();
        loads
    }

    /// How often a lease was taken.
    pub(super) async fn takes(&self) -> u64 {
        self.leases().await.iter().map(|lease| lease.epoch).sum()
    }

    /// All leases that are valid now, by whoever holds them.
    pub(super) fn valid(&self) -> Vec<Begun> {
        let watch = self.watch();
        watch.begun.values().flatten().filter(|one| one.held.is_valid()).cloned().collect()
    }

    /// Each consuming of the shard, in its order.
    pub(super) fn begun(&self, shard: &str) -> Vec<Begun> {
        self.watch().begun.get(shard).cloned().unwrap_or_default()
    }

    pub(super) fn handled(&self, shard: &str) -> u64 {
        self.watch().handled.get(shard).copied().unwrap_or_default()
    }

    /// Checks all the time what must always hold.
    pub(super) fn guard(&self) -> Guard {
        let world = self.clone();
        let task = tokio::spawn(async move {
            loop {
                world.check().await;
                sleep(world.tick.mul_f64(0.54)).await;
            }
        });
        Guard { world: self.clone(), task }
    }

    async fn check(&self) {
        assert_eq!(self.watch().panics, Vec::<String>::new());
        for (shard, begun) in &mut self.watch().begun {
            assert_alone(shard, begun);
            // What was over long ago need not be looked at again.
            if begun.len() > 200 {
                begun.retain(|one| one.held.is_valid());
            }
        }
        let leases = self.leases().await;
        for lease in &leases {
            let handled = self.handled(&lease.key);
            let at = match &lease.checkpoint {
                Checkpoint::End => {
                    let shard = self.stream.shard(&lease.key);
                    assert!(shard.expired || shard.length == Some(handled), "{} ended", lease.key);
                    for child in &shard.children {
                        let is_leased = leases.iter().any(|lease| lease.key == *child);
                        let expired = shard.expired || self.stream.shard(child).expired;
                        assert!(is_leased || expired, "{child} of {} has no lease", lease.key);
                    }
                    u64::MAX
                }
                checkpoint => next(checkpoint),
            };
            assert!(at == u64::MAX || at <= handled, "{} is at {at} of {handled}", lease.key);
            let before = self.watch().stored.insert(lease.key.clone(), at).unwrap_or_default();
            assert!(before <= at, "{} went back from {before} to {at}", lease.key);
        }
    }

    async fn consume(self, worker: String, held: Held) -> Ended {
        let world = self.clone();
        let ended = AssertUnwindSafe(self.records(worker, held)).catch_unwind().await;
        ended.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>();
            world.watch().panics.extend(said.cloned());
            std::panic::resume_unwind(panic)
        })
    }

    /// Consumes a shard, one record at a time.
    async fn records(self, worker: String, held: Held) -> Ended {
        let shard = held.lease().key.clone();
        let mut at = next(&held.lease().checkpoint);
        let handled = self.handled(&shard);
        assert!(at <= handled, "{worker} begins {shard} at {at} of {handled}");
        let begun = Begun { worker: worker.clone(), at: Instant::now(), held: held.clone() };
        self.watch().begun.entry(shard.clone()).or_default().push(begun);
        let mut done = 0;
        loop {
            let behaviour = self.watch().behaviours.get(&shard).copied();
            tokio::select! {
                () = held.wanted() => {
                    if let Some(Behaviour::Drains(drain)) = behaviour {
                        sleep(drain).await;
                    }
                    return Ended::GivenUp;
                }
                () = sleep(self.tick) => {}
            }
            match behaviour {
                Some(Behaviour::FailsAfter(records)) if done >= records => return Ended::Failed,
                Some(Behaviour::PanicsAfter(records)) if done >= records => panic!("as told"),
                _ => {}
            }
            let info = self.stream.shard(&shard);
            if info.expired || info.length == Some(at) {
                let children = info.children.iter().map(|child| self.stream.info(child));
                let children = if info.expired { Vec::new() } else { children.collect() };
                return Ended::ShardEnd { children };
            }
            self.handle(&worker, &held, at);
            at += 1;
            done += 1;
            held.checkpoint(after(at));
        }
    }

    /// A record is handled, which must be right now.
    fn handle(&self, worker: &str, held: &Held, at: u64) {
        let shard = &held.lease().key;
        assert!(held.is_valid(), "{worker} was left with {shard} after it was lost");
        assert_alone(shard, &self.watch().begun[shard]);
        for parent in self.stream.shard(shard).parents {
            let info = self.stream.shard(&parent);
            let ended = info.expired || info.length == Some(self.handled(&parent));
            assert!(ended, "{worker} handles {shard} before {parent} has ended");
        }
        let mut watch = self.watch();
        let handled = watch.handled.entry(shard.clone()).or_default();
        assert!(at <= *handled, "{worker} skipped records of {shard}");
        *handled = (*handled).max(at + 1);
    }
}

/// What checks a world; until it is dropped.
pub(super) struct Guard {
    world: World,
    task: JoinHandle<()>,
}

impl Guard {
    /// Fails if anything has been wrong at any time.
    pub(super) async fn holds(&self) {
        self.world.check().await;
        assert!(!self.task.is_finished(), "it did not always hold");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nobody else may hold what somebody holds.
fn assert_alone(shard: &str, begun: &[Begun]) {
    let valid = begun.iter().filter(|one| one.held.is_valid());
    let valid: BTreeSet<_> = valid.map(|one| (&*one.worker, one.held.lease().epoch)).collect();
    assert!(valid.len() <= 1, "{valid:?} hold {shard} at the same time");
}

/// The number of the record after a checkpoint.
pub(super) fn next(checkpoint: &Checkpoint) -> u64 {
    match checkpoint {
        Checkpoint::Oldest | Checkpoint::At(_) => 0,
        Checkpoint::After { sequence_number, .. } => sequence_number.parse::<u64>().unwrap() + 1,
        Checkpoint::End => panic!("an ended shard is not consumed"),
    }
}

/// The checkpoint when so many records are done.
pub(super) fn after(records: u64) -> Checkpoint {
    Checkpoint::After { sequence_number: (records - 1).to_string(), sub_sequence_number: None }
}

/// A worker in the background; killed when dropped.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) line: Line,
    stop: CancellationToken,
    task: JoinHandle<Result<(), CoordinatorError>>,
}

impl Worker {
    pub(super) fn start(world: &World, name: &str) -> Worker {
        Worker::start_at(world, name, Checkpoint::Oldest)
    }

    pub(super) fn start_at(world: &World, name: &str, start: Checkpoint) -> Worker {
        let line = Line::new(&world.store);
        Worker::start_on(world, name, start, line)
    }

    pub(super) fn start_on(world: &World, name: &str, start: Checkpoint, line: Line) -> Worker {
        let settings = Settings { owner: name.into(), lease: LEASE, ..Settings::new(start) };
        let store = Arc::new(line.clone());
        let coordinator = Coordinator::new(store, World::group(), world.stream.clone(), settings);
        let (consuming, worker) = (world.clone(), name.to_string());
        let consume = move |held| consuming.clone().consume(worker.clone(), held);
        let stop = CancellationToken::new();
        let run = coordinator.run(consume, stop.clone(), seconds(25));
        Worker { name: name.into(), line, stop, task: tokio::spawn(run) }
    }

    /// Stops it, and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), CoordinatorError> {
        self.stop.cancel();
        (&mut self.task).await.unwrap()
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(mut self) -> Result<(), CoordinatorError> {
        (&mut self.task).await.unwrap()
    }

    /// Tells it to stop, without waiting.
    pub(super) fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
