//! Consuming a queue for as long as the process lives.
//!
//! Polls bring messages (`poll`, as many as `pace` says), on which leases are held (`leases`, renewed by
//! the keeper in `keeper`) while they wait for a handler (`desk`), are handled (`handle`) and settled
//! (`settle`). What all of these share is the host (`host`).

mod desk;
mod error;
mod handle;
mod health;
mod host;
mod keeper;
mod leases;
mod pace;
mod poll;
mod receive;
mod requests;
mod settle;
mod workers;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_core::{Consumer, telemetry::AWS_SQS};
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    desk::Desk,
    host::{Handlers, Host},
    leases::Leases,
    pace::Pace,
    poll::Polls,
    settle::Incoming,
};
use crate::{
    Queue,
    aws::LONG_POLL,
    limits::{IN_FLIGHT, VISIBILITY_SECONDS},
};
pub use error::WorkerError;
pub use health::{Health, HealthProbe};
pub use workers::{Workers, WorkersError};

/// What is left of SQS's 12 hours when a lease ends for good.
const MARGIN: Duration = Duration::from_secs(60);

/// Receives from one queue and handles what comes, until it is told to stop.
///
/// - **Leases.** A message that is received is invisible to others for the
///   [visibility time-out](Self::visibility_timeout), and the worker renews that for all that it holds,
///   whether it waits for a handler or is handled, in full batches. So a handler may take as long as it
///   needs, up to the [lease limit](Self::lease_limit), and a message comes again soon after a crash.
/// - **Lost leases.** Where renewing fails until the time-out, or the limit is reached, the lease is lost:
///   the delivery's [`cancellation`](fanfare_core::Delivery::cancellation) tells its handler, whose
///   outcome then counts for nothing, and the message comes again, here or elsewhere. A handler that goes
///   on for as long as the limit again keeps its place no longer: it is dropped, as soon as no other of its
///   receive is handled. A time that handlers are to keep is a layer's
///   ([`Router::layer`](fanfare_core::Router::layer)), which makes a retry of it. On a FIFO queue
///   nothing behind it in its group is begun, and it comes again before that. An inbox or an idempotency
///   store keeps effects from doubling.
/// - **Receiving.** While nothing comes, one long poll at a time is under way. Where much comes, further
///   polls are added as long as they bring full batches and handlers have nothing to do, up to 16. It
///   receives only what it has room for: at most [`concurrency`](Self::concurrency) deliveries are
///   handled at once, and beside them it holds what these finish in a quarter of a second, nothing where
///   handlers are slow. A delivery that is being settled counts as held.
/// - **Settling.** Deletes and visibility changes go in batches of 10, or what there is after 10 ms.
/// - A failed delivery is given back with a delay that grows (see
///   [`Consumer::retry`](fanfare_core::Consumer::retry)); a rejected one goes to the dead-letter
///   queue, and its source is deleted only when that has accepted it.
/// - On a FIFO queue a group is handled in order, one delivery after another; it stops at its first
///   failure, and the rest of it comes again with it.
/// - Time-outs, throttling and broken connections are waited out with a growing delay, for ever.
///   A missing queue or denied access ends it with an error.
///
/// Several queues in one process share handlers by [`Workers`].
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
    limit: Duration,
    drain: Duration,
    health: HealthProbe,
}

impl Worker {
    /// A worker on `queue`: 30 deliveries at once, receives of 20 seconds, 30 seconds of visibility
    /// time-out, renewed for up to an hour, 25 seconds to finish when it is told to stop.
    pub fn new(queue: Queue) -> Self {
        Worker {
            queue,
            concurrency: 30,
            wait: LONG_POLL,
            visibility: Duration::from_secs(30),
            limit: Duration::from_secs(3_600),
            drain: Duration::from_secs(25),
            health: HealthProbe::default(),
        }
    }

    /// How many deliveries are handled at once, from 1 to the 120,000 that a queue can have in flight; the
    /// default is 30. Multiples of 10 fill every receive. Of a FIFO queue the deliveries of one group
    /// count as one, as they are handled one after another.
    ///
    /// Where handlers are fast more is held than is handled, so that they need not wait for a receive: what
    /// they finish in a quarter of a second at most, no more than ten times as much as this (or 30, if
    /// that is more), nor 1,000.
    pub fn concurrency(self, deliveries: usize) -> Self {
        Worker { concurrency: deliveries.clamp(1, IN_FLIGHT), ..self }
    }

    /// How long a receive waits for a message, in whole seconds from 1 to 20, rounded up; the
    /// default is 20, which makes three requests a minute while nothing comes. A stopping worker waits for the
    /// receive that is under way, so a shorter wait stops an idle worker sooner.
    pub fn wait_time(self, wait: Duration) -> Self {
        Worker { wait: wait.clamp(Duration::from_secs(1), LONG_POLL), ..self }
    }

    /// How long a received message stays invisible to others, in whole seconds from 1 to 43,200
    /// (12 hours), rounded up; the default is 30. It is asked for with each receive, whatever the
    /// queue's own attribute says, and renewed when a third of it has passed: so it is no bound on
    /// handlers, but the time after which what a crashed worker held comes again. The shorter it is, the
    /// sooner a lease is lost while SQS cannot be reached, and the more requests renewing takes: one for
    /// ten messages, three times as often as this.
    pub fn visibility_timeout(self, timeout: Duration) -> Self {
        let longest = Duration::from_secs(VISIBILITY_SECONDS);
        Worker { visibility: timeout.clamp(Duration::from_secs(1), longest), ..self }
    }

    /// How long a lease is renewed in total, from the receive of its message until its handler has ended;
    /// waiting for a handler counts. The default is an hour, the most is a minute less than the 12 hours
    /// that SQS allows, and the least is the [visibility time-out](Self::visibility_timeout). When it has
    /// passed, the lease is lost: so a handler that hangs does not keep its message for ever.
    pub fn lease_limit(self, limit: Duration) -> Self {
        Worker { limit, ..self }
    }

    /// Reads how the worker does, at any time and from any task: for a probe of liveness.
    #[must_use]
    pub fn health(&self) -> HealthProbe {
        self.health.clone()
    }

    /// How long running handlers may take to finish after shutdown began; what is not done then
    /// is dropped, without a word to its handler, and given back. Keep it below the time that the platform gives the process
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
        let desk = Arc::new(Desk::new(self.concurrency));
        self.run_at(desk, consumer.into(), shutdown).await
    }

    /// Consumes with handlers that may be shared.
    async fn run_at(
        self,
        desk: Arc<Handlers>,
        consumer: Consumer,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        consumer.check()?;
        let consumer = consumer.receives_from(AWS_SQS, self.queue.name());
        let drain = self.drain;
        let deadline = pin!(async {
            shutdown.await;
            Instant::now() + drain
        });
        let running = self.start(desk, consumer);
        let mut polls = Polls::new(Arc::clone(&running.host));
        let polled = polls.run(deadline).await;
        let deadline = *polled.as_ref().unwrap_or(&(Instant::now() + drain));
        running.finish(polls, deadline).await;
        polled.map(drop)
    }

    fn start(self, desk: Arc<Handlers>, consumer: Consumer) -> Running {
        let (settler, incoming) = mpsc::unbounded_channel();
        let longest = Duration::from_secs(VISIBILITY_SECONDS) - MARGIN;
        let limit = self.limit.min(longest).max(self.visibility);
        let host = Arc::new_cyclic(|host: &Weak<Host>| Host {
            place: desk.join(Weak::clone(host), self.concurrency),
            desk,
            consumer,
            queue: self.queue,
            wait: self.wait,
            visibility: self.visibility,
            began: Instant::now(),
            leases: Leases::new(self.visibility, limit),
            room: Notify::new(),
            wants_room: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            settler,
            pace: Mutex::new(Pace::new(self.concurrency, self.visibility)),
            batches: Mutex::new(JoinSet::new()),
        });
        self.health.watch(&host);
        Running::new(host, incoming)
    }
}

/// What runs beside the polls. When it is dropped, handlers are abandoned, and what they had is given
/// back.
struct Running {
    host: Arc<Host>,
    /// Nothing more will be held.
    closing: CancellationToken,
    settler: Option<JoinHandle<()>>,
}

impl Running {
    fn new(host: Arc<Host>, incoming: Incoming) -> Self {
        let closing = CancellationToken::new();
        tokio::spawn(keeper::keep(Arc::clone(&host), closing.clone()));
        let settler = settle::settle_all(Arc::clone(&host), incoming, closing.clone());
        Running { host, closing, settler: Some(tokio::spawn(settler)) }
    }

    /// Begins nothing more, finishes what was begun until the deadline, gives back the rest, and settles
    /// everything.
    async fn finish(mut self, polls: Polls, deadline: Instant) {
        let queue = &self.host.queue.name;
        self.host.stop();
        tracing::info!(%queue, in_flight = self.host.leases.held(), "stopping");
        polls.finish(deadline).await;
        // What the last poll brought while the worker was told to stop.
        self.host.stop();
        let mut batches = std::mem::take(&mut *self.host.batches());
        let finished = async { while batches.join_next().await.is_some() {} };
        if timeout_at(deadline, finished).await.is_err() {
            tracing::warn!(%queue, "handlers did not finish in time: given back");
            batches.shutdown().await;
        }
        self.closing.cancel();
        if let Some(settler) = self.settler.take()
            && let Err(error) = settler.await
        {
            tracing::error!(%error, "settling ended early: what was held comes again");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.host.stop();
        self.host.batches().abort_all();
        self.closing.cancel();
        self.host.ended.store(true, Ordering::SeqCst);
    }
}
