//! The shop on a connection: its services as workers and relays.

use std::time::Duration;

use fanfare::{
    aws::{Aws, AwsPublisher, Queue, StreamWorker, Worker},
    sql::{Relay, SqlLeaseStore},
    topology::{Bindings, Kind, Topology},
};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    database::Sql,
    published::Published,
    service::{SERVICES, Service},
    tally::Tally,
    topology::{OrdersOn, topology},
};

/// For how long a relay leases its shards: short, so that what a killed one had is soon another's.
const LEASE: Duration = Duration::from_secs(2);

/// After what time a killed service's messages come again, and its shards are read on.
const TAKEN: Duration = Duration::from_secs(10);

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

    /// The service's queue, with its dead-letter queue. A service that only reads a stream has no more
    /// than the latter.
    pub fn queue(&self, service: &str) -> Queue {
        self.aws.queue(&self.bindings, service, Kind::Standard)
    }

    /// A relay for what one service records.
    pub fn relay(&self, service: &Service<D>) -> Relay {
        Relay::new(&service.store.fanfare, self.published.clone()).lease(LEASE)
    }

    /// Starts one service in the background: its workers and its relay.
    pub fn start(&self, service: &Service<D>) -> Started {
        let mut started = self.work(service, TAKEN);
        started.relay(self.relay(service));
        started
    }

    /// Starts the workers of one service: on its queue if it has one, and on each stream that it reads.
    /// What they have taken comes again this long after they died.
    pub fn work(&self, service: &Service<D>, taken: Duration) -> Started {
        let (topology, tally) = (self.topology(&SERVICES), self.tally.clone());
        let name = service.name.clone();
        let consumer = service
            .consumer()
            .observe(move |delivery, outcome| tally.note(&name, delivery, outcome));
        let mut started = Started { stop: CancellationToken::new(), parts: JoinSet::new() };
        for _ in topology.kinds(&service.name) {
            // On short polls: it stops within a second.
            let worker = Worker::new(self.queue(&service.name)).wait_time(Duration::from_secs(1));
            let (worker, consumer) = (worker.visibility_timeout(taken), consumer.clone());
            started.part(async |stop| Ok(worker.run(consumer, stop).await?));
        }
        for topic in topology.streams(&service.name) {
            let stream = self.aws.stream(&self.bindings, &service.name, topic);
            // How far it has read is kept beside what it has made of it.
            let leases = SqlLeaseStore::new(&service.store.fanfare);
            let worker = StreamWorker::new(stream, leases).lease(taken);
            let consumer = consumer.clone();
            started.part(async |stop| Ok(worker.run(consumer, stop).await?));
        }
        started
    }
}

/// A service that runs. It stops when it is dropped.
pub struct Started {
    stop: CancellationToken,
    parts: JoinSet<anyhow::Result<()>>,
}

impl Started {
    /// Runs something with it, until it stops.
    pub fn part<P>(&mut self, part: impl FnOnce(WaitForCancellationFutureOwned) -> P)
    where
        P: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.parts.spawn(part(self.stop.clone().cancelled_owned()));
    }

    pub fn relay(&mut self, relay: Relay) {
        self.part(async |stop| Ok(relay.run(stop).await?));
    }

    /// Lets it run until it is `asked` to stop; fails if a part of it fails.
    pub async fn until(mut self, asked: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = asked => {}
            Some(ended) = self.parts.join_next() => ended??,
        }
        self.stop().await
    }

    /// Stops it, and waits until it has drained.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended??;
        }
        Ok(())
    }
}
