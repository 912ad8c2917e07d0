//! Consuming a queue for as long as the process lives.

mod receive;
mod settle;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use fanfare_core::{Consumer, ConsumerError, telemetry::AWS_SQS};
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Queue,
    aws::LONG_POLL,
    failure::{Class, Failure},
    limits::{BATCH_ENTRIES, VISIBILITY_SECONDS},
};
use receive::{Received, receive};
use settle::{Held, Settler};

/// How long a receive waits for slots beyond the first, so that it can ask for ten.
const MOMENT: Duration = Duration::from_millis(50);

/// Receives from one queue and handles what comes, until it is told to stop.
///
/// - It long-polls, up to 10 messages at a time, and receives only when it has room to handle
///   them: at most [`concurrency`](Self::concurrency) deliveries are held, settled ones included
///   until their settlement went through. A slow handler slows receiving.
/// - Deletes and visibility changes are batched, by 10 or after 10 ms.
/// - A failed delivery is given back with a delay that grows (see
///   [`Consumer::retry`](fanfare_core::Consumer::retry)); a rejected one goes to the dead-letter
///   queue, and its source is deleted only when that has accepted it.
/// - On a FIFO queue a group stops at its first failure, and the rest of it comes again with it.
/// - Time-outs, throttling and broken connections are waited out with a growing delay, for ever.
///   A missing queue or denied access ends it with an error.
///
/// A handler has to be done within the [visibility time-out](Self::visibility_timeout), on a FIFO
/// queue within half of it: after it, the message is received again (and an inbox or idempotency
/// store keeps its effect from doubling). The messages of a group are handled one after another,
/// so those that could not begin in the first half are given back and come again, in order.
///
/// ```no_run
/// # use fanfare_aws::{Aws, Worker, WorkerError};
/// # use fanfare_core::Router;
/// # use fanfare_topology::{Bindings, Kind};
/// # async fn example(aws: Aws, router: Router) -> Result<(), WorkerError> {
/// let queue = aws.queue(&Bindings::new("shop"), "products", Kind::Standard);
/// Worker::new(queue).run(router, fanfare_aws::interrupted()).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a worker does nothing until it is run"]
pub struct Worker {
    queue: Queue,
    concurrency: usize,
    wait: Duration,
    visibility: Duration,
    drain: Duration,
}

/// Why a worker ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The consumer cannot work as it was put together; nothing was received.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The queue does not exist.
    #[error("queue `{queue}` does not exist: provision it first")]
    NoQueue {
        /// Its name on AWS.
        queue: String,
    },
    /// The credentials do not allow receiving from the queue.
    #[error("receiving from queue `{queue}` is denied: {reason}")]
    Denied {
        /// Its name on AWS.
        queue: String,
        /// What AWS said.
        reason: String,
    },
    /// AWS refuses the request itself, which trying again would not mend.
    #[error("receiving from queue `{queue}` is refused: {reason}")]
    Refused {
        /// Its name on AWS.
        queue: String,
        /// What AWS said.
        reason: String,
    },
}

impl Worker {
    /// A worker on `queue`: 30 deliveries at once, receives of 20 seconds, 60 seconds of
    /// visibility time-out, 25 seconds to finish when it is told to stop.
    pub fn new(queue: Queue) -> Self {
        Worker {
            queue,
            concurrency: 30,
            wait: LONG_POLL,
            visibility: Duration::from_secs(60),
            drain: Duration::from_secs(25),
        }
    }

    /// How many deliveries are held at once, at least 1. Multiples of 10 fill every receive.
    pub fn concurrency(self, deliveries: usize) -> Self {
        Worker { concurrency: deliveries.clamp(1, Semaphore::MAX_PERMITS), ..self }
    }

    /// How long a receive waits for a message, in whole seconds from 1 to 20, rounded up; the
    /// default is 20, which makes three requests a minute while nothing comes. A stopping worker waits for the
    /// receive that is under way, so a shorter wait stops an idle worker sooner.
    pub fn wait_time(self, wait: Duration) -> Self {
        Worker { wait: wait.clamp(Duration::from_secs(1), LONG_POLL), ..self }
    }

    /// How long a received message stays invisible to others, in whole seconds from 1 to 43,200
    /// (12 hours), rounded up; the default is 60. It is asked for with each receive, whatever the
    /// queue's own attribute says.
    pub fn visibility_timeout(self, timeout: Duration) -> Self {
        let longest = Duration::from_secs(VISIBILITY_SECONDS);
        Worker { visibility: timeout.clamp(Duration::from_secs(1), longest), ..self }
    }

    /// How long running handlers may take to finish after shutdown began; what is not done then
    /// is abandoned and given back. Keep it below the time that the platform gives the process
    /// (30 seconds on Kubernetes and ECS).
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        Worker { drain: timeout, ..self }
    }

    /// Consumes until `shutdown` resolves, then receives no more, finishes what has been begun,
    /// gives back what has not, and settles everything before it returns. The receive that is
    /// under way is waited for, up to 20 s (see [`wait_time`](Self::wait_time)).
    ///
    /// # Errors
    /// [`WorkerError`] if the consumer is incomplete, the queue is missing or access is denied.
    pub async fn run(
        self,
        consumer: impl Into<Consumer>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        let consumer = consumer.into().receives_from(AWS_SQS, self.queue.name());
        let consumer = Arc::new(consumer);
        consumer.check()?;
        let settler = Settler::start(self.queue.clone());
        let stop = CancellationToken::new();
        let mut batches = JoinSet::new();
        let deadline = pin!(async {
            shutdown.await;
            stop.cancel();
            Instant::now() + self.drain
        });
        let polled = self.poll(&consumer, &settler, &stop, &mut batches, deadline).await;
        stop.cancel();
        tracing::info!(queue = %self.queue.name, in_progress = batches.len(), "stopping");
        let deadline = *polled.as_ref().unwrap_or(&(Instant::now() + self.drain));
        let finished = async { while batches.join_next().await.is_some() {} };
        if timeout_at(deadline, finished).await.is_err() {
            tracing::warn!(queue = %self.queue.name, "handlers did not finish in time: given back");
            // Whatever a dropped batch still held gives itself back.
            batches.shutdown().await;
        }
        settler.finish().await;
        polled.map(drop)
    }

    /// Receives until `shutdown` resolves to the time by which all has to be done; an error if
    /// receiving can never work.
    async fn poll(
        &self,
        consumer: &Arc<Consumer>,
        settler: &Settler,
        stop: &CancellationToken,
        batches: &mut JoinSet<()>,
        mut shutdown: Pin<&mut impl Future<Output = Instant>>,
    ) -> Result<Instant, WorkerError> {
        let slots = Arc::new(Semaphore::new(self.concurrency));
        let wanted = self.concurrency.min(BATCH_ENTRIES);
        let mut failures = 0;
        loop {
            let room = tokio::select! {
                biased;
                deadline = shutdown.as_mut() => return Ok(deadline),
                room = acquire(&slots, wanted) => room,
            };
            let most = room.len();
            let mut receiving = pin!(receive(&self.queue, most, self.wait, self.visibility));
            let received = tokio::select! {
                biased;
                received = receiving.as_mut() => received,
                deadline = shutdown.as_mut() => {
                    // A poll that is dropped can still be handed messages, which nobody would see
                    // until their visibility time-out. What it brings is given back at once.
                    if let Ok(Ok(received)) = timeout_at(deadline, receiving).await {
                        drop(settler.hold(received, room));
                    }
                    return Ok(deadline);
                }
            };
            match received {
                Ok(received) => {
                    failures = 0;
                    let held = settler.hold(received, room);
                    if !held.is_empty() {
                        let begin_by = Instant::now() + self.visibility / 2;
                        let batch = handle(Arc::clone(consumer), self.queue.clone(), held, {
                            let stop = stop.clone();
                            move || !stop.is_cancelled() && Instant::now() < begin_by
                        });
                        batches.spawn(batch);
                    }
                }
                Err(failure) if failure.class == Class::Transient => {
                    drop(room);
                    failures += 1;
                    let pause = receive::BACKOFF.delay(failures);
                    tracing::warn!(queue = %self.queue.name, %failure, ?pause, "receiving failed");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        deadline = shutdown.as_mut() => return Ok(deadline),
                    }
                }
                Err(failure) => return Err(self.fatal(&failure)),
            }
            while batches.try_join_next().is_some() {}
        }
    }

    fn fatal(&self, failure: &Failure) -> WorkerError {
        let (queue, reason) = (self.queue.name.clone(), failure.to_string());
        match failure.class {
            Class::NotFound => WorkerError::NoQueue { queue },
            Class::Denied => WorkerError::Denied { queue, reason },
            Class::Refused | Class::Transient => WorkerError::Refused { queue, reason },
        }
    }
}

/// A slot for each message that may come: `wanted` of them, or, where handlers are slow, as many
/// as were free a moment after the first.
async fn acquire(slots: &Arc<Semaphore>, wanted: usize) -> Vec<OwnedSemaphorePermit> {
    let slot = || Arc::clone(slots).acquire_owned();
    let mut room = Vec::with_capacity(wanted);
    room.extend(slot().await);
    let enough = Instant::now() + MOMENT;
    while room.len() < wanted {
        match timeout_at(enough, slot()).await {
            Ok(slot) => room.extend(slot),
            Err(_elapsed) => break,
        }
    }
    room
}

/// Handles one receive's messages and settles each as soon as its outcome is known.
async fn handle(
    consumer: Arc<Consumer>,
    queue: Queue,
    held: Vec<(Received, Held)>,
    may_begin: impl Fn() -> bool + Sync,
) {
    let (batch, mut held): (Vec<_>, Vec<_>) =
        held.into_iter().map(|(received, held)| (received.delivery, Some(held))).unzip();

    let at_once = batch.len();
    let mut outcomes = Box::pin(consumer.process(batch, at_once, &queue, &may_begin));
    while let Some((index, outcome)) = outcomes.next().await {
        if let Some(held) = held.get_mut(index).and_then(Option::take) {
            held.settle(outcome.disposition());
        }
    }
}
