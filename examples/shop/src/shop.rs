//! The shop on a connection: its services as workers and relays.

use std::time::Duration;

use fanfare::{
    aws::{Aws, AwsPublisher, Queue, Worker, WorkerError},
    sql::{Relay, SqlError},
    topology::{Bindings, Kind, Topology},
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    database::Sql,
    published::Published,
    service::{SERVICES, Service},
    tally::Tally,
    topology::{OrdersOn, topology},
};

/// For how long a relay leases its shards: short, so that what a killed one had is soon another's.
const LEASE: Duration = Duration::from_secs(2);

/// What the services of the shop share: the connection to AWS, and where their databases are.
pub struct Shop<D: Sql> {
    pub aws: Aws,
    pub system: String,
    pub orders_on: OrdersOn,
    pub home: D::Home,
    pub tally: Tally,
    pub published: Published,
    bindings: Bindings,
}

impl<D: Sql> Shop<D> {
    pub fn new(aws: Aws, system: &str, orders_on: OrdersOn, home: D::Home) -> Self {
        let bindings = topology(system, orders_on, &SERVICES).bindings();
        Shop {
            published: Published::new(AwsPublisher::new(aws.clone(), bindings.clone())),
            aws,
            system: system.into(),
            orders_on,
            home,
            tally: Tally::default(),
            bindings,
        }
    }

    /// The shop with these of its services.
    pub fn topology(&self, services: &[&str]) -> Topology {
        topology(&self.system, self.orders_on, services)
    }

    pub async fn open(&self, service: &str) -> anyhow::Result<Service<D>> {
        Service::open(&self.home, service).await
    }

    pub fn queue(&self, service: &str) -> Queue {
        self.aws.queue(&self.bindings, service, Kind::Standard)
    }

    /// A worker for one service, on short polls: it stops within a second.
    pub fn worker(&self, service: &str) -> Worker {
        Worker::new(self.queue(service)).wait_time(Duration::from_secs(1))
    }

    /// A relay for what one service records.
    pub fn relay(&self, service: &Service<D>) -> Relay {
        Relay::new(&service.store.fanfare, self.published.clone()).lease(LEASE)
    }

    /// Starts one service in the background: its worker and its relay.
    pub fn start(&self, service: &Service<D>) -> Started {
        let stop = CancellationToken::new();
        let worker = self.worker(&service.name);
        let consumer = service.consumer(&self.tally);
        let worker = tokio::spawn(worker.run(consumer, stop.clone().cancelled_owned()));
        let relay = tokio::spawn(self.relay(service).run(stop.clone().cancelled_owned()));
        Started { stop: stop.drop_guard(), worker, relay }
    }
}

/// A service that runs.
pub struct Started {
    // Stops it when it is dropped.
    stop: DropGuard,
    worker: JoinHandle<Result<(), WorkerError>>,
    relay: JoinHandle<Result<(), SqlError>>,
}

impl Started {
    /// Stops it, and waits until it has drained.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.worker.await??;
        Ok(self.relay.await??)
    }
}
