//! Settling in batches: deletes, and visibility changes for what is given back.
//!
//! Every message that a worker holds is a [`Held`]. Whatever happens to it, it is settled once:
//! by its outcome, or, if it is dropped without one, by being given back at once.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use aws_smithy_types::error::operation::BuildError;
use fanfare_core::{Backoff, Disposition, GivenBack, Redelivery};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::receive::{Received, whole_seconds};
use crate::{
    Queue,
    failure::{Class, Failure},
    limits::{BATCH_ENTRIES, VISIBILITY_SECONDS},
};

/// How long a settlement waits for others to share its request.
const LINGER: Duration = Duration::from_millis(10);

/// Tries per settlement; then it is left to the visibility time-out, and the message comes again.
const ATTEMPTS: u32 = 5;

/// After this nothing is tried again, so that a stopping worker does not wait for a server that
/// answers nothing.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest that a Lambda function runs, and a little for the way there.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const HELD: Duration = Duration::from_secs(16 * 60);

/// Between the tries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// What is to be done about one message. It keeps its slot, so that what waits to be settled
/// counts as held and receiving slows down when settling does.
struct Settlement {
    receipt: String,
    received_at: Instant,
    disposition: Disposition,
    _slot: OwnedSemaphorePermit,
}

/// A message that is held.
pub(super) struct Held {
    // Taken when it is settled.
    settlement: Option<Settlement>,
    // Unbounded, but each entry has a slot, of which there are `concurrency`.
    queue: mpsc::UnboundedSender<Settlement>,
}

impl Held {
    pub(super) fn settle(mut self, disposition: Disposition) {
        if let Some(settlement) = self.settlement.take() {
            self.send(Settlement { disposition, ..settlement });
        }
    }

    fn send(&self, settlement: Settlement) {
        // Without a settler the visibility time-out gives it back.
        drop(self.queue.send(settlement));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            self.send(settlement);
        }
    }
}

/// The task that settles.
pub(super) struct Settler {
    queue: mpsc::UnboundedSender<Settlement>,
    task: JoinHandle<()>,
}

impl Settler {
    pub(super) fn start(queue: Queue) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Settler { queue: sender, task: tokio::spawn(settle_all(queue, receiver)) }
    }

    /// Holds what was received, a slot for each; slots that are left over are freed.
    pub(super) fn hold(
        &self,
        received: Vec<Received>,
        slots: Vec<OwnedSemaphorePermit>,
    ) -> Vec<(Received, Held)> {
        let received_at = Instant::now();
        let hold = |(received, slot): (Received, _)| {
            let settlement = Settlement {
                receipt: received.receipt.clone(),
                received_at,
                disposition: Disposition::GiveBack { after: Duration::ZERO },
                _slot: slot,
            };
            (received, Held { settlement: Some(settlement), queue: self.queue.clone() })
        };
        received.into_iter().zip(slots).map(hold).collect()
    }

    /// Settles what is left and ends. Everything held must have been settled or dropped.
    pub(super) async fn finish(self) {
        drop(self.queue);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "settling ended early: what was held comes again");
        }
    }
}

async fn settle_all(queue: Queue, mut incoming: mpsc::UnboundedReceiver<Settlement>) {
    let mut waiting = Waiting::default();
    let mut requests = JoinSet::new();
    loop {
        let linger = waiting.since.map(|since| since + LINGER);
        tokio::select! {
            biased;
            settlement = incoming.recv() => match settlement {
                Some(settlement) => waiting.push(settlement),
                None => break,
            },
            () = until(linger) => waiting.flush(&queue, &mut requests, 1),
            Some(_) = requests.join_next() => {}
        }
        waiting.flush(&queue, &mut requests, BATCH_ENTRIES);
    }
    waiting.flush(&queue, &mut requests, 1);
    while requests.join_next().await.is_some() {}
}

async fn until(deadline: Option<Instant>) {
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
    fn push(&mut self, settlement: Settlement) {
        if settlement.disposition == Disposition::Leave {
            return;
        }
        self.since.get_or_insert_with(Instant::now);
        match settlement.disposition {
            Disposition::Acknowledge => self.deletes.push_back(settlement),
            Disposition::GiveBack { .. } | Disposition::Leave => self.changes.push_back(settlement),
        }
    }

    /// Starts a request for every full batch, where full is at least `enough`.
    fn flush(&mut self, queue: &Queue, requests: &mut JoinSet<()>, enough: usize) {
        for waiting in [&mut self.deletes, &mut self.changes] {
            while waiting.len() >= enough.max(1) {
                let batch = waiting.drain(..waiting.len().min(BATCH_ENTRIES)).collect();
                requests.spawn(settle(queue.clone(), batch));
            }
        }
        if self.deletes.is_empty() && self.changes.is_empty() {
            self.since = None;
        }
    }
}

/// Settles one batch of one kind, trying again only what failed.
async fn settle(queue: Queue, mut batch: Vec<Settlement>) {
    let give_up = Instant::now() + PATIENCE;
    for attempt in 1..=ATTEMPTS {
        let failures = match request(&queue, &batch).await {
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

/// Failures by their index in the batch.
type Failures = HashMap<usize, Failure>;

async fn request(queue: &Queue, batch: &[Settlement]) -> Result<Failures, Failure> {
    match batch.first().map(|settlement| settlement.disposition) {
        None | Some(Disposition::Leave) => Ok(Failures::new()),
        Some(Disposition::Acknowledge) => delete(queue, batch).await,
        Some(Disposition::GiveBack { .. }) => {
            let changes = batch.iter().map(|given| (given.receipt.as_str(), visibility(given)));
            change_visibility(queue, changes).await
        }
    }
}

async fn delete(queue: &Queue, batch: &[Settlement]) -> Result<Failures, Failure> {
    let entry = |(index, settlement): (usize, &Settlement)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .receipt_handle(&settlement.receipt)
            .build()
    };
    let entries: Result<_, BuildError> = batch.iter().enumerate().map(entry).collect();
    let request = queue.aws.sqs().delete_message_batch().queue_url(&queue.url);
    let answer = request.set_entries(Some(entries.map_err(unbuildable)?)).send().await;
    Ok(failures(answer.map_err(|error| Failure::of(&error))?.failed()))
}

/// Changes up to 10 messages, by receipt and seconds.
async fn change_visibility<'a>(
    queue: &Queue,
    changes: impl Iterator<Item = (&'a str, i32)>,
) -> Result<Failures, Failure> {
    let entry = |(index, (receipt, seconds)): (usize, (&str, i32))| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(index.to_string())
            .receipt_handle(receipt)
            .visibility_timeout(seconds)
            .build()
    };
    let entries: Result<_, BuildError> = changes.enumerate().map(entry).collect();
    let request = queue.aws.sqs().change_message_visibility_batch().queue_url(&queue.url);
    let answer = request.set_entries(Some(entries.map_err(unbuildable)?)).send().await;
    Ok(failures(answer.map_err(|error| Failure::of(&error))?.failed()))
}

/// For hosts that know only the receipts, as Lambda receives for them; the receive was at most
/// 16 minutes ago.
impl Redelivery for Queue {
    async fn give_back(&self, messages: Vec<GivenBack>) {
        let most = Duration::from_secs(VISIBILITY_SECONDS).saturating_sub(HELD);
        for batch in messages.chunks(BATCH_ENTRIES) {
            let changes = batch
                .iter()
                .map(|given| (given.receipt.as_str(), whole_seconds(given.after.min(most))));
            let failures = match change_visibility(self, changes).await {
                Ok(failures) => failures.into_values().collect(),
                Err(failure) => vec![failure],
            };
            for failure in failures {
                tracing::warn!(
                    queue = %self.name,
                    %failure,
                    "not given back: it comes again at the visibility time-out"
                );
            }
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

fn failures(failed: &[BatchResultErrorEntry]) -> Failures {
    let failure = |entry: &BatchResultErrorEntry| {
        let index = entry.id().parse().ok()?;
        Some((index, Failure::of_entry(entry.code(), entry.message(), entry.sender_fault())))
    };
    failed.iter().filter_map(failure).collect()
}

fn unbuildable(error: BuildError) -> Failure {
    Failure { class: Class::Refused, code: "InvalidParameter".into(), message: error.to_string() }
}
