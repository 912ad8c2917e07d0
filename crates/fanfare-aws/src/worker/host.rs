//! What all parts of one running worker share.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_core::{Consumer, Disposition, RawDelivery};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{
    desk::{Begun, Desk, Message},
    handle::handle,
    leases::{Key, Leases, Taken},
    pace::{Answer, Pace},
    receive::Received,
    settle::{Settlement, settle},
};
use crate::{Queue, limits::BATCH_ENTRIES};

/// Given back at once.
pub(super) const RETURN: Disposition = Disposition::GiveBack { after: Duration::ZERO };

/// The handlers that workers share.
pub(super) type Handlers = Desk<Weak<Host>>;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) consumer: Consumer,
    pub(super) queue: Queue,
    /// How long a poll waits.
    pub(super) wait: Duration,
    pub(super) visibility: Duration,
    pub(super) began: Instant,
    pub(super) leases: Leases,
    pub(super) desk: Arc<Handlers>,
    /// Its place at the desk.
    pub(super) place: usize,
    /// Told when there may be room for a poll, if somebody waits for that.
    pub(super) room: Notify,
    pub(super) wants_room: AtomicBool,
    pub(super) stopping: AtomicBool,
    pub(super) ended: AtomicBool,
    pub(super) settler: mpsc::UnboundedSender<Vec<Settlement>>,
    pub(super) pace: Mutex<Pace>,
    pub(super) batches: Mutex<JoinSet<()>>,
}

impl Host {
    /// Holds what was received, and has it handled; or gives it back, if nothing is begun any more.
    pub(super) fn arrived(self: &Arc<Self>, asked: usize, received: Vec<Received>, took: Duration) {
        let came = received.len();
        let mut deliveries: Vec<RawDelivery> = Vec::with_capacity(came);
        let taken = received.into_iter().map(|Received { delivery, receipt }| {
            let group = &delivery.metadata.group;
            let last = deliveries.last().and_then(|last| last.metadata.group.as_ref());
            let follows = group.is_some() && group.as_ref() == last;
            let cancellation = delivery.cancellation.clone();
            deliveries.push(delivery);
            Taken { receipt, cancellation, follows }
        });
        let leases = self.leases.hold(taken, took);
        let mut hungry = false;
        if self.is_stopping() {
            self.give_back(leases);
        } else if came > 0 {
            let messages = leases.into_iter().zip(deliveries);
            let messages = messages.map(|(lease, delivery)| Message { lease, delivery });
            let begun;
            (begun, hungry) = self.desk.arrive(self.place, messages);
            start(begun);
        }
        let answer = Answer { asked, came, hungry, took };
        if self.pace().answered(answer, Instant::now()) {
            self.room.notify_one();
        }
    }

    /// Settles what has an outcome, and frees the handlers that are through, which were busy for so long
    /// together, and the groups that these were at.
    pub(super) fn ended(
        self: &Arc<Self>,
        settled: Vec<(Key, Disposition)>,
        handlers: usize,
        groups: &[String],
        busy: Duration,
    ) {
        let settlements = self.leases.settle(settled);
        if handlers > 0 {
            self.pace().handled(handlers, busy);
            start(self.desk.ended(self.place, handlers, groups));
            let others = self.desk.others();
            others.iter().filter_map(Weak::upgrade).for_each(|other| other.there_is_room());
        }
        self.send(settlements);
        // What is lost has made room.
        self.there_is_room();
    }

    /// Has settlements sent: full batches of deletes at once, the rest by the settler.
    pub(super) fn send(self: &Arc<Self>, mut settlements: Vec<Settlement>) {
        let is_delete = |one: &Settlement| one.disposition == Disposition::Acknowledge;
        while settlements.iter().take_while(|one| is_delete(one)).count() >= BATCH_ENTRIES {
            let rest = settlements.split_off(BATCH_ENTRIES);
            let batch = std::mem::replace(&mut settlements, rest);
            tokio::spawn(settle(Arc::clone(self), batch));
        }
        if !settlements.is_empty() {
            // Without a settler the visibility time-out gives them back.
            drop(self.settler.send(settlements));
        }
    }

    /// These are held no longer.
    pub(super) fn settled(&self, keys: Vec<Key>) {
        self.leases.settled(keys);
        self.there_is_room();
    }

    /// Leases have been lost, which their handlers were told.
    pub(super) fn lost(&self, leases: usize) {
        if leases > 0 {
            let queue = &self.queue.name;
            tracing::warn!(%queue, leases, "leases are lost: what their handlers do does not count");
        }
    }

    /// From now on nothing is begun; what waits for a handler is given back.
    pub(super) fn stop(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::SeqCst);
        let waiting = self.desk.leave(self.place);
        self.give_back(waiting.into_iter().map(|message| message.lease));
    }

    fn give_back(self: &Arc<Self>, leases: impl IntoIterator<Item = Key>) {
        let settlements = self.leases.settle(leases.into_iter().map(|lease| (lease, RETURN)));
        self.send(settlements);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether no more settlements are to be expected in the next moment.
    pub(super) fn is_quiet(&self) -> bool {
        self.leases.is_all_settling() && self.pace().is_quiet()
    }

    /// Wakes who waits for room.
    fn there_is_room(&self) {
        if self.wants_room.swap(false, Ordering::SeqCst) {
            self.room.notify_one();
        }
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn batches(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins batches, each in a task of its own.
fn start(begun: Begun<Weak<Host>>) {
    for (host, batch) in begun {
        // Whose worker was dropped has nothing handled any more.
        let Some(host) = host.upgrade() else { continue };
        let task = handle(Arc::clone(&host), batch);
        let mut batches = host.batches();
        while batches.try_join_next().is_some() {}
        batches.spawn(task);
    }
}
