//! The shop on a connection: its services as workers, and its publisher.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::bail;
use fanfare::{
    Backoff, Consumer, Destination, Emitter, MemoryIdempotencyStore, Message, PublishReport,
    Publisher,
    aws::{Aws, AwsPublisher, Queue, Worker, WorkerError},
    topology::{Bindings, Kind, Topology},
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    services::{
        delivery::{self, Deliveries},
        orders::{self, OrderBook},
        products::{self, Stock},
    },
    tally::Tally,
    topology::topology,
};

/// The services, by the names of their routers.
pub const SERVICES: &[&str] = &["orders", "products", "delivery"];

/// How much of each product the shop begins with.
pub const STOCK: u32 = 100;

/// Everything that the shop is, on one connection.
pub struct Shop {
    pub aws: Aws,
    pub topology: Topology,
    pub book: OrderBook,
    pub stock: Stock,
    pub deliveries: Deliveries,
    pub tally: Tally,
    pub published: Published,
    bindings: Bindings,
    handled: MemoryIdempotencyStore,
}

impl Shop {
    pub fn new(aws: Aws, system: &str) -> Self {
        let topology = topology(system);
        let bindings = topology.bindings();
        Shop {
            published: Published::new(AwsPublisher::new(aws.clone(), bindings.clone())),
            aws,
            topology,
            book: OrderBook::default(),
            stock: Stock::of_each(STOCK),
            deliveries: Deliveries::default(),
            tally: Tally::default(),
            bindings,
            handled: MemoryIdempotencyStore::default(),
        }
    }

    /// One of [`SERVICES`] with its state, and what every service of the shop has around it.
    pub fn consumer(&self, service: &str) -> anyhow::Result<Consumer> {
        let consumer = match service {
            "orders" => orders::router().with_state(self.book.clone()),
            "products" => products::router().with_state(self.stock.clone()),
            "delivery" => delivery::router().with_state(self.deliveries.clone()),
            other => bail!("there is no service `{other}`, only {}", SERVICES.join(", ")),
        };
        let tally = self.tally.clone();
        let second = Duration::from_secs(1);
        Ok(consumer
            .publisher(self.published.clone())
            .idempotency(self.handled.clone())
            .retry(Backoff::new(second, second * 10))
            .observe(move |_, outcome| tally.count(outcome)))
    }

    pub fn emitter(&self, service: &'static str) -> Emitter {
        Emitter::new(service, self.published.clone())
    }

    pub fn queue(&self, service: &str) -> Queue {
        self.aws.queue(&self.bindings, service, Kind::Standard)
    }

    /// A worker for one service, on short polls: it stops within a second.
    pub fn worker(&self, service: &str) -> Worker {
        Worker::new(self.queue(service)).wait_time(Duration::from_secs(1))
    }

    /// Starts one service in the background.
    pub fn start(&self, service: &str) -> anyhow::Result<Started> {
        let stop = CancellationToken::new();
        let worker = self.worker(service);
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(worker.run(self.consumer(service)?, shutdown));
        Ok(Started { stop: stop.drop_guard(), task })
    }
}

/// A service that runs.
pub struct Started {
    // Stops it when it is dropped.
    stop: DropGuard,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Started {
    /// Stops it, and waits until it has drained.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        Ok(self.task.await??)
    }
}

/// How many messages are kept to be found again.
const KEPT: usize = 100;

/// A publisher that counts what went out, and keeps a copy of the last: the port is a trait, so
/// wrapping it is easy.
#[derive(Clone)]
pub struct Published {
    publisher: AwsPublisher,
    sent: Arc<Mutex<Sent>>,
}

#[derive(Default)]
struct Sent {
    count: usize,
    last: VecDeque<Message>,
}

impl Published {
    fn new(publisher: AwsPublisher) -> Self {
        Published { publisher, sent: Arc::default() }
    }

    pub fn count(&self) -> usize {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The message of the event with this id.
    pub fn find(&self, id: &str) -> Option<Message> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.last.iter().find(|message| message.id == id).cloned()
    }
}

impl Publisher for Published {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let report = self.publisher.publish(batch).await;
        let accepted = batch.iter().zip(report.outcomes()).filter(|(_, outcome)| outcome.is_ok());
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.count += report.published();
        sent.last.extend(accepted.map(|(message, _)| message.clone()));
        let surplus = sent.last.len().saturating_sub(KEPT);
        sent.last.drain(..surplus);
        report
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        self.publisher.keeps_order(destination)
    }
}
