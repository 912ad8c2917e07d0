//! Everything at random, from seeds that are printed.

use std::time::Duration;

use fanfare_core::Checkpoint;
use fastrand::Rng;
use tokio::time::sleep;

use super::{
    lineage::is_drained,
    lines::{Line, State},
    sharing::{is_shared, within},
    world::{LEASE, Worker, World, seconds},
};

/// After what happened last all is consumed again within this time: a lease of one that died has
/// to end, its successor may be about to ask, or have been asked to hand something over.
const RECOVERY: Duration = Duration::from_secs(60);

struct Chaos {
    seed: u64,
    rng: Rng,
    world: World,
    workers: Vec<Worker>,
    /// Lines of workers that are dead or stopped, with what they sent at last.
    dead: Vec<Line>,
    started: usize,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let mut rng = Rng::with_seed(seed);
        let world = World::new(rng.usize(1..8));
        let mut chaos =
            Chaos { seed, rng, world, workers: Vec::new(), dead: Vec::new(), started: 0 };
        chaos.join();
        chaos
    }

    fn join(&mut self) {
        self.started += 1;
        let line = Line::new(&self.world.store);
        // Some are far away.
        let (before, after) = (self.upto(1_500), self.upto(1_500));
        line.be(|state| (state.before, state.after) = (before, after));
        let name = format!("w{}", self.started);
        self.workers.push(Worker::start_on(&self.world, &name, Checkpoint::Oldest, line));
    }

    /// Not in whole seconds: those are exact.
    fn upto(&mut self, milliseconds: u64) -> Duration {
        Duration::from_micros(self.rng.u64(0..milliseconds) * 1_000 + 1)
    }

    fn pick(&mut self) -> usize {
        self.rng.usize(0..self.workers.len())
    }

    async fn disturb(&mut self) {
        let open = self.world.stream.open_shards();
        match self.rng.u32(0..100) {
            0..20 if self.workers.len() < 6 => self.join(),
            20..30 if self.workers.len() > 1 => {
                let n = self.pick();
                let killed = self.workers.swap_remove(n);
                self.dead.push(killed.line.clone());
            }
            30..40 if self.workers.len() > 1 => {
                let n = self.pick();
                let stopped = self.workers.swap_remove(n);
                self.dead.push(stopped.line.clone());
                if self.rng.bool() {
                    stopped.stop().await.unwrap();
                } else {
                    stopped.tell_to_stop();
                    tokio::spawn(async move { stopped.ended().await.unwrap() });
                }
            }
            40..55 => {
                let (n, kind) = (self.pick(), self.rng.u32(0..4));
                let slow = (self.upto(5_000), self.upto(5_000));
                self.workers[n].line.be(|state| match kind {
                    0 => state.hangs = true,
                    1 => state.fails = true,
                    2 => state.lost = 30,
                    _ => (state.before, state.after) = slow,
                });
            }
            55..75 => self.heal(),
            75..88 if open.len() < 14 => {
                let shard = self.rng.choice(&open).unwrap();
                let length = self.world.handled(shard) + self.rng.u64(0..40);
                self.world.stream.split(shard, length);
            }
            88..100 if open.len() > 2 => {
                let mut pair = open;
                self.rng.shuffle(&mut pair);
                let lengths = [0, 1].map(|n: usize| {
                    let shard = &pair[n];
                    (shard.as_str(), self.world.handled(shard) + self.rng.u64(0..40))
                });
                self.world.stream.merge(lengths[0], lengths[1]);
            }
            _ => {}
        }
    }

    fn heal(&mut self) {
        let workers = self.workers.iter().map(|worker| &worker.line);
        for line in workers.chain(&self.dead) {
            line.be(|state| {
                let longest = Duration::from_millis(1_500);
                let (before, after) = (state.before.min(longest), state.after.min(longest));
                *state = State { before, after, ..State::default() };
            });
        }
    }

    async fn run(&mut self) {
        for _ in 0..60 {
            self.disturb().await;
            let pause = self.rng.u64(0..9_000);
            sleep(Duration::from_millis(pause)).await;
        }
        self.heal();
        let longest = self.world.stream.shards().len() as u64;
        let what = format!("seed {}: closed shards are drained", self.seed);
        // A generation of 40 records takes 20 s, and its worker may have to be found first.
        let patience = RECOVERY + seconds(40) * u32::try_from(longest).unwrap();
        within(patience, &what, async || is_drained(&self.world)).await;
        let workers: Vec<&Worker> = self.workers.iter().collect();
        let what = format!("seed {}: all is consumed again, evenly", self.seed);
        within(RECOVERY, &what, async || is_shared(&self.world, &workers)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_each_shard_has_one_reader_and_children_wait_for_their_parents() {
    let seeds = std::env::var("FANFARE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    for seed in 0..seeds {
        eprintln!("seed {seed}");
        fastrand::seed(seed);
        let mut chaos = Chaos::new(seed);
        let guard = chaos.world.guard();
        chaos.run().await;
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_had_is_consumed_again_within_a_leases_time_and_a_half() {
    for seed in 0..20 {
        eprintln!("seed {seed}");
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let world = World::new(rng.usize(1..20));
        let guard = world.guard();
        let mut workers: Vec<Worker> =
            (0..4).map(|n| Worker::start(&world, &format!("w{n}"))).collect();
        for _ in 0..3 {
            sleep(seconds(60)).await;
            workers.swap_remove(rng.usize(0..workers.len()));
            let all: Vec<&Worker> = workers.iter().collect();
            let taken = async || {
                let consumed: usize = world.loads(&all).iter().sum();
                consumed == world.stream.open_shards().len()
            };
            within(LEASE.mul_f64(1.5), "taken over", taken).await;
        }
        guard.holds().await;
    }
}
