//! The shop on a connection: its services as workers, and its publisher.

use std::sync::{Arc, Mutex, PoisonError};

use fanfare::{
    Backoff, Consumer, Emitter, MemoryInbox, Message, PublishReport, Publisher,
    aws::{Aws, AwsPublisher, Queue, Worker, WorkerError},
    topology::{Bindings, Kind, Topology},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    services::{
        delivery::{self, Deliveries},
        orders::{self, OrderBook},
        products::{self, Stock},
    },
    tally::Tally,
    topology::topology,
};

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
    inboxes: [MemoryInbox; 3],
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
            inboxes: [(); 3].map(|()| MemoryInbox::default()),
        }
    }

    pub fn orders(&self) -> Consumer {
        self.consumer(orders::router().with_state(self.book.clone()), 0)
    }

    pub fn products(&self) -> Consumer {
        self.consumer(products::router().with_state(self.stock.clone()), 1)
    }

    pub fn delivery(&self) -> Consumer {
        self.consumer(delivery::router().with_state(self.deliveries.clone()), 2)
    }

    pub fn emitter(&self, service: &'static str) -> Emitter {
        Emitter::new(service, self.published.clone())
    }

    pub fn queue(&self, service: &str) -> Queue {
        self.aws.queue(&self.bindings, service, Kind::Standard)
    }

    /// Runs one service until `shutdown`.
    pub async fn run(
        &self,
        service: &str,
        consumer: Consumer,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        Worker::new(self.queue(service)).run(consumer, shutdown).await
    }

    /// Starts one service in the background.
    pub fn start(&self, service: &'static str, consumer: Consumer) -> Started {
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(Worker::new(self.queue(service)).run(consumer, shutdown));
        Started { stop, task }
    }

    /// What every service of the shop has around its handlers.
    fn consumer(&self, consumer: Consumer, inbox: usize) -> Consumer {
        let tally = self.tally.clone();
        let second = std::time::Duration::from_secs(1);
        consumer
            .publisher(self.published.clone())
            .inbox(self.inboxes[inbox].clone())
            .retry(Backoff::new(second, second * 10))
            .observe(move |_, outcome| tally.count(outcome))
    }
}

/// A service that runs.
pub struct Started {
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Started {
    /// Stops it, and waits until it has drained.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}

/// A publisher that keeps a copy of what went out: the port is a trait, so wrapping it is easy.
#[derive(Clone)]
pub struct Published {
    publisher: AwsPublisher,
    sent: Arc<Mutex<Vec<Message>>>,
}

impl Published {
    fn new(publisher: AwsPublisher) -> Self {
        Published { publisher, sent: Arc::default() }
    }

    pub fn count(&self) -> usize {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The message of the event with this id.
    pub fn find(&self, id: &str) -> Option<Message> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().find(|message| message.id == id).cloned()
    }
}

impl Publisher for Published {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let report = self.publisher.publish(batch).await;
        let accepted = batch.iter().zip(report.outcomes()).filter(|(_, outcome)| outcome.is_ok());
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.extend(accepted.map(|(message, _)| message.clone()));
        report
    }
}
