//! Consuming a queue for as long as the process lives.

mod receive;
mod settle;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use fanfare_core::{Consumer, ConsumerError, Stop};
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    Queue,
    aws::LONG_POLL,
    dead_letters::SqsDeadLetters,
    failure::{Class, Failure},
    limits::BATCH_ENTRIES,
};
use receive::{Received, receive};
use settle::{Held, Settler};

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
/// A handler has to be done within the queue's visibility time-out: after it, the message is
/// received again (and an inbox keeps its effect from doubling).
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
    /// A worker on `queue`: 30 deliveries at once, receives of 20 seconds, 25 seconds to finish when it is told to stop.
    pub fn new(queue: Queue) -> Self {
        Worker { queue, concurrency: 30, wait: LONG_POLL, drain: Duration::from_secs(25) }
    }

    /// How many deliveries are held at once, at least 1. Multiples of 10 fill every receive.
    pub fn concurrency(self, deliveries: usize) -> Self {
        Worker { concurrency: deliveries.clamp(1, Semaphore::MAX_PERMITS), ..self }
    }

    /// How long a receive waits for a message, in whole seconds from 0 to 20; the default is 20,
    /// which makes three requests a minute while nothing comes. A stopping worker waits for the
    /// receive that is under way, so a shorter wait stops an idle worker sooner.
    pub fn wait_time(self, wait: Duration) -> Self {
        Worker { wait: wait.min(LONG_POLL), ..self }
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
        let consumer = Arc::new(consumer.into());
        consumer.check()?;
        let settler = Settler::start(self.queue.clone());
        let stop = Stop::default();
        let mut batches = JoinSet::new();
        let deadline = pin!(async {
            shutdown.await;
            stop.stop();
            Instant::now() + self.drain
        });
        let polled = self.poll(&consumer, &settler, &stop, &mut batches, deadline).await;
        stop.stop();
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
        stop: &Stop,
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
            let mut receiving = pin!(receive(&self.queue, wanted, self.wait));
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
                        let queue = self.queue.clone();
                        batches.spawn(handle(Arc::clone(consumer), queue, held, stop.clone()));
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

/// One slot for each message that may come.
async fn acquire(slots: &Arc<Semaphore>, wanted: usize) -> Vec<OwnedSemaphorePermit> {
    let mut room = Vec::with_capacity(wanted);
    while room.len() < wanted {
        match Arc::clone(slots).acquire_owned().await {
            Ok(slot) => room.push(slot),
            Err(_closed) => std::future::pending().await,
        }
    }
    room
}

/// Handles one receive's messages and settles each as soon as its outcome is known.
async fn handle(consumer: Arc<Consumer>, queue: Queue, held: Vec<(Received, Held)>, stop: Stop) {
    let (batch, mut held): (Vec<_>, Vec<_>) =
        held.into_iter().map(|(received, held)| (received.delivery, Some(held))).unzip();
    let dead_letters = SqsDeadLetters::of(&queue);
    let at_once = batch.len();
    let mut outcomes = Box::pin(consumer.process(batch, at_once, &dead_letters, &stop));
    while let Some((index, outcome)) = outcomes.next().await {
        if let Some(held) = held.get_mut(index).and_then(Option::take) {
            held.settle(outcome.disposition());
        }
    }
}
