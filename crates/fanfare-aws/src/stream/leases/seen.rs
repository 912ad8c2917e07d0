//! What a worker has seen of the leases so far, by its own clock.

use std::{collections::BTreeMap, time::Duration};

use fanfare_core::{Checkpoint, Lease};
use tokio::time::Instant;

/// How many leases' time a worker that has asked for a lease is expected to get it.
const ASKS_LAST: u32 = 3;

/// Since when each lease has been as it is.
#[derive(Debug)]
pub(super) struct Seen {
    lease: Duration,
    marks: BTreeMap<String, Mark>,
}

#[derive(Debug)]
struct Mark {
    state: (Option<String>, u64, u64),
    since: Instant,
    ask: (Option<String>, u64),
    asked_since: Instant,
    /// Since when anybody could take it.
    open_since: Option<Instant>,
}

impl Seen {
    pub(super) fn new(lease: Duration) -> Self {
        Seen { lease, marks: BTreeMap::new() }
    }

    /// All leases, as they were read by a call that has returned before `now`. It must not be
    /// earlier: an owner who has renewed while they were being read would be believed dead too
    /// soon.
    pub(super) fn look(&mut self, table: &Table<'_>, now: Instant) {
        self.marks.retain(|key, _| table.get(key).is_some());
        for lease in table.leases() {
            let state = (lease.owner.clone(), lease.epoch, lease.counter);
            let ask = (lease.successor.clone(), lease.epoch);
            let new = || Mark {
                state: state.clone(),
                since: now,
                ask: ask.clone(),
                asked_since: now,
                open_since: None,
            };
            let mark = self.marks.entry(lease.key.clone()).or_insert_with(new);
            if mark.state != state {
                (mark.state, mark.since) = (state, now);
            }
            if mark.ask != ask {
                (mark.ask, mark.asked_since) = (ask, now);
            }
            let is_free = lease.owner.is_none() || now >= mark.since + self.lease;
            let is_open = is_free && table.is_eligible(lease);
            mark.open_since = is_open.then(|| mark.open_since.unwrap_or(now));
        }
    }

    /// Whether the lease has an owner who has not renewed it for as long as it lasts.
    pub(super) fn is_dead(&self, lease: &Lease, now: Instant) -> bool {
        let mark = self.marks.get(&lease.key);
        lease.owner.is_some() && mark.is_some_and(|mark| now >= mark.since + self.lease)
    }

    /// Who has asked for the lease not too long ago.
    pub(super) fn asker<'a>(&self, lease: &'a Lease, now: Instant) -> Option<&'a str> {
        let asked = self.marks.get(&lease.key)?.asked_since;
        lease.successor.as_deref().filter(|_| now < asked + self.lease * ASKS_LAST)
    }

    /// Whether nobody wanted the lease for so long that those who should have taken it would have
    /// done so.
    pub(super) fn is_left_over(&self, lease: &Lease, now: Instant) -> bool {
        let open = self.marks.get(&lease.key).and_then(|mark| mark.open_since);
        open.is_some_and(|open| now >= open + self.lease / 2)
    }
}

/// The leases of a group, as they were read.
#[derive(Debug)]
pub(super) struct Table<'a>(BTreeMap<&'a str, &'a Lease>);

impl<'a> Table<'a> {
    pub(super) fn new(leases: &'a [Lease]) -> Self {
        Table(leases.iter().map(|lease| (&*lease.key, lease)).collect())
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = &'a Lease> {
        self.0.values().copied()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Lease> {
        self.0.get(key).copied()
    }

    /// Whether the shard may be consumed: it has not ended, and its parents have. A parent without
    /// a lease has ended long ago, or has expired before it could be read: no shard's lease is made
    /// before those of its parents.
    pub(super) fn is_eligible(&self, lease: &Lease) -> bool {
        let is_open =
            |key: &String| self.get(key).is_some_and(|parent| parent.checkpoint != Checkpoint::End);
        lease.checkpoint != Checkpoint::End && !lease.parents.iter().any(is_open)
    }
}
