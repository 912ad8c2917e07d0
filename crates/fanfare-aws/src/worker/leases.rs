//! What a worker holds: the leases on messages, from their receive until they are settled or lost.
//!
//! A lease ends at its deadline, a little before anybody else can have the message. That is counted from
//! before a renewal was sent; from a receive, which waits for messages, from a little before its answer came.
//! What is lost is cancelled, and whoever comes to settle it is told to leave it. Here is only the table;
//! what talks to SQS is the keeper (`keeper`), and the settler (`settle`).

use std::{
    collections::BTreeMap,
    ops::RangeBounds,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_core::{Cancellation, Disposition};
use tokio::{sync::Notify, time::Instant};

use super::settle::Settlement;
use crate::limits::BATCH_ENTRIES;

/// Names a lease; later ones are greater.
pub(super) type Key = u64;

/// A received message, as far as its lease goes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) receipt: String,
    pub(super) cancellation: Cancellation,
    /// Whether it is of the same group as the one before it, of which order is kept.
    pub(super) follows: bool,
}

/// A renewal that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    pub(super) key: Key,
    pub(super) receipt: String,
    /// When the message is to be visible again.
    pub(super) until: Instant,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewed {
    Yes,
    /// It may work when it is tried again.
    NotYet,
    /// The message is no longer ours.
    Never,
}

#[derive(Debug)]
pub(super) struct Leases {
    visibility: Duration,
    limit: Duration,
    table: Mutex<Table>,
    held: AtomicUsize,
    /// Told when nothing is held any more.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: Key,
    leases: BTreeMap<Key, Lease>,
    /// How many of them nobody has come to settle.
    open: usize,
}

#[derive(Debug)]
struct Lease {
    receipt: String,
    cancellation: Cancellation,
    /// The first of its group's slice, which is lost as a whole.
    slice: Key,
    received_at: Instant,
    /// When it was received or renewed last.
    since: Instant,
    /// When it is to be renewed.
    due: Instant,
    deadline: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// A renewal of it is under way.
    Renewing,
    /// It is to be given back when the renewal that is under way has ended: else that could come
    /// after it.
    Returning(Disposition),
    /// The settler has it.
    Settling,
    /// Its deadline has passed, or it is no longer ours.
    Lost,
}

/// What there is to do about leases.
#[derive(Debug)]
pub(super) struct Due {
    /// The oldest first, slices together.
    pub(super) renewals: Vec<Renewal>,
    /// How many leases have been lost.
    pub(super) lost: usize,
    /// When to look again. No lease can be due before, received ones included.
    pub(super) next: Instant,
}

impl Leases {
    pub(super) fn new(visibility: Duration, limit: Duration) -> Self {
        let (held, emptied) = (AtomicUsize::new(0), Notify::new());
        Leases { visibility, limit, table: Mutex::default(), held, emptied }
    }

    /// How long a lease is kept in all.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Holds what came just now, in answer to a receive that took so long.
    pub(super) fn hold(
        &self,
        taken: impl ExactSizeIterator<Item = Taken>,
        took: Duration,
    ) -> Vec<Key> {
        let now = Instant::now();
        // It was handed out at the end of a wait, and the answer may have been on its way for a while.
        let since = now - took.min(self.visibility / 6);
        let mut table = self.table();
        let mut slice = table.next;
        self.held.fetch_add(taken.len(), Ordering::Relaxed);
        table.open += taken.len();
        let hold = taken.map(|Taken { receipt, cancellation, follows }| {
            let key = table.next;
            table.next += 1;
            slice = if follows { slice } else { key };
            let lease = Lease {
                receipt,
                cancellation,
                slice,
                received_at: since,
                since: now,
                due: now + self.visibility / 3,
                deadline: since + self.visibility - self.margin(),
                state: State::Held,
            };
            table.leases.insert(key, lease);
            key
        });
        hold.collect()
    }

    /// Hands over what is to be settled, as far as it is still ours. What is not, or is left alone, is
    /// held no longer.
    pub(super) fn settle(
        &self,
        settled: impl IntoIterator<Item = (Key, Disposition)>,
    ) -> Vec<Settlement> {
        let now = Instant::now();
        let mut table = self.table();
        let mut settlements = Vec::new();
        for (key, disposition) in settled {
            let Some(lease) = table.leases.get_mut(&key) else { continue };
            let lost = lease.state == State::Lost || lease.deadline <= now;
            if lost || disposition == Disposition::Leave {
                lease.cancellation.cancel();
                self.remove(&mut table, key);
            } else if lease.state == State::Renewing && disposition != Disposition::Acknowledge {
                lease.state = State::Returning(disposition);
                table.open = table.open.saturating_sub(1);
            } else {
                settlements.push(lease.settlement(key, disposition));
                table.open = table.open.saturating_sub(1);
            }
        }
        settlements
    }

    /// How the handler of a lease is told that it is lost; none if it is held no longer.
    pub(super) fn cancellation(&self, key: Key) -> Option<Cancellation> {
        self.table().leases.get(&key).map(|lease| lease.cancellation.clone())
    }

    /// What the settler had has been settled, or given up.
    pub(super) fn settled(&self, keys: impl IntoIterator<Item = Key>) {
        let mut table = self.table();
        keys.into_iter().for_each(|key| self.remove(&mut table, key));
    }

    /// Cancels what is lost by now, and collects what has to be renewed. When one has to be, all are
    /// that were not renewed lately: so they stay together, and fill their requests.
    pub(super) fn due(&self) -> Due {
        let now = Instant::now();
        let mut table = self.table();
        let ended = |lease: &Lease| lease.deadline <= now;
        let lost = table.keys(.., |lease| lease.is_ours() && ended(lease));
        let lost = self.lose(&mut table, lost);

        let limit = self.limit;
        let renewable = |lease: &Lease| {
            // Not where that would put its deadline off no more.
            let last = lease.received_at + limit - self.margin();
            lease.state == State::Held && lease.deadline < last
        };
        let is_due = |lease: &Lease| renewable(lease) && lease.due <= now;
        let mut renewals = Vec::new();
        if table.leases.values().any(is_due) {
            let lately = self.visibility / 6;
            for (key, lease) in &mut table.leases {
                if is_due(lease) || (renewable(lease) && lease.since + lately <= now) {
                    lease.state = State::Renewing;
                    let until = lease.received_at + limit;
                    let until = until.min(now + self.visibility);
                    renewals.push(Renewal { key: *key, receipt: lease.receipt.clone(), until });
                }
            }
        }
        let next = table.leases.values().filter(|lease| lease.is_ours()).map(|lease| {
            if renewable(lease) { lease.due.min(lease.deadline) } else { lease.deadline }
        });
        let look = now + self.visibility / 3;
        Due { renewals, lost, next: next.min().map_or(look, |next| next.min(look)) }
    }

    /// Notes what came of renewals that were sent at one time; what was to be given back meanwhile is
    /// handed over, and how many leases are lost.
    pub(super) fn renewed(
        &self,
        renewals: &[Renewal],
        sent: Instant,
        outcome: impl Fn(usize) -> Renewed,
    ) -> (Vec<Settlement>, usize) {
        let now = Instant::now();
        let mut table = self.table();
        let (mut settlements, mut lost) = (Vec::new(), Vec::new());
        for (index, Renewal { key, until, .. }) in renewals.iter().enumerate() {
            let Some(lease) = table.leases.get_mut(key) else { continue };
            match outcome(index) {
                Renewed::Yes if lease.is_ours() => {
                    (lease.since, lease.deadline) = (sent, *until - self.margin());
                    lease.due = sent + self.visibility / 3;
                }
                Renewed::NotYet if lease.is_ours() => lease.due = now + self.retry(),
                Renewed::Never if lease.is_ours() => lost.push(*key),
                _ => {}
            }
            match lease.state {
                State::Renewing => lease.state = State::Held,
                State::Returning(disposition) if !lost.contains(key) => {
                    settlements.push(lease.settlement(*key, disposition));
                }
                _ => {}
            }
        }
        let lost = self.lose(&mut table, lost);
        (settlements, lost)
    }

    /// How long before the message is visible again the lease on it ends: a second, where leases are not
    /// very short.
    fn margin(&self) -> Duration {
        (self.visibility / 30).min(Duration::from_secs(1))
    }

    /// How long after a renewal that failed it is tried again.
    fn retry(&self) -> Duration {
        (self.visibility / 12).clamp(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// Cancels what is lost, with the rest of its slices, and gives how many those are.
    fn lose(&self, table: &mut Table, keys: Vec<Key>) -> usize {
        let mut count = 0;
        for key in keys {
            let Some(slice) = table.leases.get(&key).map(|lease| lease.slice) else { continue };
            let same = |lease: &Lease| lease.slice == slice && lease.is_ours();
            for key in table.keys(slice..slice + BATCH_ENTRIES as Key, same) {
                let Some(lease) = table.leases.get_mut(&key) else { continue };
                count += 1;
                lease.cancellation.cancel();
                if matches!(lease.state, State::Returning(_)) {
                    // Its handler has ended: nobody comes for it any more.
                    self.remove(table, key);
                } else {
                    lease.state = State::Lost;
                }
            }
        }
        count
    }

    fn remove(&self, table: &mut Table, key: Key) {
        let Some(lease) = table.leases.remove(&key) else { return };
        if !matches!(lease.state, State::Settling | State::Returning(_)) {
            table.open = table.open.saturating_sub(1);
        }
        if self.held.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.emptied.notify_one();
        }
    }

    /// How many messages are held.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether nothing is held but what the settler has.
    pub(super) fn is_all_settling(&self) -> bool {
        self.table().open == 0
    }

    /// When the oldest was received of those that are held.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.table().leases.first_key_value().map(|(_, lease)| lease.received_at)
    }

    /// Resolves when nothing is held; for one caller, when nothing is received any more.
    pub(super) async fn emptied(&self) {
        while self.held() > 0 {
            self.emptied.notified().await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn keys(&self, range: impl RangeBounds<Key>, is_wanted: impl Fn(&Lease) -> bool) -> Vec<Key> {
        self.leases
            .range(range)
            .filter(|(_, lease)| is_wanted(lease))
            .map(|(key, _)| *key)
            .collect()
    }
}

impl Lease {
    /// Whether it is neither lost nor the settler's.
    fn is_ours(&self) -> bool {
        !matches!(self.state, State::Settling | State::Lost)
    }

    fn settlement(&mut self, key: Key, disposition: Disposition) -> Settlement {
        self.state = State::Settling;
        Settlement {
            key,
            receipt: std::mem::take(&mut self.receipt),
            received_at: self.received_at,
            deadline: self.deadline,
            disposition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const AGAIN: Disposition = Disposition::GiveBack { after: Duration::ZERO };

    fn hold(leases: &Leases, follows: &[bool]) -> (Vec<Key>, Vec<Cancellation>) {
        let cancellations: Vec<_> = follows.iter().map(|_| Cancellation::default()).collect();
        let taken = follows.iter().zip(&cancellations).map(|(follows, cancellation)| Taken {
            receipt: String::new(),
            cancellation: cancellation.clone(),
            follows: *follows,
        });
        (leases.hold(taken.collect::<Vec<_>>().into_iter(), Duration::ZERO), cancellations)
    }

    fn leases() -> Leases {
        Leases::new(30 * SECOND, 3_600 * SECOND)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_is_not_settled_whatever_became_of_it() {
        let leases = leases();
        let (keys, cancellations) = hold(&leases, &[false, false, false]);
        tokio::time::advance(29 * SECOND).await;
        let early = leases.settle([(keys[0], Disposition::Acknowledge)]);
        assert!(early.is_empty(), "also if nobody has noticed yet");
        assert_eq!(leases.due().lost, 2);
        assert!(cancellations.iter().all(Cancellation::is_cancelled));
        assert!(leases.settle([(keys[1], Disposition::Acknowledge), (keys[2], AGAIN)]).is_empty());
        assert_eq!(leases.held(), 0, "and held no longer");
        assert!(leases.is_all_settling());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_stays_so_and_takes_its_slice_along() {
        let leases = leases();
        let (_, cancellations) = hold(&leases, &[false, true, true, false]);
        tokio::time::advance(10 * SECOND).await;
        let renewals = leases.due().renewals;
        assert_eq!(renewals.len(), 4);
        let outcome = |index| if index == 1 { Renewed::Never } else { Renewed::Yes };
        let (settlements, lost) = leases.renewed(&renewals, Instant::now(), outcome);
        assert!(settlements.is_empty());
        assert_eq!(lost, 3);
        let cancelled: Vec<_> = cancellations.iter().map(Cancellation::is_cancelled).collect();
        assert_eq!(cancelled, [true, true, true, false]);
        tokio::time::advance(10 * SECOND).await;
        assert_eq!(leases.due().renewals.len(), 1, "the others are renewed no more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_lately_is_renewed_with_the_others_from_the_next_time_on() {
        let leases = leases();
        hold(&leases, &[false; 3]);
        tokio::time::advance(4 * SECOND).await;
        hold(&leases, &[false; 3]);
        let counts = async |leases: &Leases| {
            let Due { renewals, next, .. } = leases.due();
            leases.renewed(&renewals, Instant::now(), |_| Renewed::Yes);
            tokio::time::sleep_until(next).await;
            renewals.len()
        };
        let mut seen = Vec::new();
        for _ in 0..12 {
            seen.push(counts(&leases).await);
        }
        seen.retain(|count| *count > 0);
        assert!(seen.len() > 4 && seen[1..].iter().all(|count| *count == 6), "{seen:?}");
    }
}
