//! A small shop whose orders are on a stream, for the tests of its worker.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use fanfare_aws::{Aws, AwsPublisher, Stream, StreamWorker, StreamWorkerError, provision};
use fanfare_core::{
    Checkpoint, Consumer, Delivery, Emitter, Event, HandlerError, Lease, LeaseStore,
    MemoryLeaseStore, Outcome, Router,
};
use fanfare_sim::Sim;
use fanfare_topology::{Bindings, Kind, Kinesis, Topology};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub const ACCOUNT: &str = "000000000000";
pub const STREAM: &str = "shop-orders";

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
pub struct OrderPlaced {
    pub order_id: String,
    pub number: usize,
}

/// An event of the same topic that nobody handles.
#[derive(Debug, Clone, Event, Serialize)]
#[event(type = "shop.orders.OrderPaid.v1", topic = "orders", key = order_id)]
pub struct OrderPaid {
    pub order_id: String,
}

pub fn order(order_id: impl Into<String>, number: usize) -> OrderPlaced {
    OrderPlaced { order_id: order_id.into(), number }
}

/// An event as it is on the wire.
pub fn body_of(event: &OrderPlaced) -> String {
    serde_json::json!({
        "specversion": "1.0",
        "type": "shop.orders.OrderPlaced.v1",
        "id": format!("event-{}", event.number),
        "source": "orders",
        "data": event,
    })
    .to_string()
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One call of a handler.
#[derive(Debug, Clone)]
pub struct Call {
    pub key: String,
    pub number: usize,
    pub attempt: u32,
    pub message_id: String,
    pub at: Instant,
}

/// What handlers and observers saw.
#[derive(Clone, Default)]
pub struct Seen {
    calls: Arc<Mutex<Vec<Call>>>,
    outcomes: Arc<Mutex<Vec<(String, Outcome)>>>,
}

impl Seen {
    pub fn note(&self, delivery: &Delivery<OrderPlaced>) {
        self.calls.lock().unwrap().push(Call {
            key: delivery.event.order_id.clone(),
            number: delivery.event.number,
            attempt: delivery.metadata.attempt,
            message_id: delivery.metadata.message_id.clone(),
            at: Instant::now(),
        });
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// The numbers of all calls, sorted.
    pub fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<_> = self.calls().iter().map(|call| call.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The numbers that were seen, in the order of each key's first calls.
    pub fn first_by_key(&self) -> BTreeMap<String, Vec<usize>> {
        let mut known = BTreeSet::new();
        let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for call in self.calls() {
            if known.insert(call.number) {
                by_key.entry(call.key).or_default().push(call.number);
            }
        }
        by_key
    }

    /// That of each key the numbers grow, counting each number's first call.
    pub fn assert_in_order(&self) {
        for (key, numbers) in self.first_by_key() {
            assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        }
    }

    pub fn observe(&self, consumer: Consumer) -> Consumer {
        let outcomes = Arc::clone(&self.outcomes);
        consumer.observe(move |delivery, outcome| {
            let id = delivery.metadata.message_id.clone();
            outcomes.lock().unwrap().push((id, outcome.clone()));
        })
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap().iter().map(|(_, outcome)| outcome.clone()).collect()
    }
}

async fn note(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    seen.note(&order);
    Ok(())
}

/// The products service with a handler that notes what it gets.
pub fn noting() -> Router<Seen> {
    Router::new("products").on(note)
}

/// What a scripted handler does with an order.
pub enum Act {
    Succeed,
    Take(Duration),
    Retry,
    RetryAfter(Duration),
    Reject,
    Hang,
}

/// The products service with a handler that notes what it gets, and then does what `script` says.
pub fn scripted(
    seen: &Seen,
    script: impl Fn(&Delivery<OrderPlaced>) -> Act + Send + Sync + 'static,
) -> Consumer {
    let (seen, script) = (seen.clone(), Arc::new(script));
    let handler = move |order: Delivery<OrderPlaced>| {
        let (seen, script) = (seen.clone(), Arc::clone(&script));
        async move {
            seen.note(&order);
            match script(&order) {
                Act::Succeed => Ok(()),
                Act::Take(time) => {
                    sleep(time).await;
                    Ok(())
                }
                Act::Retry => Err(HandlerError::retry("not yet")),
                Act::RetryAfter(delay) => Err(HandlerError::retry_after(delay, "not yet")),
                Act::Reject => Err(HandlerError::reject("never")),
                Act::Hang => std::future::pending().await,
            }
        }
    };
    Router::<()>::new("products").on(handler).into()
}

/// Orders on one stream, products reading it.
pub struct Shop {
    pub sim: Sim,
    pub aws: Aws,
    pub bindings: Bindings,
    pub stream: Stream,
    pub leases: MemoryLeaseStore,
    pub kinesis: aws_sdk_kinesis::Client,
}

impl Shop {
    pub async fn new(stream: Kinesis) -> Shop {
        let topology = Topology::new("shop").topic("orders", stream).service(&noting());
        let sim = Sim::new();
        let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
        provision(&aws, &topology).await.unwrap();
        let bindings = topology.bindings();
        let stream = aws.stream(&bindings, "products", "orders");
        let kinesis = aws_sdk_kinesis::Client::new(&sim.sdk_config());
        Shop { sim, aws, bindings, stream, leases: MemoryLeaseStore::default(), kinesis }
    }

    pub fn orders(&self) -> Emitter {
        Emitter::new("orders", AwsPublisher::new(self.aws.clone(), self.bindings.clone()))
    }

    /// Publishes these events, numbered by their places from `from` on.
    pub async fn publish(&self, from: usize, keys: &[&str]) {
        let events = keys.iter().enumerate().map(|(i, key)| order(*key, from + i));
        let events: Vec<_> = events.collect();
        self.orders().emit_all(events).await.unwrap().into_result().unwrap();
    }

    /// Publishes so many events of as many keys.
    pub async fn publish_many(&self, count: usize) {
        let events: Vec<_> = (0..count).map(|i| order(format!("o-{i}"), i)).collect();
        self.orders().emit_all(events).await.unwrap().into_result().unwrap();
    }

    /// Puts a record of anything.
    pub async fn put(&self, key: &str, data: impl Into<Vec<u8>>) -> String {
        let put = self.kinesis.put_record().stream_name(STREAM).partition_key(key);
        put.data(Blob::new(data)).send().await.unwrap().sequence_number
    }

    pub fn worker(&self) -> StreamWorker {
        StreamWorker::new(self.stream.clone(), self.leases.clone())
    }

    pub fn work(&self, consumer: impl Into<Consumer>) -> Working {
        self.work_with(self.worker(), consumer)
    }

    pub fn work_with(&self, worker: StreamWorker, consumer: impl Into<Consumer>) -> Working {
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(worker.run(consumer.into(), shutdown));
        Working { stop, task }
    }

    /// Registers a consumer for enhanced fan-out and gives its ARN.
    pub async fn register(&self) -> String {
        let description = self.kinesis.describe_stream_summary().stream_name(STREAM).send().await;
        let arn = description.unwrap().stream_description_summary.unwrap().stream_arn;
        let register = self.kinesis.register_stream_consumer().stream_arn(arn);
        let registered = register.consumer_name("products").send().await.unwrap();
        sleep(seconds(60)).await;
        registered.consumer.unwrap().consumer_arn
    }

    pub async fn lease(&self, shard: usize) -> Lease {
        let leases = self.leases.leases(self.stream.lease_group()).await.unwrap();
        leases.into_iter().find(|lease| lease.key == shard_id(shard)).unwrap()
    }

    pub async fn checkpoint(&self, shard: usize) -> Checkpoint {
        self.lease(shard).await.checkpoint
    }

    /// How many messages the service's dead-letter queue holds.
    pub fn dead(&self) -> usize {
        let name = self.bindings.dead_letter_queue_name("products", Kind::Standard);
        self.sim.queue_stats(&name).unwrap().total()
    }

    pub fn letters(&self) -> Vec<fanfare_sim::StoredMessage> {
        self.sim.messages(&self.bindings.dead_letter_queue_name("products", Kind::Standard))
    }

    pub async fn split(&self, shard: usize) {
        let shards = self.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
        let shards = shards.shards.unwrap();
        let shard = shards.iter().find(|candidate| candidate.shard_id == shard_id(shard)).unwrap();
        let range = shard.hash_key_range().unwrap();
        let start: u128 = range.starting_hash_key().parse().unwrap();
        let end: u128 = range.ending_hash_key().parse().unwrap();
        let middle = start + (end - start) / 2 + 1;
        let split = self.kinesis.split_shard().stream_name(STREAM).shard_to_split(&shard.shard_id);
        split.new_starting_hash_key(middle.to_string()).send().await.unwrap();
    }

    pub async fn merge(&self, lower: usize, upper: usize) {
        let merge = self.kinesis.merge_shards().stream_name(STREAM).shard_to_merge(shard_id(lower));
        merge.adjacent_shard_to_merge(shard_id(upper)).send().await.unwrap();
    }
}

pub fn shard_id(number: usize) -> String {
    format!("shardId-{number:012}")
}

/// Waits, for hours of paused time if need be.
pub async fn until(what: impl Fn() -> bool) {
    let patience = Instant::now() + seconds(12 * 3_600);
    while !what() {
        assert!(Instant::now() < patience, "it did not come to pass");
        sleep(Duration::from_millis(50)).await;
    }
}

pub struct Working {
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), StreamWorkerError>>,
}

impl Working {
    pub async fn finish(self) -> Result<(), StreamWorkerError> {
        self.stop.cancel();
        self.task.await.unwrap()
    }

    /// As `kill -9`.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
