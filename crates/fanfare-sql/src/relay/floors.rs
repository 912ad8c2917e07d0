//! From where on a lane looks at its shards.
//!
//! Deleted rows stay in PostgreSQL's table and index for a while, at worst for as long as somebody
//! holds an old snapshot, and a search from the beginning would wade through all of them. So a lane
//! remembers a floor per shard: the highest id up to which all that it could see a while ago is
//! done with.
//!
//! Ids are drawn before they are committed, so a row may appear *below* the floor. It can only be of
//! a transaction that was running when the floor's id was seen: those are remembered as
//! *stragglers*, and as soon as one of them has ended the lane looks from the beginning once, before
//! it publishes anything else. Without that, a key's event that waited long for its commit could be
//! overtaken by the key's next one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::snapshot::Snapshot;

/// How old a floor is when it comes into force: most transactions have ended by then.
const LAG: Duration = Duration::from_millis(250);

/// Which shards a look is at from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    None,
    One(u16),
    All,
}

impl Sweep {
    pub(super) fn covers(self, shard: u16) -> bool {
        self == Sweep::All || self == Sweep::One(shard)
    }
}

/// What one look at a shard came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// The highest id that was seen, 0 for none.
    pub(super) highest: i64,
    /// Whether there was more than fitted.
    pub(super) cut: bool,
    /// The lowest id that was seen and is to be seen again.
    pub(super) left: Option<i64>,
}

/// The floors of a lane.
#[derive(Debug, Default)]
pub(super) struct Floors {
    floors: BTreeMap<u16, i64>,
    /// Floors to come, oldest first.
    marks: VecDeque<Mark>,
    /// Transactions that may still put rows below a floor.
    stragglers: BTreeSet<u64>,
}

#[derive(Debug)]
struct Mark {
    at: Instant,
    snapshot: Snapshot,
    ids: BTreeMap<u16, i64>,
}

impl Floors {
    /// Where to look from in `shard`: at ids above this.
    pub(super) fn of(&self, shard: u16) -> i64 {
        self.floors.get(&shard).copied().unwrap_or(0)
    }

    /// Looks at `shard` from the beginning until it has been seen whole.
    pub(super) fn reset(&mut self, shard: u16) {
        self.floors.remove(&shard);
        for mark in &mut self.marks {
            mark.ids.remove(&shard);
        }
    }

    /// Looks at all shards from the beginning.
    pub(super) fn reset_all(&mut self) {
        *self = Floors::default();
    }

    /// Whether every shard is looked at from the beginning.
    pub(super) fn is_empty(&self) -> bool {
        self.floors.is_empty()
    }

    /// Whether a straggler has ended: what was read with this snapshot may be missing an earlier row
    /// of a key that it has.
    pub(super) fn may_have_missed(&self, snapshot: &Snapshot) -> bool {
        self.stragglers.iter().any(|&transaction| !snapshot.runs(transaction))
    }

    /// Takes note of a look that is done with.
    pub(super) fn looked(
        &mut self,
        at: Instant,
        snapshot: Snapshot,
        looks: &BTreeMap<u16, Look>,
        sweep: Sweep,
    ) {
        for (&shard, look) in looks {
            // What it left below the floor would not be seen again.
            let left = look.left.is_some_and(|left| left <= self.of(shard));
            if sweep.covers(shard) && (look.cut || left) {
                self.reset(shard);
            }
        }
        if sweep == Sweep::All {
            self.stragglers.retain(|&transaction| snapshot.runs(transaction));
        }
        while self.marks.front().is_some_and(|mark| mark.at + LAG <= at) {
            if let Some(mark) = self.marks.pop_front() {
                self.adopt(mark, &snapshot, looks);
            }
        }
        let done = |look: &Look| look.left.map_or(look.highest, |left| left - 1);
        let higher = |(&shard, look): (&u16, &Look)| {
            let done = done(look);
            (done > self.of(shard)).then_some((shard, done))
        };
        let ids: BTreeMap<_, _> = looks.iter().filter_map(higher).collect();
        if !ids.is_empty() {
            self.marks.push_back(Mark { at, snapshot, ids });
        }
    }

    /// Brings a mark into force, in shards where the newest look went as far as it and left nothing
    /// below it.
    fn adopt(&mut self, mark: Mark, now: &Snapshot, looks: &BTreeMap<u16, Look>) {
        let mut adopted = false;
        for (shard, id) in mark.ids {
            let Some(look) = looks.get(&shard) else { continue };
            let seen = !look.cut || look.highest >= id;
            if seen && look.left.is_none_or(|left| left > id) && id > self.of(shard) {
                self.floors.insert(shard, id);
                adopted = true;
            }
        }
        if adopted {
            let running = mark.snapshot.running();
            self.stragglers.extend(running.filter(|&transaction| now.runs(transaction)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(next: u64, running: &[u64]) -> Snapshot {
        Snapshot::new(next, running.iter().copied())
    }

    fn look(highest: i64) -> Look {
        Look { highest, cut: false, left: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_floor_comes_into_force_after_its_lag() {
        let mut floors = Floors::default();
        let start = Instant::now();
        floors.looked(start, snapshot(5, &[]), &BTreeMap::from([(3, look(100))]), Sweep::All);
        assert_eq!(floors.of(3), 0);
        floors.looked(start + LAG, snapshot(9, &[]), &BTreeMap::from([(3, look(0))]), Sweep::None);
        assert_eq!(floors.of(3), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_stays_above_the_floor() {
        let mut floors = Floors::default();
        let start = Instant::now();
        let left = Look { left: Some(40), ..look(100) };
        floors.looked(start, snapshot(5, &[]), &BTreeMap::from([(3, left)]), Sweep::All);
        floors.looked(
            start + LAG,
            snapshot(9, &[]),
            &BTreeMap::from([(3, look(100))]),
            Sweep::None,
        );
        assert_eq!(floors.of(3), 39);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_sweep_leaves_below_the_floor_lowers_it() {
        let mut floors = Floors::default();
        let start = Instant::now();
        let looks = |look| BTreeMap::from([(3, look)]);
        floors.looked(start, snapshot(20, &[7]), &looks(look(100)), Sweep::All);
        floors.looked(start + LAG, snapshot(30, &[7]), &looks(look(100)), Sweep::None);
        assert_eq!(floors.of(3), 100);
        let late = Look { left: Some(40), ..look(40) };
        floors.looked(start + LAG, snapshot(40, &[]), &looks(late), Sweep::All);
        assert_eq!(floors.of(3), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_straggler_is_noticed() {
        let mut floors = Floors::default();
        let start = Instant::now();
        let looks = BTreeMap::from([(3, look(100))]);
        floors.looked(start, snapshot(20, &[7, 8]), &looks, Sweep::All);
        floors.looked(start + LAG, snapshot(30, &[8]), &looks, Sweep::None);
        assert_eq!(floors.of(3), 100);
        // 7 had ended before the floor came into force; 8 and later ones had not.
        assert!(!floors.may_have_missed(&snapshot(40, &[8])));
        assert!(floors.may_have_missed(&snapshot(40, &[])));
        floors.looked(start + LAG, snapshot(40, &[]), &looks, Sweep::All);
        assert!(!floors.may_have_missed(&snapshot(40, &[])));
    }

    /// A table whose rows are drawn, committed or rolled back by transactions in any order.
    #[derive(Default)]
    struct Model {
        next_id: i64,
        open: BTreeMap<u64, Vec<i64>>,
        next_transaction: u64,
        visible: BTreeSet<i64>,
    }

    proptest! {
        /// Whatever commits whenever: no look skips a visible row, unless the lane is told that it
        /// may have.
        #[test]
        fn no_row_stays_below_a_floor_unnoticed(
            steps in prop::collection::vec((0u8..6, any::<prop::sample::Index>()), 1..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            let mut now = runtime.block_on(async { Instant::now() });
            let mut model = Model { next_transaction: 1, ..Model::default() };
            let mut floors = Floors::default();
            for (step, pick) in steps {
                let some = (!model.open.is_empty())
                    .then(|| *model.open.keys().nth(pick.index(model.open.len())).unwrap());
                match (step, some) {
                    (0, _) => {
                        model.open.insert(model.next_transaction, Vec::new());
                        model.next_transaction += 1;
                    }
                    (1, Some(transaction)) => {
                        model.next_id += 1;
                        model.open.get_mut(&transaction).unwrap().push(model.next_id);
                    }
                    (2, Some(transaction)) => {
                        model.visible.extend(model.open.remove(&transaction).unwrap());
                    }
                    (3, Some(transaction)) => drop(model.open.remove(&transaction)),
                    (4, _) => now += LAG / 2,
                    _ => {
                        let running: Vec<u64> = model.open.keys().copied().collect();
                        let snapshot = snapshot(model.next_transaction, &running);
                        let missed = floors.may_have_missed(&snapshot);
                        let sweep = if missed { Sweep::All } else { Sweep::None };
                        let floor = if missed { 0 } else { floors.of(0) };
                        let all = model.visible.len();
                        let seen: Vec<i64> =
                            model.visible.iter().copied().filter(|id| *id > floor).take(4).collect();
                        let cut = seen.len() == 4;
                        if !cut {
                            prop_assert_eq!(seen.len(), all, "a row below the floor {}", floor);
                        }
                        // All but the last are published.
                        let left = (pick.index(2) == 1).then(|| seen.last().copied()).flatten();
                        model.visible.retain(|id| Some(*id) == left || !seen.contains(id));
                        let highest = seen.last().copied().unwrap_or(0);
                        let look = Look { highest, cut, left };
                        floors.looked(now, snapshot, &BTreeMap::from([(0, look)]), sweep);
                    }
                }
            }
        }
    }
}
