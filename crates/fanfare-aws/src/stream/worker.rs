//! Consuming a stream for as long as the process lives.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fanfare_core::{
    Checkpoint, Consumer, ConsumerError, LeaseError, LeaseStore, telemetry::AWS_KINESIS,
};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Stream,
    leases::{Coordinator, CoordinatorError, Settings},
    shard,
    shards::Shards,
};
use crate::failure::{Class, Failure};

/// What a transaction counts as among the deliveries that are handled at once.
const UNIT_SLOTS: u32 = 25;

/// Reads one stream and handles what is in it, until it is told to stop. Any number of workers of a
/// service, in any number of processes, share the stream's shards among them by the leases in a
/// [`LeaseStore`].
///
/// - **Order.** The events of one key (the stream's partition key) are handled one after another, in
///   the order of the stream; different keys side by side, also within a shard. An event that fails
///   is tried again later and later (see [`Consumer::retry`](fanfare_core::Consumer::retry)), and
///   what comes behind it waits: of its key, or of its shard ([`hold`](Self::hold)). A shard that was
///   made by a split or a merge is read when those that it was made of have been handled to their
///   ends.
/// - **At least once.** Now and then, at most every few seconds, a worker stores how far its shards
///   are done: everything below an event that is not. Who takes a shard over, because its worker died
///   or to share the load, begins there, so what was handled since comes again, in order: at most the
///   10,000 events or 16 MiB that a shard may be ahead of its oldest event that is not done, and in
///   what is above it nothing is left out. An inbox or an idempotency store keeps effects from
///   doubling.
/// - **Poison.** An event that was tried as often as its [`Retry`](fanfare_core::Retry) says, or that
///   is rejected or cannot be decoded, goes to the service's standard dead-letter queue, with its
///   reason, key, shard and sequence number; then its key goes on, unless its consumer
///   [parks groups](fanfare_core::Consumer::park_groups): a worker on the service's standard queue
///   with the same store handles them in order then, when that queue is redriven. Attempts are
///   counted by the worker that has the shard: after a takeover they begin anew. What SQS does not take (more than 1 MiB, other than text) goes
///   as base64, or as a small JSON that says where in the stream it is.
/// - **What is not for this service.** A stream brings every event of its topic. Those whose type tag
///   nobody here handles, in whatever version, are let go; other versions of handled ones go by
///   [`Router::unknown_tags`](fanfare_core::Router::unknown_tags).
/// - **Memory.** A shard reads ahead by those 10,000 events or 16 MiB, whatever comes first, and waits
///   where its handlers are slow. One read may bring 10 MiB more. So an event that is tried again for
///   minutes stops its whole shard where much comes: on a busy stream give up sooner than the eight
///   minutes of the default.
/// - **Reading.** A shard gives 5 reads and 2 MiB a second to all consumers of the stream together. It
///   is read at most every 200 ms, and once a second where nothing comes; where AWS throttles, more
///   slowly for a while. So with GetRecords some five consumers can share a stream;
///   [`enhanced_fan_out`](Self::enhanced_fan_out) gives one 2 MiB a second of its own.
/// - **Aggregates** of the Kinesis Producer Library, fanfare's among them, are taken apart.
/// - Time-outs, throttling and broken connections are waited out with a growing delay, for ever. A
///   missing stream or denied access ends it with an error.
///
/// The records that a stream keeps no longer are lost for a service that has not come so far: have
/// the stream keep them longer than a service may stand still.
///
/// ```no_run
/// # use fanfare_aws::{Aws, StartAt, StreamWorker, StreamWorkerError};
/// # use fanfare_core::{LeaseStore, Router};
/// # use fanfare_topology::Bindings;
/// # async fn example(
/// #     aws: Aws, leases: impl LeaseStore + 'static, router: Router, bindings: Bindings,
/// # ) -> Result<(), StreamWorkerError> {
/// let stream = aws.stream(&bindings, "products", "orders");
/// StreamWorker::new(stream, leases)
///     .start_at(StartAt::Latest)
///     .run(router, fanfare_aws::interrupted())
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a worker does nothing until it is run"]
pub struct StreamWorker {
    stream: Stream,
    leases: Arc<dyn LeaseStore>,
    start: StartAt,
    concurrency: usize,
    hold: Hold,
    consumer_arn: Option<String>,
    lease: Duration,
    drain: Duration,
}

impl fmt::Debug for StreamWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWorker")
            .field("stream", &self.stream)
            .field("start", &self.start)
            .field("concurrency", &self.concurrency)
            .field("hold", &self.hold)
            .field("consumer_arn", &self.consumer_arn)
            .field("lease", &self.lease)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

/// Where a service begins that has never read a stream. It is asked only where there are no leases of
/// the service: every other time it goes on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// With the oldest record that the stream still keeps.
    #[default]
    Oldest,
    /// With what comes from now on, by this machine's clock (or the one that the
    /// SDK's configuration has). The moment is stored with the first
    /// leases, before anything is read: a worker that crashes right after its start, and one that is
    /// started a day later, begin at that moment too.
    Latest,
    /// With the first record that arrived at this time or later; one that is still to come is waited
    /// for.
    At(Timestamp),
}

/// What waits while an event that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hold {
    /// The events of its key.
    #[default]
    Key,
    /// All events of its shard, for handlers that depend on more than one key. What runs when an event
    /// fails is finished. Of each key one event is begun at a time, which is slower for handlers that
    /// run in transactions.
    Shard,
}

/// Why a stream's worker ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamWorkerError {
    /// The consumer cannot work as it was put together; nothing was read.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The stream does not exist.
    #[error("stream `{stream}` does not exist: provision it first")]
    NoStream {
        /// Its name on AWS.
        stream: String,
    },
    /// The consumer for enhanced fan-out does not exist.
    #[error(
        "stream `{stream}` has no consumer {consumer_arn}: register it first, or read without enhanced fan-out"
    )]
    NoConsumer {
        /// The stream's name on AWS.
        stream: String,
        /// The ARN that was given.
        consumer_arn: String,
    },
    /// The credentials do not allow reading the stream.
    #[error("reading stream `{stream}` is denied: {reason}")]
    Denied {
        /// Its name on AWS.
        stream: String,
        /// What AWS said.
        reason: String,
    },
    /// AWS refuses the request itself, which trying again would not mend.
    #[error("reading stream `{stream}` is refused: {reason}")]
    Refused {
        /// Its name on AWS.
        stream: String,
        /// What AWS said.
        reason: String,
    },
    /// AWS does not know the point that a shard was read to: most likely the stream was deleted and
    /// created anew.
    #[error(
        "shard {shard} of stream `{stream}` cannot be read from sequence number {sequence_number} on: {reason}; if the stream was created anew, remove the leases of `{consumer}` on it, and it begins as one that has never read it"
    )]
    Checkpoint {
        /// The stream's name on AWS.
        stream: String,
        /// Whose leases they are.
        consumer: String,
        /// The shard's id.
        shard: String,
        /// The record up to which the shard was handled.
        sequence_number: String,
        /// What AWS said.
        reason: String,
    },
    /// The lease store cannot work as it is.
    #[error(transparent)]
    Leases(LeaseError),
}

impl StreamWorker {
    /// A worker on `stream`, whose leases are kept in `leases`: from the oldest record on, 100
    /// deliveries at once, leases of 10 seconds, 25 seconds to finish when it is told to stop.
    pub fn new(stream: Stream, leases: impl LeaseStore + 'static) -> Self {
        StreamWorker {
            stream,
            leases: Arc::new(leases),
            start: StartAt::default(),
            concurrency: 100,
            hold: Hold::default(),
            consumer_arn: None,
            lease: Duration::from_secs(10),
            drain: Duration::from_secs(25),
        }
    }

    /// Where to begin if the service has never read this stream.
    pub fn start_at(self, start: StartAt) -> Self {
        StreamWorker { start, ..self }
    }

    /// How many deliveries are in handlers at once, over all shards of this worker; at least 1.
    ///
    /// If all handlers run in transactions, up to 50 deliveries share one, which counts as 25: so 100
    /// is four transactions at once, each of which takes a connection of the inbox's pool.
    pub fn concurrency(self, deliveries: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        StreamWorker { concurrency: deliveries.clamp(1, most), ..self }
    }

    /// What waits while an event that failed is tried again.
    pub fn hold(self, hold: Hold) -> Self {
        StreamWorker { hold, ..self }
    }

    /// Has the shards send their records to a consumer of the stream that was registered with
    /// `RegisterStreamConsumer`, instead of reading them: events come within some 70 ms, and up to 2
    /// MiB a second and shard whoever else reads the stream. AWS bills it by the hour and by the byte.
    /// Every service needs a registered consumer of its own, of which a stream has up to 20. Where
    /// handlers are slow, records wait with AWS; it may end the subscription then, which is made anew.
    pub fn enhanced_fan_out(self, consumer_arn: impl Into<String>) -> Self {
        StreamWorker { consumer_arn: Some(consumer_arn.into()), ..self }
    }

    /// How long a lease lasts that is not renewed; it is renewed three times as often. After the death
    /// of a worker its shards stand still for so long. The default is 10 seconds. Give all workers of
    /// a service the same.
    pub fn lease(self, lease: Duration) -> Self {
        StreamWorker { lease, ..self }
    }

    /// How long running handlers may take to finish after shutdown began; what is not done then is
    /// abandoned, and comes again where the shard is taken over. Keep it below the time that the
    /// platform gives the process (30 seconds on Kubernetes and ECS).
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        StreamWorker { drain: timeout, ..self }
    }

    /// Consumes until `shutdown` resolves, then begins nothing more, finishes what is being handled,
    /// stores how far it has come, and gives its shards up to others.
    ///
    /// # Errors
    /// [`StreamWorkerError`] if the consumer is incomplete, the stream is missing, access is denied,
    /// or the lease store does not work. What is being handled is finished first.
    pub async fn run(
        self,
        consumer: impl Into<Consumer>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), StreamWorkerError> {
        let consumer = consumer.into().unfiltered();
        let consumer = consumer.receives_from(AWS_KINESIS, self.stream.name());
        consumer.check()?;
        let mut settings = Settings::new(match self.start {
            StartAt::Oldest => Checkpoint::Oldest,
            StartAt::Latest => Checkpoint::At(self.stream.aws.now()),
            StartAt::At(time) => Checkpoint::At(time),
        });
        settings.lease = self.lease;
        let shards = Shards::new(self.stream.clone());
        let group = self.stream.group.clone();
        let coordinator = Coordinator::new(self.leases, group, shards.clone(), settings);
        let stop = CancellationToken::new();
        let host = Arc::new(Host {
            transactional: consumer.handled().iter().all(|handled| handled.connection.is_some()),
            consumer,
            stream: self.stream.clone(),
            shards,
            hold: self.hold,
            consumer_arn: self.consumer_arn,
            concurrency: u32::try_from(self.concurrency).unwrap_or(u32::MAX),
            slots: Arc::new(Semaphore::new(self.concurrency)),
            stop: stop.clone(),
            error: Mutex::default(),
        });
        let consume = {
            let host = Arc::clone(&host);
            move |held| shard::consume(Arc::clone(&host), held)
        };
        let mut running = pin!(coordinator.run(consume, stop.clone(), self.drain));
        let ended = tokio::select! {
            biased;
            () = shutdown => {
                tracing::info!(stream = self.stream.name(), "stopping");
                stop.cancel();
                running.as_mut().await
            }
            ended = running.as_mut() => ended,
        };
        match (host.failed(), ended) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(StreamWorkerError::of(error, &self.stream)),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl StreamWorkerError {
    fn of(error: CoordinatorError, stream: &Stream) -> Self {
        match error {
            CoordinatorError::Shards(failure) => StreamWorkerError::lasting(&failure, stream),
            CoordinatorError::Store(error) => StreamWorkerError::Leases(error),
        }
    }

    /// What a failure means that does not pass.
    pub(super) fn lasting(failure: &Failure, stream: &Stream) -> Self {
        let (stream, reason) = (stream.name().to_owned(), failure.to_string());
        match failure.class {
            Class::NotFound => StreamWorkerError::NoStream { stream },
            Class::Denied => StreamWorkerError::Denied { stream, reason },
            Class::Refused | Class::Transient => StreamWorkerError::Refused { stream, reason },
        }
    }
}

/// What all shards of a worker share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) consumer: Consumer,
    /// Whether all its handlers run in transactions.
    transactional: bool,
    pub(super) stream: Stream,
    pub(super) shards: Shards,
    pub(super) hold: Hold,
    pub(super) consumer_arn: Option<String>,
    concurrency: u32,
    pub(super) slots: Arc<Semaphore>,
    stop: CancellationToken,
    error: Mutex<Option<StreamWorkerError>>,
}

impl Host {
    /// What a transaction takes of the slots, if all handlers run in one.
    pub(super) fn unit_slots(&self) -> Option<u32> {
        self.transactional.then_some(UNIT_SLOTS.min(self.concurrency))
    }

    /// Ends the worker with this error; the first counts.
    pub(super) fn fail(&self, error: StreamWorkerError) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.cancel();
    }

    fn failed(&self) -> Option<StreamWorkerError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
