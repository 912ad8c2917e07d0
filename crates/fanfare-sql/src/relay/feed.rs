//! What a lane is told by the database's log, and when it may go by that instead of looking.
//!
//! A lane *tails* between two sweeps if the older one, with snapshot S, left nothing to do: then all
//! that S could see is published, and all that it could not see comes by the feed, in the order of
//! commits. This rests on one condition: every transaction that S could not see is fed after S. The
//! feed may begin, break off, and be skipped while the lane looks by itself; whatever was committed
//! before that is either visible to the next sweep or still runs in its snapshot, because a commit is
//! in the log a moment before others can see it. So the lane waits for a sweep in which all those
//! transactions have ended, and whatever else it skipped until then.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::{snapshot::Snapshot, store::Row};

/// How much may wait for a lane, in bytes.
pub(super) const ROOM: usize = 8 << 20;

/// What a row weighs beside its body, generously.
const ROW: usize = 512;

/// A committed transaction's rows for one lane.
struct Fed {
    id: u32,
    rows: Vec<Row>,
    _room: OwnedSemaphorePermit,
}

/// What has become of a feed.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// Whether the log is being followed.
    live: bool,
    /// How often something may not have been fed.
    breaks: u64,
}

/// Where the tail puts what is for one lane.
pub(super) struct Outlet {
    fed: mpsc::UnboundedSender<Fed>,
    flow: watch::Sender<Flow>,
    /// Bounds what waits.
    room: Arc<Semaphore>,
}

/// Where a lane takes what was put there.
pub(super) struct Feed {
    fed: mpsc::UnboundedReceiver<Fed>,
    flow: watch::Receiver<Flow>,
    /// The next of `fed`, once somebody has waited for it.
    ahead: VecDeque<Fed>,
    /// While the lane tails: what this snapshot can see is done with.
    since: Option<Snapshot>,
    /// Whether something unknown may not have been fed, or not been published.
    missed: bool,
    /// Must be visible before the lane may tail.
    awaited: BTreeSet<u64>,
    /// The latest look's.
    latest: Snapshot,
}

/// A feed and its outlet.
pub(super) fn feed() -> (Outlet, Feed) {
    let (sender, fed) = mpsc::unbounded_channel();
    let (told, flow) = watch::channel(Flow::default());
    let feed = Feed {
        fed,
        flow,
        ahead: VecDeque::new(),
        since: None,
        missed: true,
        awaited: BTreeSet::new(),
        latest: Snapshot::default(),
    };
    (Outlet { fed: sender, flow: told, room: Arc::new(Semaphore::new(ROOM)) }, feed)
}

/// What `row` takes of the [`ROOM`].
pub(super) fn weight(row: &Row) -> usize {
    ROW + row.message.body.len()
}

impl Outlet {
    /// From now on all commits are fed.
    pub(super) fn begin(&self) {
        self.flow.send_modify(|flow| *flow = Flow { live: true, breaks: flow.breaks + 1 });
    }

    /// From now on none are.
    pub(super) fn end(&self) {
        self.flow.send_modify(|flow| *flow = Flow { live: false, breaks: flow.breaks + 1 });
    }

    /// Something will not be fed.
    pub(super) fn gap(&self) {
        self.flow.send_modify(|flow| flow.breaks += 1);
    }

    /// Feeds rows of the transaction that the log calls `id`; if there is no room, they are left out.
    pub(super) fn put(&self, id: u32, rows: Vec<Row>) {
        let weight = u32::try_from(rows.iter().map(weight).sum::<usize>()).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(weight) {
            // A lane that is gone needs nothing.
            Ok(room) => drop(self.fed.send(Fed { id, rows, _room: room })),
            Err(_) => self.gap(),
        }
    }
}

impl Feed {
    /// Whether the lane tails.
    pub(super) fn tails(&mut self) -> bool {
        self.heed();
        self.since.is_some()
    }

    /// The lane goes back to looking: something that was fed has not been published, or may not have
    /// been fed.
    pub(super) fn stop(&mut self) {
        self.since = None;
        self.missed = true;
        self.awaited.clear();
    }

    /// Takes note of breaks.
    fn heed(&mut self) {
        // Without an outlet there is nothing new.
        if self.flow.has_changed().unwrap_or(false) {
            self.flow.borrow_and_update();
            self.stop();
        }
    }

    /// Passes over what the coming look will find.
    pub(super) fn skip(&mut self) {
        while let Some(Fed { id, .. }) = self.next() {
            let transaction = self.latest.transaction(id);
            if !self.missed && self.latest.runs(transaction) {
                self.awaited.insert(transaction);
            }
        }
        // After the last of them was taken: a break before any of them is known by now.
        self.heed();
    }

    /// Takes note of a look; `whole` if it was a sweep, and all that there was is published.
    pub(super) fn looked(&mut self, snapshot: Snapshot, sweep: bool, whole: bool) {
        self.awaited.retain(|&transaction| snapshot.runs(transaction));
        if sweep && self.missed {
            self.missed = false;
            self.awaited = snapshot.running().collect();
        }
        self.latest = snapshot;
        let tails = whole && self.flow.borrow().live && !self.missed && self.awaited.is_empty();
        if tails != self.since.is_some() {
            tracing::debug!(tails, "following the log");
        }
        self.since = tails.then(|| self.latest.clone());
    }

    /// Waits until something was fed.
    pub(super) async fn fed(&mut self) {
        if self.ahead.is_empty() {
            tokio::select! {
                Some(fed) = self.fed.recv() => self.ahead.push_back(fed),
                Ok(()) = self.flow.changed() => self.stop(),
                else => std::future::pending().await,
            }
        }
    }

    /// Some `most` rows that were fed and that nobody has seen yet, in the order of their commits;
    /// none if the lane must look by itself.
    pub(super) fn take(&mut self, most: usize) -> Vec<Row> {
        let Some(since) = self.since.take() else { return Vec::new() };
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(Fed { id, rows, .. }) = self.next()
        {
            let transaction = since.transaction(id);
            if since.runs(transaction) {
                let rows = rows.into_iter();
                taken.extend(rows.map(|row| Row { transaction: Some(transaction), ..row }));
            }
        }
        self.since = Some(since);
        // After they were taken: none of them may come from behind a break.
        if self.tails() { taken } else { Vec::new() }
    }

    fn next(&mut self) -> Option<Fed> {
        self.ahead.pop_front().or_else(|| self.fed.try_recv().ok())
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::{Destination, Message};

    use super::*;

    fn row(id: i64) -> Row {
        let to = Destination::Topic("orders".into());
        let message = Message::new(to, id.to_string(), "t.v1", "k", Vec::new(), "{}");
        Row { shard: 0, id, destination: "topic:orders".into(), message, transaction: None }
    }

    fn ids(rows: Vec<Row>) -> Vec<i64> {
        rows.into_iter().map(|row| row.id).collect()
    }

    /// A feed in a lane that tails since a sweep with this snapshot.
    fn tailing(snapshot: Snapshot) -> (Outlet, Feed) {
        let (outlet, mut feed) = feed();
        outlet.begin();
        feed.skip();
        feed.looked(snapshot.clone(), true, true);
        assert_eq!(feed.tails(), snapshot.running().count() == 0);
        (outlet, feed)
    }

    #[test]
    fn what_the_sweep_could_see_is_passed_over_and_the_rest_is_given() {
        let (outlet, mut feed) = tailing(Snapshot::new(20, []));
        for (transaction, id) in [(19, 1), (20, 2), (22, 3), (21, 4)] {
            outlet.put(transaction, vec![row(id)]);
        }
        assert_eq!(ids(feed.take(2)), [2, 3]);
        assert_eq!(ids(feed.take(2)), [4]);
        feed.looked(Snapshot::new(30, [25]), true, true);
        assert!(feed.tails(), "25 will be fed");
        outlet.put(24, vec![row(5)]);
        outlet.put(25, vec![row(6)]);
        assert_eq!(ids(feed.take(9)), [6]);
    }

    #[test]
    fn without_a_tail_a_lane_looks() {
        let (outlet, mut feed) = feed();
        feed.looked(Snapshot::new(20, []), true, true);
        assert!(!feed.tails());
        drop(outlet);
        assert!(!feed.tails());
    }

    #[test]
    fn what_ran_when_the_feed_began_must_have_ended_first() {
        let (_outlet, mut feed) = tailing(Snapshot::new(20, [7]));
        feed.skip();
        feed.looked(Snapshot::new(30, [7, 25]), true, true);
        assert!(!feed.tails());
        feed.skip();
        feed.looked(Snapshot::new(40, [25]), false, false);
        assert!(!feed.tails(), "that was no sweep");
        feed.looked(Snapshot::new(40, [25]), true, true);
        assert!(feed.tails());
    }

    #[test]
    fn what_was_skipped_and_not_visible_must_be_seen_first() {
        let (outlet, mut feed) = tailing(Snapshot::new(20, [7]));
        outlet.put(18, vec![row(1)]);
        outlet.put(21, vec![row(2)]);
        feed.skip();
        // 21 is committed in the log, and not for others yet.
        feed.looked(Snapshot::new(30, [21]), true, true);
        assert!(!feed.tails());
        feed.looked(Snapshot::new(31, [30]), true, true);
        assert!(feed.tails());
        assert!(feed.take(9).is_empty());
    }

    #[test]
    fn a_sweep_that_left_something_ends_it() {
        let (_outlet, mut feed) = tailing(Snapshot::new(20, []));
        feed.looked(Snapshot::new(20, []), true, false);
        assert!(!feed.tails());
        feed.looked(Snapshot::new(20, []), true, true);
        assert!(feed.tails());
    }

    #[test]
    fn a_feed_without_room_has_a_gap_and_nothing_from_behind_it_is_given() {
        let (outlet, mut feed) = tailing(Snapshot::new(20, []));
        let rows = || (0..64).map(row).collect::<Vec<_>>();
        let fits = ROOM / rows().iter().map(weight).sum::<usize>();
        (0..fits).for_each(|_| outlet.put(20, rows()));
        assert_eq!(feed.take(1).len(), 64, "and makes room for one");
        outlet.put(21, rows());
        assert!(feed.tails());
        outlet.put(22, rows());
        assert!(feed.take(1).is_empty());
        assert!(!feed.tails());
        feed.skip();
        feed.looked(Snapshot::new(30, [22]), true, true);
        assert!(!feed.tails(), "22 was left out and may come late");
        feed.looked(Snapshot::new(30, []), true, true);
        assert!(feed.tails());
    }

    #[test]
    fn a_break_while_a_look_is_under_way_counts() {
        let (outlet, mut feed) = feed();
        outlet.begin();
        feed.skip();
        outlet.gap();
        feed.looked(Snapshot::new(20, []), true, true);
        assert!(!feed.tails());
        outlet.end();
        feed.skip();
        feed.looked(Snapshot::new(20, []), true, true);
        assert!(!feed.tails());
    }

    #[tokio::test]
    async fn waiting_ends_with_what_is_fed_and_with_a_break() {
        let (outlet, mut feed) = tailing(Snapshot::new(20, []));
        outlet.put(20, vec![row(1)]);
        feed.fed().await;
        feed.fed().await;
        assert_eq!(ids(feed.take(9)), [1]);
        outlet.end();
        feed.fed().await;
        assert!(!feed.tails());
    }
}
