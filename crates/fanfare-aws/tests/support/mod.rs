//! A small shop on the simulator, for the tests of publisher and worker.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::sync::{Arc, Mutex};

use fanfare_aws::{Aws, AwsPublisher, Queue, Worker, WorkerError, provision};
use fanfare_core::{Consumer, Delivery, Emitter, Event, HandlerError, Outcome, Router};
use fanfare_sim::Sim;
use fanfare_topology::{Bindings, Kind, Topology};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const ACCOUNT: &str = "000000000000";

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
pub struct OrderPlaced {
    pub order_id: String,
    pub number: usize,
}

pub fn order(order_id: &str, number: usize) -> OrderPlaced {
    OrderPlaced { order_id: order_id.into(), number }
}

/// What handlers and observers saw.
#[derive(Clone, Default)]
pub struct Seen {
    events: Arc<Mutex<Vec<OrderPlaced>>>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

impl Seen {
    pub fn note(&self, event: OrderPlaced) {
        self.events.lock().unwrap().push(event);
    }

    pub fn events(&self) -> Vec<OrderPlaced> {
        self.events.lock().unwrap().clone()
    }

    /// The numbers of the events, sorted.
    pub fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<_> = self.events().iter().map(|event| event.number).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap().clone()
    }

    pub fn observe(&self, consumer: Consumer) -> Consumer {
        let outcomes = Arc::clone(&self.outcomes);
        consumer.observe(move |_, outcome| outcomes.lock().unwrap().push(outcome.clone()))
    }
}

async fn note(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    seen.note(order.event);
    Ok(())
}

/// The products service with a handler that notes what it gets.
pub fn noting() -> Router<Seen> {
    Router::new("products").on(note)
}

/// Orders on one topic, products with one queue.
pub struct Shop {
    pub sim: Sim,
    pub aws: Aws,
    pub kind: Kind,
    pub bindings: Bindings,
}

impl Shop {
    pub async fn new(kind: Kind) -> Shop {
        let topology = Topology::new("shop").topic("orders", kind).service(&noting());
        let sim = Sim::new();
        let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
        provision(&aws, &topology).await.unwrap();
        Shop { sim, aws, kind, bindings: topology.bindings() }
    }

    pub fn publisher(&self) -> AwsPublisher {
        AwsPublisher::new(self.aws.clone(), self.bindings.clone())
    }

    pub fn orders(&self) -> Emitter {
        Emitter::new("orders", self.publisher())
    }

    pub fn queue(&self) -> Queue {
        self.aws.queue(&self.bindings, "products", self.kind)
    }

    pub async fn publish(&self, count: usize) {
        let events: Vec<_> = (0..count).map(|i| order(&format!("o-{i}"), i)).collect();
        self.orders().emit_all(events).await.unwrap().into_result().unwrap();
    }

    pub fn work(&self, consumer: impl Into<Consumer>) -> Working {
        self.work_with(Worker::new(self.queue()), consumer)
    }

    pub fn work_with(&self, worker: Worker, consumer: impl Into<Consumer>) -> Working {
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(worker.run(consumer.into(), shutdown));
        Working { stop, task }
    }

    /// How many messages the service's queue holds.
    pub fn held(&self) -> usize {
        self.sim.queue_stats(self.queue().name()).unwrap().total()
    }

    /// How many its dead-letter queue holds.
    pub fn dead(&self) -> usize {
        let name = self.bindings.dead_letter_queue_name("products", self.kind);
        self.sim.queue_stats(&name).unwrap().total()
    }

    /// Waits, for hours of paused time if need be, until the queue is empty.
    pub async fn drained(&self) {
        let mut changes = self.sim.changes();
        let patience = std::time::Duration::from_secs(12 * 3_600);
        let drained = async {
            while self.held() > 0 {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(patience, drained).await.expect("the queue is not drained");
    }
}

pub struct Working {
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), WorkerError>>,
}

impl Working {
    pub async fn finish(self) -> Result<(), WorkerError> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}
