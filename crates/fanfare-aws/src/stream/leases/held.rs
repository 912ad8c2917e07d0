//! A lease, as the one who consumes its shard sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_core::{Checkpoint, Lease, Renewal, Renewed};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A lease that this worker holds. Clones share it.
#[derive(Debug, Clone)]
pub(in crate::stream) struct Held {
    lease: Arc<Lease>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// When it ends unless it is renewed. Once that has passed it is never put off again.
    until: watch::Sender<Instant>,
    wanted: CancellationToken,
    written: Mutex<Written>,
}

/// What the store has been told, or is to be told.
#[derive(Debug)]
struct Written {
    /// Of the renewal that was sent last.
    counter: u64,
    checkpoint: Checkpoint,
    /// Whether the store is known to have that checkpoint.
    stored: bool,
    /// The last checkpoint, when the lease is being given up: from then on nothing is renewed.
    closing: Option<Checkpoint>,
    released: bool,
    successor: Option<String>,
}

impl Held {
    /// A lease that was taken by a call which was sent a lease's time before `until`.
    pub(super) fn new(lease: Lease, until: Instant, wanted: CancellationToken) -> Self {
        let written = Written {
            counter: lease.counter,
            checkpoint: lease.checkpoint.clone(),
            stored: true,
            closing: None,
            released: false,
            successor: None,
        };
        let (until, written) = (watch::Sender::new(until), Mutex::new(written));
        Held { lease: Arc::new(lease), state: Arc::new(State { until, wanted, written }) }
    }

    /// The lease as it was when this consuming of it began: `key` is the shard, `checkpoint` where
    /// to begin.
    pub(in crate::stream) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Whether something may be begun: nobody else can have taken the lease yet.
    pub(in crate::stream) fn is_valid(&self) -> bool {
        Instant::now() < self.until() && self.written().closing.is_none()
    }

    /// Notes how far the shard has been handled. It is stored with the next renewal, after a third
    /// of a lease's time at most, or when the lease is given up. The end of the shard is no
    /// checkpoint of this kind: see [`Ended::ShardEnd`](super::Ended::ShardEnd).
    pub(in crate::stream) fn checkpoint(&self, checkpoint: Checkpoint) {
        let mut written = self.written();
        if written.checkpoint != checkpoint {
            written.checkpoint = checkpoint;
            written.stored = false;
        }
    }

    /// Resolves when the lease has ended, or another has it: stop at once, and leave what is under
    /// way. The future that consumes the shard is dropped then by itself; wait for this where
    /// something outlives that.
    pub(in crate::stream) async fn lost(&self) {
        let mut until = self.state.until.subscribe();
        loop {
            let end = *until.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => {}
                // Its sender lives as long as `self`.
                _ = until.changed() => {}
            }
            if Instant::now() >= self.until() {
                return;
            }
        }
    }

    /// Resolves when the shard should be given up, because another worker has asked for it or this
    /// one stops: begin nothing more, finish what is under way, and end with
    /// [`Ended::GivenUp`](super::Ended::GivenUp). There is no time-out for that while the worker
    /// runs: the lease is renewed for as long as it takes, and the other waits.
    pub(in crate::stream) async fn wanted(&self) {
        self.state.wanted.cancelled().await;
    }

    /// Whether it is [wanted](Self::wanted).
    pub(in crate::stream) fn is_wanted(&self) -> bool {
        self.state.wanted.is_cancelled()
    }

    /// When it ends unless it is renewed.
    pub(super) fn until(&self) -> Instant {
        *self.state.until.borrow()
    }

    /// The same lease, to be consumed from the last checkpoint on.
    pub(super) fn resumed(&self) -> Held {
        let mut lease = Lease::clone(&self.lease);
        lease.checkpoint = self.written().checkpoint.clone();
        Held { lease: Arc::new(lease), state: Arc::clone(&self.state) }
    }

    pub(super) fn want(&self) {
        self.state.wanted.cancel();
    }

    /// The next renewal; none if the lease is over or is being given up.
    pub(super) fn renewal(&self) -> Option<Renewal> {
        let mut written = self.written();
        (Instant::now() < self.until() && written.closing.is_none()).then(|| {
            let checkpoint = (!written.stored).then(|| written.checkpoint.clone());
            self.next(&mut written, checkpoint)
        })
    }

    /// Ends all renewing, because the lease is to be given up: at the end of the shard or at the
    /// last checkpoint.
    pub(super) fn close(&self, at_end: bool) {
        let mut written = self.written();
        let last = if at_end { Checkpoint::End } else { written.checkpoint.clone() };
        written.closing.get_or_insert(last);
    }

    /// What gives the lease up, if that is to be done and has not been. Nothing is sent after it
    /// but the same again.
    pub(super) fn release(&self) -> Option<Renewal> {
        let mut written = self.written();
        let last = written.closing.clone().filter(|_| !written.released)?;
        Some(self.next(&mut written, Some(last)))
    }

    pub(super) fn released(&self) {
        self.written().released = true;
    }

    pub(super) fn is_released(&self) -> bool {
        self.written().released
    }

    fn next(&self, written: &mut Written, checkpoint: Option<Checkpoint>) -> Renewal {
        written.counter += 1;
        Renewal::new(&*self.lease.key, self.lease.epoch, written.counter, checkpoint)
    }

    /// A renewal went through, and the lease lasts until then; unless it has ended before that was
    /// known. Tells whether somebody asks for it who has not been seen to.
    pub(super) fn renewed(&self, renewal: &Renewal, renewed: &Renewed, until: Instant) -> bool {
        self.state.until.send_if_modified(|current| {
            let extends = Instant::now() < *current && *current < until;
            if extends {
                *current = until;
            }
            extends
        });
        let mut written = self.written();
        if renewal.checkpoint.as_ref() == Some(&written.checkpoint) {
            written.stored = true;
        }
        let is_news = renewed.successor.is_some() && renewed.successor != written.successor;
        written.successor = renewed.successor.clone();
        is_news
    }

    /// It is over: another has the lease, or nobody consumes its shard any more.
    pub(super) fn end(&self) {
        let now = Instant::now();
        self.state.until.send_modify(|until| *until = now.min(*until));
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.state.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
