//! When a lane looks from the beginning: each second, at all its shards together, or, where somebody
//! holds an old snapshot and dead rows make that slow, at one shard after another.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{floors::Sweep, lease::Grant};

/// How often each shard is looked at from the beginning.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// A look at all shards that takes longer keeps new events waiting.
const SLOW: Duration = Duration::from_millis(10);

/// The time that sweeps may take of all: a part in so many.
const SHARE: u32 = 20;

#[derive(Debug)]
pub(super) struct Sweeps {
    next: Instant,
    /// All shards are next, whatever it takes.
    all: bool,
    /// The shard that was swept last, where they take turns.
    turn: Option<u16>,
}

impl Default for Sweeps {
    fn default() -> Self {
        Sweeps { next: Instant::now(), all: true, turn: None }
    }
}

impl Sweeps {
    /// Has all shards swept at the next look.
    pub(super) fn all_now(&mut self) {
        (self.next, self.all) = (Instant::now(), true);
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// What a look now is to sweep.
    pub(super) fn due(&self, now: Instant, grants: &BTreeMap<u16, Grant>) -> Sweep {
        match self.turn {
            _ if self.all => Sweep::All,
            _ if now < self.next => Sweep::None,
            None => Sweep::All,
            Some(last) => {
                let after = grants.range(last + 1..).next().or_else(|| grants.first_key_value());
                after.map_or(Sweep::All, |(shard, _)| Sweep::One(*shard))
            }
        }
    }

    /// Takes note of how long a look took that swept.
    pub(super) fn took(&mut self, sweep: Sweep, took: Duration, shards: usize) {
        let shards = u32::try_from(shards).unwrap_or(u32::MAX).max(1);
        let (whole, pause) = match sweep {
            Sweep::None => return,
            Sweep::All => (took, SWEEP),
            Sweep::One(_) => (took * shards, SWEEP / shards),
        };
        self.all = false;
        self.turn = match sweep {
            _ if whole <= SLOW => None,
            Sweep::One(shard) => Some(shard),
            _ => Some(0),
        };
        let pause = if self.turn.is_some() { SWEEP / shards } else { pause };
        self.next = Instant::now() + pause.max(took.min(SWEEP) * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(shards: &[u16]) -> BTreeMap<u16, Grant> {
        let until = Instant::now();
        let grant = |&shard| (shard, Grant { shard, owner: "me".into(), epoch: 1, until });
        shards.iter().map(grant).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn quick_sweeps_are_of_all_shards_and_slow_ones_take_turns() {
        let (mut sweeps, grants) = (Sweeps::default(), grants(&[2, 5, 9]));
        assert_eq!(sweeps.due(Instant::now(), &grants), Sweep::All);
        sweeps.took(Sweep::All, Duration::from_millis(1), 3);
        assert_eq!(sweeps.due(Instant::now(), &grants), Sweep::None);
        tokio::time::advance(SWEEP).await;
        assert_eq!(sweeps.due(Instant::now(), &grants), Sweep::All);
        sweeps.took(Sweep::All, SLOW * 2, 3);
        for shard in [2, 5, 9, 2] {
            tokio::time::advance(SWEEP).await;
            assert_eq!(sweeps.due(Instant::now(), &grants), Sweep::One(shard));
            sweeps.took(Sweep::One(shard), SLOW, 3);
        }
        tokio::time::advance(SWEEP).await;
        sweeps.took(Sweep::One(5), Duration::from_millis(1), 3);
        tokio::time::advance(SWEEP).await;
        assert_eq!(sweeps.due(Instant::now(), &grants), Sweep::All);
        sweeps.took(Sweep::All, Duration::from_millis(1), 3);
        sweeps.all_now();
        assert_eq!(sweeps.due(Instant::now(), &grants), Sweep::All);
    }
}
