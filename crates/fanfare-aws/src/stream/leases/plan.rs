//! What a worker does about the leases as it sees them. Nothing in here waits or asks anybody.
//!
//! Workers even their loads out in steps of one shard, each of which makes them more even: one who
//! has two fewer than another asks him for a shard. So there is nothing to do where loads differ by
//! one, and shards stay where they are. A shard that has been asked for counts for who has asked,
//! so that others do not ask for more than is to be had; and the owner, who sees all that he has been
//! asked for, gives up only what makes loads more even. Nobody's word is needed for any of this but
//! the table's.

use std::collections::{BTreeMap, HashMap};

use fanfare_core::Lease;
use fastrand::Rng;
use tokio::time::Instant;

use super::seen::{Seen, Table};

/// All that a plan goes by.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) me: &'a str,
    pub(super) table: &'a Table<'a>,
    pub(super) seen: &'a Seen,
    /// What this worker holds, whether or not the table says so.
    pub(super) mine: &'a HashMap<String, Mine>,
    /// After the table was read.
    pub(super) now: Instant,
}

/// What is done with a lease that this worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mine {
    /// Its shard is consumed.
    Consumed,
    /// It is about to be given up, or it is over and who consumed its shard has not ended yet.
    Leaving,
}

/// Something to do about one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Hand it over, to whom has asked for it.
    GiveUp(&'a Lease),
    /// Take it, if it still is as it was seen.
    Take(&'a Lease),
    /// Ask its owner for it.
    Ask(&'a Lease),
}

/// How many shards each worker has, or is about to get.
struct Loads<'a>(BTreeMap<&'a str, usize>);

impl<'a> Loads<'a> {
    fn of(&self, worker: &str) -> usize {
        self.0.get(worker).copied().unwrap_or_default()
    }

    fn add(&mut self, worker: &'a str, shards: usize) {
        *self.0.entry(worker).or_default() += shards;
    }

    fn move_one(&mut self, from: &'a str, to: &'a str) {
        self.add(to, 1);
        self.0.entry(from).and_modify(|load| *load = load.saturating_sub(1));
    }

    /// Whether loads are more even when `from` has one shard less and `to` one more.
    fn would_even_out(&self, from: &str, to: &str) -> bool {
        self.of(from) >= self.of(to) + 2
    }

    fn least_but(&self, me: &str) -> Option<usize> {
        self.0.iter().filter(|(worker, _)| **worker != me).map(|(_, load)| *load).min()
    }
}

/// What a lease is to the worker that looks at it.
enum Standing {
    Mine,
    /// Another's, who lives.
    Held,
    /// Anybody's.
    Open,
    /// Nothing can be done about it: it has ended or waits for its parents, or this worker is still
    /// busy with it.
    Closed,
}

impl<'a> View<'a> {
    pub(super) fn plan(&self, rng: &mut Rng) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut loads = self.loads();
        self.give_up(&mut loads, &mut steps);
        self.take(&mut loads, &mut steps, rng);
        self.ask(&mut loads, &mut steps, rng);
        steps
    }

    fn standing(&self, lease: &Lease) -> Standing {
        match (self.mine.get(&lease.key), lease.owner.as_deref()) {
            (Some(Mine::Consumed), _) => Standing::Mine,
            (Some(Mine::Leaving), _) => Standing::Closed,
            _ if !self.table.is_eligible(lease) => Standing::Closed,
            (None, Some(owner)) if owner != self.me && !self.seen.is_dead(lease, self.now) => {
                Standing::Held
            }
            // One that is this worker's without his knowing was taken by a call whose answer was
            // lost, or is one that he had lost and that nobody else has taken.
            (None, _) => Standing::Open,
        }
    }

    fn asker(&self, lease: &'a Lease) -> Option<&'a str> {
        self.seen.asker(lease, self.now)
    }

    /// Whether anybody may take an open lease without regard to the others.
    fn is_left_over(&self, lease: &Lease) -> bool {
        self.seen.is_left_over(lease, self.now) || lease.owner.as_deref() == Some(self.me)
    }

    /// Whom an open lease is meant for: who has asked its last owner for it.
    fn heir(&self, lease: &'a Lease) -> Option<&'a str> {
        lease.successor.as_deref().filter(|_| lease.owner.is_none() && !self.is_left_over(lease))
    }

    /// Everybody who lives, as far as can be seen: owners, and those who have asked for something.
    fn loads(&self) -> Loads<'a> {
        let mut loads = Loads(BTreeMap::from([(self.me, 0)]));
        for lease in self.table.leases() {
            let asker = self.asker(lease);
            match (self.standing(lease), lease.owner.as_deref()) {
                (Standing::Mine, _) => {
                    loads.add(self.me, 1);
                    asker.inspect(|asker| loads.add(asker, 0));
                }
                (Standing::Held, Some(owner)) => {
                    loads.add(owner, 0);
                    loads.add(asker.unwrap_or(owner), 1);
                }
                (Standing::Open, _) => {
                    self.heir(lease).inspect(|heir| loads.add(heir, 1));
                }
                // It is leaving.
                (Standing::Closed, Some(owner)) if owner == self.me => {
                    asker.inspect(|asker| loads.add(asker, 1));
                }
                _ => {}
            }
        }
        loads
    }

    /// Gives up what is asked for, to who has least first.
    fn give_up(&self, loads: &mut Loads<'a>, steps: &mut Vec<Step<'a>>) {
        let asked = |lease: &&Lease| matches!(self.standing(lease), Standing::Mine);
        // An ask from long ago counts while who has asked lives: it cannot be made again.
        let asker = |lease: &'a Lease| {
            let asker = lease.successor.as_deref().filter(|asker| *asker != self.me)?;
            (self.asker(lease).is_some() || loads.0.contains_key(asker)).then_some((asker, lease))
        };
        let mut asked: Vec<(&str, &Lease)> =
            self.table.leases().filter(asked).filter_map(asker).collect();
        while let Some(n) = (0..asked.len()).min_by_key(|n| loads.of(asked[*n].0)) {
            let (asker, lease) = asked.swap_remove(n);
            if !loads.would_even_out(self.me, asker) {
                return;
            }
            loads.move_one(self.me, asker);
            steps.push(Step::GiveUp(lease));
        }
    }

    /// Takes what is meant for this worker; what is open, up to its share; and what is left over.
    fn take(&self, loads: &mut Loads<'a>, steps: &mut Vec<Step<'a>>, rng: &mut Rng) {
        let open =
            self.table.leases().filter(|lease| matches!(self.standing(lease), Standing::Open));
        let (meant, mut open): (Vec<&Lease>, Vec<&Lease>) =
            open.partition(|lease| self.heir(lease).is_some());
        let mine = meant.into_iter().filter(|lease| self.heir(lease) == Some(self.me));
        steps.extend(mine.map(Step::Take));
        // Not all workers the same one first; those whose owner has died last.
        rng.shuffle(&mut open);
        open.sort_by_key(|lease| (!self.is_left_over(lease), lease.owner.is_some()));
        let all = loads.0.values().sum::<usize>() + open.len();
        let share = all / loads.0.len();
        for lease in open {
            let load = loads.of(self.me);
            let is_least = loads.least_but(self.me).is_none_or(|least| load <= least);
            if load < share || is_least || self.is_left_over(lease) {
                loads.add(self.me, 1);
                steps.push(Step::Take(lease));
            }
        }
    }

    /// Asks those who have most for what makes loads more even.
    fn ask(&self, loads: &mut Loads<'a>, steps: &mut Vec<Step<'a>>, rng: &mut Rng) {
        let mut held: Vec<(&str, &Lease)> = self
            .table
            .leases()
            .filter(|lease| matches!(self.standing(lease), Standing::Held))
            .filter(|lease| self.asker(lease).is_none())
            // Who has asked for it long ago, and in vain, can do no more.
            .filter(|lease| lease.successor.as_deref() != Some(self.me))
            .filter_map(|lease| Some((lease.owner.as_deref()?, lease)))
            .collect();
        rng.shuffle(&mut held);
        while let Some(n) = (0..held.len()).max_by_key(|n| loads.of(held[*n].0)) {
            let (owner, lease) = held.swap_remove(n);
            if !loads.would_even_out(owner, self.me) {
                return;
            }
            loads.move_one(owner, self.me);
            steps.push(Step::Ask(lease));
        }
    }
}
