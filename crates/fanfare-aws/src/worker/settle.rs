//! Settling in batches: deletes, and visibility changes for what is given back.
//!
//! Full batches are sent at once, by whoever has them. What is left over goes to the settler, which
//! waits a moment for others that share its request.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use fanfare_core::{Backoff, Disposition};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    host::Host,
    leases::Key,
    receive::whole_seconds,
    requests::{Failures, change_visibility, delete},
};
use crate::{
    Queue,
    failure::{Class, Failure},
    limits::{BATCH_ENTRIES, VISIBILITY_SECONDS},
};

/// How long a settlement waits for others to share its request, at most; and in parts of a lease.
const LINGER: (Duration, u32) = (Duration::from_millis(10), 100);

/// Tries per settlement; then it is left to the visibility time-out, and the message comes again.
const ATTEMPTS: u32 = 5;

/// After this nothing is tried again, so that a stopping worker does not wait for a server that
/// answers nothing.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between the tries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// What is to be done about one message.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) key: Key,
    pub(super) receipt: String,
    pub(super) received_at: Instant,
    /// From then on the message may be another's.
    pub(super) deadline: Instant,
    pub(super) disposition: Disposition,
}

/// Settlements on their way to the settler. Unbounded, but each is of a message that is held.
pub(super) type Incoming = mpsc::UnboundedReceiver<Vec<Settlement>>;

/// Settles what comes, until it is told that nothing more will be held, and nothing is.
pub(super) async fn settle_all(
    host: Arc<Host>,
    mut incoming: Incoming,
    closing: CancellationToken,
) {
    let linger = LINGER.0.min(host.visibility / LINGER.1);
    let mut waiting = Waiting::default();
    loop {
        let closes = closing.is_cancelled();
        if closes || host.is_quiet() {
            waiting.flush(&host, 1);
        }
        let due = waiting.since.map(|since| since + linger);
        tokio::select! {
            biased;
            settlements = incoming.recv() => match settlements {
                Some(settlements) => waiting.add(settlements),
                None => return,
            },
            () = until(due) => waiting.flush(&host, 1),
            () = host.leases.emptied(), if closes => return,
            () = closing.cancelled(), if !closes => {}
        }
        waiting.flush(&host, BATCH_ENTRIES);
    }
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Settlements that wait for others to share their request.
#[derive(Default)]
struct Waiting {
    deletes: VecDeque<Settlement>,
    changes: VecDeque<Settlement>,
    since: Option<Instant>,
}

impl Waiting {
    fn add(&mut self, settlements: Vec<Settlement>) {
        self.since.get_or_insert_with(Instant::now);
        for settlement in settlements {
            match settlement.disposition {
                Disposition::Acknowledge => self.deletes.push_back(settlement),
                _ => self.changes.push_back(settlement),
            }
        }
    }

    /// Starts a request for every full batch, where full is at least `enough`.
    fn flush(&mut self, host: &Arc<Host>, enough: usize) {
        for waiting in [&mut self.deletes, &mut self.changes] {
            while waiting.len() >= enough {
                let batch = waiting.drain(..waiting.len().min(BATCH_ENTRIES)).collect();
                tokio::spawn(settle(Arc::clone(host), batch));
            }
        }
        if self.deletes.is_empty() && self.changes.is_empty() {
            self.since = None;
        }
    }
}

/// Settles one batch of one kind, trying again only what failed, as long as it is ours.
pub(super) async fn settle(host: Arc<Host>, mut batch: Vec<Settlement>) {
    let held = Held { host: &host, keys: batch.iter().map(|settlement| settlement.key).collect() };
    let queue = &host.queue;
    let give_up = Instant::now() + PATIENCE;
    for attempt in 1..=ATTEMPTS {
        let now = Instant::now();
        batch.retain(|settlement| now < settlement.deadline);
        let failures = match request(queue, &batch).await {
            Ok(failures) if failures.is_empty() => return drop(held),
            Ok(failures) => failures,
            Err(failure) => (0..batch.len()).map(|index| (index, failure.clone())).collect(),
        };
        let mut again = Vec::new();
        for (index, settlement) in batch.into_iter().enumerate() {
            match failures.get(&index) {
                None => {}
                Some(failure)
                    if failure.class == Class::Transient
                        && attempt < ATTEMPTS
                        && Instant::now() < give_up =>
                {
                    again.push(settlement);
                }
                Some(failure) => {
                    tracing::warn!(queue = %queue.name, %failure, "not settled: it comes again");
                }
            }
        }
        if again.is_empty() {
            return;
        }
        batch = again;
        tokio::time::sleep(BACKOFF.delay(attempt)).await;
    }
}

/// Messages that are held no longer when this is dropped.
struct Held<'a> {
    host: &'a Host,
    keys: Vec<Key>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.host.settled(std::mem::take(&mut self.keys));
    }
}

async fn request(queue: &Queue, batch: &[Settlement]) -> Result<Failures, Failure> {
    match batch.first().map(|settlement| settlement.disposition) {
        None | Some(Disposition::Leave) => Ok(Failures::new()),
        Some(Disposition::Acknowledge) => {
            delete(queue, batch.iter().map(|settlement| &*settlement.receipt)).await
        }
        Some(Disposition::GiveBack { .. }) => {
            let changes = batch.iter().map(|given| (&*given.receipt, visibility(given)));
            change_visibility(queue, changes).await
        }
    }
}

/// Whole seconds, rounded up, within what is left of the 12 hours since the receive.
fn visibility(settlement: &Settlement) -> i32 {
    let Disposition::GiveBack { after } = settlement.disposition else { return 0 };
    let held = settlement.received_at.elapsed() + Duration::from_secs(1);
    let most = Duration::from_secs(VISIBILITY_SECONDS).saturating_sub(held);
    whole_seconds(after).min(whole_seconds(most))
}
