//! A lease, as the one who consumes its shard sees it.

use std::sync::{Arc, Mutex, PoisonError};

use fanfare_core::{Checkpoint, Lease};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A lease that this worker holds. Clones share it.
#[derive(Debug, Clone)]
pub(in crate::stream) struct Held {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lease: Lease,
    /// When it ends unless it is renewed; never later again once that has passed.
    until: watch::Sender<Instant>,
    wanted: CancellationToken,
    /// What is not known to be stored yet.
    checkpoint: Mutex<Option<Checkpoint>>,
}

impl Held {
    /// A lease that was taken by a call which was sent a lease's time before `until`.
    pub(super) fn new(lease: Lease, until: Instant, wanted: CancellationToken) -> Self {
        let until = watch::Sender::new(until);
        Held { shared: Arc::new(Shared { lease, until, wanted, checkpoint: Mutex::new(None) }) }
    }

    /// The lease as it was when this consuming of it began: `key` is the shard, `checkpoint` where
    /// to begin.
    pub(in crate::stream) fn lease(&self) -> &Lease {
        &self.shared.lease
    }

    /// Whether something may be begun: nobody else can have taken the lease yet.
    pub(in crate::stream) fn is_valid(&self) -> bool {
        Instant::now() < *self.shared.until.borrow()
    }

    /// Notes how far the shard has been handled. It is stored with the next renewal, after a third
    /// of a lease's time at most, or when the lease is given up. The end of the shard is no
    /// checkpoint of this kind: see [`Ended::ShardEnd`](super::Ended::ShardEnd).
    pub(in crate::stream) fn checkpoint(&self, checkpoint: Checkpoint) {
        *self.pending() = Some(checkpoint);
    }

    /// Resolves when the lease has ended, or another has it: stop at once, and leave what is under
    /// way. The future that consumes the shard is dropped then by itself; wait for this where
    /// something outlives that.
    pub(in crate::stream) async fn lost(&self) {
        let mut until = self.shared.until.subscribe();
        loop {
            let end = *until.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => {}
                // Its sender lives as long as `self`.
                _ = until.changed() => {}
            }
            if !self.is_valid() {
                return;
            }
        }
    }

    /// Resolves when the shard should be given up, because another worker has asked for it or this
    /// one stops: begin nothing more, finish what is under way, and end with
    /// [`Ended::GivenUp`](super::Ended::GivenUp). There is no time-out for that while the worker
    /// runs: the lease is renewed for as long as it takes, and the other waits.
    pub(in crate::stream) async fn wanted(&self) {
        self.shared.wanted.cancelled().await;
    }

    /// Whether it is [wanted](Self::wanted).
    pub(in crate::stream) fn is_wanted(&self) -> bool {
        self.shared.wanted.is_cancelled()
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Option<Checkpoint>> {
        self.shared.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
