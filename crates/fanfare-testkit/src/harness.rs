//! Real services on the simulator, for the tests of those who use fanfare.
//!
//! Under paused time a test runs retries, visibility time-outs and long polls of any length in
//! milliseconds, and there is nothing to sleep for: [`Harness::quiet`] waits until all is done.
//!
//! ```
//! use fanfare_core::{Delivery, Event, EventType, HandlerError, IntoEvents, Router};
//! use fanfare_testkit::Harness;
//! use fanfare_topology::{Kind, Topology};
//!
//! #[derive(Event, serde::Serialize, serde::Deserialize)]
//! #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
//! struct OrderPlaced { order_id: String }
//!
//! #[derive(Event, serde::Serialize, serde::Deserialize)]
//! #[event(type = "shop.delivery.DeliveryStarted.v1", topic = "deliveries", key = order_id)]
//! struct DeliveryStarted { order_id: String }
//!
//! async fn start_delivery(order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
//!     if order.metadata.attempt < 3 {
//!         return Err(HandlerError::retry("no driver"));
//!     }
//!     Ok(DeliveryStarted { order_id: order.event.order_id })
//! }
//!
//! # fn main() {
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
//! #     .block_on(a_delivery_is_started_as_soon_as_there_is_a_driver());
//! # }
//! // #[tokio::test(start_paused = true)]
//! async fn a_delivery_is_started_as_soon_as_there_is_a_driver() {
//!     let delivery: Router = Router::new("delivery").on(start_delivery);
//!     let topology = Topology::new("shop")
//!         .topic("orders", Kind::Standard)
//!         .topic("deliveries", Kind::Standard)
//!         .service(&delivery);
//!     let mut harness = Harness::new(topology).await.unwrap();
//!     harness.start(delivery);
//!
//!     harness.emitter("orders").emit(&OrderPlaced { order_id: "o-1".into() }).await.unwrap();
//!     harness.quiet().await.unwrap();
//!
//!     assert_eq!(harness.counts("delivery").retried, 2);
//!     assert_eq!(harness.published::<DeliveryStarted>()[0].order_id, "o-1");
//!     assert!(harness.counts("delivery").dead_letters.is_empty());
//! }
//! ```

mod mapping;
mod source;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare_aws::{
    Aws, AwsPublisher, ConfigError, ProvisionError, StreamWorker, Worker, provision,
};
use fanfare_core::{
    Consumer, Destination, Emitter, EventType, MemoryLeaseStore, Message, Opened, Outcome,
    PublishReport, Publisher, RequestLimits,
};
use fanfare_sim::Sim;
use fanfare_topology::{Bindings, Topology};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use source::Source;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long [`Harness::quiet`] waits, on tokio's clock: longer than any visibility time-out.
const PATIENCE: Duration = Duration::from_secs(13 * 3_600);

/// How often [`Harness::quiet`] looks how far streams have been read, which changes nothing in the
/// simulator.
const LOOK: Duration = Duration::from_millis(500);

/// The simulator's account.
const ACCOUNT: &str = "000000000000";

/// The simulator, a topology on it, and the services that run there.
pub struct Harness {
    sim: Sim,
    aws: Aws,
    topology: Topology,
    bindings: Bindings,
    on_lambda: bool,
    running: BTreeMap<String, Vec<Running>>,
    /// How far services have read streams; kept while they are stopped.
    leases: MemoryLeaseStore,
    log: Arc<Mutex<Log>>,
}

/// One worker, or one mapping, on one queue or stream.
struct Running {
    source: Source,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

#[derive(Default)]
struct Log {
    published: Vec<Message>,
    counts: BTreeMap<String, Counts>,
}

/// What a service did, by delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Handled, and what followed was published.
    pub handled: usize,
    /// Known to the inbox, or to the idempotency store.
    pub duplicates: usize,
    /// Failed and given back.
    pub retried: usize,
    /// Why each dead letter was given up.
    pub dead_letters: Vec<String>,
}

/// The harness cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// Messages are still there after 13 hours on tokio's clock.
    #[error(
        "not quiet after {PATIENCE:?}: {waiting:?} hold messages; does a handler fail for ever?"
    )]
    NotQuiet {
        /// Queues that are not empty, and streams that a service has not read to their end.
        waiting: Vec<String>,
    },
    /// The topology cannot exist.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The simulator's configuration was not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A worker ended by itself.
    #[error("the worker of `{service}` ended: {reason}")]
    Ended {
        /// The service.
        service: String,
        /// Its error, or how its task ended.
        reason: String,
    },
}

impl Harness {
    /// A new simulator with everything that `topology` needs.
    ///
    /// # Errors
    /// [`HarnessError::Provision`] if the topology cannot exist.
    pub async fn new(topology: Topology) -> Result<Self, HarnessError> {
        let sim = Sim::new();
        let aws = Aws::new(&sim.sdk_config(), ACCOUNT)?;
        provision(&aws, &topology).await?;
        let bindings = topology.bindings();
        let (running, log) = (BTreeMap::new(), Arc::default());
        let leases = MemoryLeaseStore::default();
        let on_lambda = false;
        Ok(Harness { sim, aws, topology, bindings, on_lambda, running, leases, log })
    }

    /// Runs the services that are started from now on as functions on Lambda do
    /// ([`fanfare_lambda::any`]), not by workers: event source mappings like Lambda's read their queues
    /// and streams, with batches of 10 messages or 100 records, and invoke them one after another with
    /// 60 seconds of time. Dead letters and delays are the service's queue's, as with a worker.
    ///
    /// Of a stream, what was handled behind a record that failed comes again and counts again, unless
    /// the consumer has an inbox or an idempotency store; and no handler's attempts are ever used up.
    #[must_use]
    pub fn on_lambda(self) -> Self {
        Harness { on_lambda: true, ..self }
    }

    /// Runs a service: a worker (or a function, [on Lambda](Self::on_lambda)) on each of its queues, and
    /// on each stream that it reads, from its oldest record or from where the service was when it was
    /// stopped. The harness publishes what its
    /// handlers return, in place of the consumer's own publisher if it has one, and counts what becomes of its
    /// deliveries; state, inbox and claim check are the consumer's own.
    pub fn start(&mut self, consumer: impl Into<Consumer>) {
        let consumer = consumer.into();
        let service = consumer.name().to_string();
        let (log, name) = (Arc::clone(&self.log), service.clone());
        let consumer = consumer.publisher(self.publisher()).observe(move |_, outcome| {
            lock(&log).counts.entry(name.clone()).or_default().add(outcome);
        });
        for kind in self.topology.kinds(&service) {
            let queue = self.aws.queue(&self.bindings, &service, kind);
            let (source, consumer) = (Source::Queue(queue.name().into()), consumer.clone());
            if self.on_lambda {
                let sim = self.sim.clone();
                self.run(&service, source, |stop| mapping::queue::poll(sim, queue, consumer, stop));
            } else {
                self.run(&service, source, async move |stop| {
                    Worker::new(queue).run(consumer, stop).await.map_err(|error| error.to_string())
                });
            }
        }
        for topic in self.topology.streams(&service) {
            let stream = self.aws.stream(&self.bindings, &service, topic);
            let (source, consumer) =
                (Source::Stream(stream.lease_group().clone()), consumer.clone());
            let leases = self.leases.clone();
            if self.on_lambda {
                let sim = self.sim.clone();
                self.run(&service, source, |stop| {
                    mapping::stream::poll(sim, stream, leases, consumer, stop)
                });
            } else {
                let worker = StreamWorker::new(stream, leases);
                self.run(&service, source, async move |stop| {
                    worker.run(consumer, stop).await.map_err(|error| error.to_string())
                });
            }
        }
    }

    /// Runs one worker, or one mapping, of a service.
    fn run<W>(
        &mut self,
        service: &str,
        source: Source,
        worker: impl FnOnce(WaitForCancellationFutureOwned) -> W,
    ) where
        W: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker(stop.clone().cancelled_owned()));
        self.running.entry(service.into()).or_default().push(Running { source, stop, task });
    }

    /// Stops a service and waits until it has drained; its queues go on filling, and what comes into
    /// streams waits for it there.
    ///
    /// # Errors
    /// [`HarnessError::Ended`] if a worker of it had ended by itself.
    pub async fn stop(&mut self, service: &str) -> Result<(), HarnessError> {
        for Running { stop, task, .. } in self.running.remove(service).unwrap_or_default() {
            stop.cancel();
            match task.await {
                Ok(Ok(())) => {}
                failed => return Err(ended(service.into(), failed)),
            }
        }
        Ok(())
    }

    /// Waits until the queues of all running services are empty, and the streams that they read are
    /// read to their ends: everything that was published has been handled, retried to its end or
    /// dead-lettered, and so has what followed from it. Services that are stopped, and dead-letter
    /// queues, do not count.
    ///
    /// # Errors
    /// [`HarnessError::NotQuiet`] after 13 hours on tokio's clock, [`HarnessError::Ended`] if a
    /// worker has ended.
    pub async fn quiet(&mut self) -> Result<(), HarnessError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut changes = self.sim.changes();
        loop {
            changes.mark_unchanged();
            let waiting = self.waiting().await;
            if waiting.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some((service, task)) = first_ended(&mut self.running) => {
                    self.running.remove(&service);
                    return Err(ended(service, task));
                }
                () = tokio::time::sleep_until(deadline) => {
                    return Err(HarnessError::NotQuiet { waiting });
                }
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK), if self.reads_streams() => {}
            }
        }
    }

    /// Publishes as `service` does.
    #[must_use]
    pub fn emitter(&self, service: &str) -> Emitter {
        Emitter::new(service, self.publisher())
    }

    /// The events of type `E` that were published, in order, by emitters and handlers alike.
    #[must_use]
    pub fn published<E: EventType + DeserializeOwned>(&self) -> Vec<E> {
        let log = lock(&self.log);
        let of_type = log.published.iter().filter(|message| message.tag == E::TAG);
        let read = |message: &Message| Opened::open(&message.body).ok()?.read::<E>().ok();
        of_type.filter_map(|message| Some(read(message)?.1)).collect()
    }

    /// What `service` did so far.
    #[must_use]
    pub fn counts(&self, service: &str) -> Counts {
        lock(&self.log).counts.get(service).cloned().unwrap_or_default()
    }

    /// The simulator: for faults, request counts, and a look into queues.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The connection that the services use.
    #[must_use]
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// A publisher whose messages [`published`](Self::published) shows.
    fn publisher(&self) -> Recording {
        let publisher = AwsPublisher::new(self.aws.clone(), self.bindings.clone());
        Recording { publisher, log: Arc::clone(&self.log) }
    }

    /// Queues and streams that hold something for a running service.
    async fn waiting(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        for running in self.running.values().flatten() {
            waiting.extend(running.source.holds(&self.sim, &self.leases).await);
        }
        waiting
    }

    fn reads_streams(&self) -> bool {
        let mut running = self.running.values().flatten();
        running.any(|running| matches!(running.source, Source::Stream(_)))
    }
}

/// How the task of a worker ended.
type Ended = Result<Result<(), String>, JoinError>;

/// The first of the running workers to end; none if none runs.
async fn first_ended(running: &mut BTreeMap<String, Vec<Running>>) -> Option<(String, Ended)> {
    let tasks = running.iter_mut().flat_map(|(service, workers)| {
        workers.iter_mut().map(move |worker| {
            let end = async move { (service.clone(), (&mut worker.task).await) };
            Box::pin(end)
        })
    });
    tasks.collect::<FuturesUnordered<_>>().next().await
}

fn ended(service: String, task: Ended) -> HarnessError {
    let reason = match task {
        Ok(Ok(())) => "it was not told to".into(),
        Ok(Err(error)) => error,
        Err(error) => error.to_string(),
    };
    HarnessError::Ended { service, reason }
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Handled { .. } => self.handled += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Failed { .. } => self.retried += 1,
            Outcome::DeadLettered(reason) => self.dead_letters.push(reason.to_string()),
            _ => {}
        }
    }
}

/// A publisher that keeps what was accepted.
#[derive(Clone)]
struct Recording {
    publisher: AwsPublisher,
    log: Arc<Mutex<Log>>,
}

impl Publisher for Recording {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let report = self.publisher.publish(batch).await;
        let accepted = batch.iter().zip(report.outcomes()).filter(|(_, outcome)| outcome.is_ok());
        lock(&self.log).published.extend(accepted.map(|(message, _)| message.clone()));
        report
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        self.publisher.keeps_order(destination)
    }

    fn request_limits(&self, destination: &Destination) -> RequestLimits {
        self.publisher.request_limits(destination)
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
