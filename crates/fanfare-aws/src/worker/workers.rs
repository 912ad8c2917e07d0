//! Several queues in one process, with handlers that they share.

use std::{convert::Infallible, fmt, sync::Arc};

use fanfare_core::Consumer;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{Desk, Worker, WorkerError};
use crate::limits::IN_FLIGHT;

/// Several workers in one process that share their handlers.
///
/// At most as many deliveries as [`new`](Self::new) is told are handled at once, of all queues together, and
/// of each queue at most its worker's own [`concurrency`](Worker::concurrency). A handler that is free
/// goes to the queues in turn, as far as something waits there; where only one queue has messages, it has
/// all handlers. Every queue receives a little ahead to have its turn: up to ten messages more than there
/// are handlers for.
///
/// A queue that fails for good, as it is missing or denied, does not stop the others: it is logged as an
/// error at once, its worker's [health](Worker::health) says that it has ended, and
/// [`run`](Self::run) returns it in the end.
///
/// ```no_run
/// # use fanfare_aws::{Aws, Worker, Workers, WorkersError};
/// # use fanfare_core::Router;
/// # use fanfare_topology::{Bindings, Kind};
/// # async fn example(aws: Aws, orders: Router, billing: Router) -> Result<(), WorkersError> {
/// let bindings = Bindings::new("shop");
/// let queue = |service| aws.queue(&bindings, service, Kind::Standard);
/// Workers::new(50)
///     .add(Worker::new(queue("products")), orders)
///     .add(Worker::new(queue("billing")), billing)
///     .run(fanfare_aws::interrupted())
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "workers do nothing until they are run"]
pub struct Workers {
    concurrency: usize,
    workers: Vec<(Worker, Consumer)>,
}

/// The workers that ended by themselves; the others went on until they were told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkersError {
    /// Why, in the order in which they were added; at least one.
    pub errors: Vec<WorkerError>,
}

impl Workers {
    /// No workers yet; they will handle so many deliveries at once, from 1 to 120,000.
    pub fn new(concurrency: usize) -> Self {
        Workers { concurrency: concurrency.clamp(1, IN_FLIGHT), workers: Vec::new() }
    }

    /// With a worker on one more queue, and what handles its messages.
    pub fn add(mut self, worker: Worker, consumer: impl Into<Consumer>) -> Self {
        self.workers.push((worker, consumer.into()));
        self
    }

    /// Runs all workers until `shutdown` resolves, then stops them as [`Worker::run`] does. It returns
    /// earlier only if all of them have failed.
    ///
    /// # Errors
    /// [`WorkersError`] with every worker that ended by itself. If a consumer is incomplete nothing is
    /// received at all.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), WorkersError> {
        let incomplete = self.workers.iter().filter_map(|(_, consumer)| consumer.check().err());
        WorkersError::unless_none(incomplete.map(WorkerError::Consumer).collect())?;
        let desk = Arc::new(Desk::new(self.concurrency));
        let stop = CancellationToken::new();
        let running = self.workers.into_iter().map(|(worker, consumer)| {
            let (desk, stopped) = (Arc::clone(&desk), stop.cancelled());
            async move {
                let ended = worker.run_at(desk, consumer, stopped).await;
                if let Err(error) = &ended {
                    tracing::error!(%error, "a worker has ended; the others go on");
                }
                ended
            }
        });
        let stopping = async {
            shutdown.await;
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let ended = tokio::select! {
            ended = join_all(running) => ended,
            never = stopping => match never {},
        };
        WorkersError::unless_none(ended.into_iter().filter_map(Result::err).collect())
    }
}

impl WorkersError {
    fn unless_none(errors: Vec<WorkerError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(WorkersError { errors }) }
    }
}

impl fmt::Display for WorkersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        f.write_str(&errors.join("; "))
    }
}

impl std::error::Error for WorkersError {}
