//! What a handler may rely on, whoever runs it: each case on workers and on Lambda, with its events on a
//! standard topic, a FIFO topic and a stream, aggregated or not.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use fanfare_aws::AwsPublisher;
use fanfare_core::{
    ClaimCheckPublisher, Consumer, Delivery, Emitter, Event, EventType, HandlerError, IntoEvents,
    MemoryClaimCheck, MemoryIdempotencyStore, Pointer, Retry, Router,
    translate::{Translation, format::MassTransit},
};
use fanfare_testkit::{Counts, Harness};
use fanfare_topology::{Binding, Bindings, Kind, Kinesis, Topology};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    timeout::TimeoutLayer,
};

/// Each case by what may carry its events.
macro_rules! cases {
    ($($case:ident: $($carrier:ident)+;)*) => {
        mod on_workers {
            $(mod $case {
                $(#[tokio::test(start_paused = true)]
                async fn $carrier() {
                    crate::$case(crate::Ground::new(crate::$carrier(), false).await).await;
                })+
            })*
        }

        mod on_lambda {
            $(mod $case {
                $(#[tokio::test(start_paused = true)]
                async fn $carrier() {
                    crate::$case(crate::Ground::new(crate::$carrier(), true).await).await;
                })+
            })*
        }
    };
}

cases! {
    what_a_handler_returns_is_published: standard fifo stream aggregated;
    what_failed_comes_again_until_it_succeeds: standard fifo stream aggregated;
    what_panicked_comes_again: standard fifo stream aggregated;
    a_reject_is_in_the_dead_letter_queue_with_its_reason: standard fifo stream aggregated;
    an_unknown_version_is_in_the_dead_letter_queue: standard fifo stream aggregated;
    what_is_no_event_is_in_the_dead_letter_queue: standard fifo stream aggregated;
    poison_does_not_take_its_neighbours_along: standard fifo stream aggregated;
    events_of_one_key_stay_in_order_across_failures: fifo stream aggregated;
    what_comes_twice_is_handled_once: standard fifo stream aggregated;
    a_service_goes_on_where_it_was_stopped: standard fifo stream aggregated;
    what_another_system_writes_is_handled_as_an_event: standard fifo stream aggregated;
    a_layers_time_out_is_a_retry_and_leaves_nothing_behind: standard fifo stream aggregated;
    a_concurrency_limit_holds_across_receives_and_queues: standard fifo stream aggregated;
    a_concurrency_limit_holds_across_services: standard fifo stream aggregated;
    what_is_too_large_for_a_message_is_fetched: standard fifo stream aggregated;
}

fn standard() -> Binding {
    Kind::Standard.into()
}

fn fifo() -> Binding {
    Kind::Fifo.into()
}

fn stream() -> Binding {
    Kinesis::shards(2).into()
}

fn aggregated() -> Binding {
    Kinesis::shards(2).aggregated().into()
}

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = customer)]
struct OrderPlaced {
    customer: String,
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.delivery.DeliveryStarted.v1", topic = "deliveries", key = order_id)]
struct DeliveryStarted {
    order_id: String,
}

/// An order of a customer's own.
fn order(order_id: &str) -> OrderPlaced {
    OrderPlaced { customer: order_id.into(), order_id: order_id.into() }
}

/// What the handler has done: how often each order came, and those that it handled, in order.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    times: BTreeMap<String, u32>,
    handled: Vec<String>,
}

async fn deliver(
    done: Done,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents, HandlerError> {
    let order_id = order.event.order_id;
    let times = {
        let mut seen = done.0.lock().unwrap();
        let times = seen.times.entry(order_id.clone()).or_default();
        *times += 1;
        *times
    };
    match order_id.split('-').next().unwrap() {
        "busy" if times < 3 => return Err(HandlerError::retry("no driver")),
        "panic" if times < 2 => panic!("no road"),
        "nowhere" => return Err(HandlerError::reject("no address")),
        "slow" if times < 3 => sleep(Duration::from_secs(20)).await,
        _ => {}
    }
    done.0.lock().unwrap().handled.push(order_id.clone());
    Ok(DeliveryStarted { order_id })
}

/// A service on a host, and what carries its events.
struct Ground {
    harness: Harness,
    on_lambda: bool,
    binding: Binding,
    bindings: Bindings,
    done: Done,
}

impl Ground {
    async fn new(binding: Binding, on_lambda: bool) -> Self {
        let topology = Topology::new("shop")
            .topic("orders", binding)
            .topic("deliveries", Kind::Standard)
            .service(&Router::new("delivery").on(deliver));
        let bindings = topology.bindings();
        let harness = Harness::new(topology).await.unwrap();
        let harness = if on_lambda { harness.on_lambda() } else { harness };
        let done = Done::default();
        Ground { harness, on_lambda, binding, bindings, done }
    }

    fn consumer(&self) -> Consumer {
        let router: Router<Done> = Router::new("delivery").on(deliver);
        let soon = Retry::exponential(Duration::from_secs(1), Duration::from_secs(4));
        router.with_state(self.done.clone()).retry(soon)
    }

    async fn emit(&self, orders: &[OrderPlaced]) {
        let report = self.harness.emitter("orders").emit_all(orders.to_vec()).await.unwrap();
        report.into_result().unwrap();
    }

    /// Starts the service, and waits until everything is done.
    async fn run(&mut self) -> Counts {
        let consumer = self.consumer();
        self.run_as(consumer).await
    }

    async fn run_as(&mut self, consumer: Consumer) -> Counts {
        self.harness.start(consumer);
        self.harness.quiet().await.unwrap();
        self.harness.counts("delivery")
    }

    fn handled(&self) -> Vec<String> {
        self.done.0.lock().unwrap().handled.clone()
    }

    /// How often an order came.
    fn times(&self, order_id: &str) -> u32 {
        self.done.0.lock().unwrap().times.get(order_id).copied().unwrap_or_default()
    }

    /// Puts a body into what the service reads, past all publishers and filters.
    async fn put(&self, number: usize, body: &str) {
        let config = self.harness.sim().sdk_config();
        let Some(kind) = self.kind() else {
            let client = aws_sdk_kinesis::Client::new(&config);
            let request = client.put_record().stream_name(self.bindings.topic_name("orders"));
            let request = request.partition_key(format!("key-{number}"));
            request.data(Blob::new(body)).send().await.unwrap();
            return;
        };
        let client = aws_sdk_sqs::Client::new(&config);
        let name = self.bindings.queue_name("delivery", kind);
        let url = client.get_queue_url().queue_name(name).send().await.unwrap().queue_url;
        let mut request = client.send_message().set_queue_url(url).message_body(body);
        if kind == Kind::Fifo {
            let (group, id) = (format!("group-{number}"), format!("id-{number}"));
            request = request.message_group_id(group).message_deduplication_id(id);
        }
        request.send().await.unwrap();
    }

    /// The reasons in the dead-letter queue, sorted.
    fn reasons(&self) -> Vec<String> {
        let kind = self.kind().unwrap_or(Kind::Standard);
        let name = self.bindings.dead_letter_queue_name("delivery", kind);
        let letters = self.harness.sim().messages(&name);
        let reason = |name| letters.iter().map(move |letter| letter.attribute(name));
        let mut reasons: Vec<String> =
            reason("dead-letter-reason").map(|reason| reason.unwrap().into()).collect();
        reasons.sort();
        reasons
    }

    /// The bodies in the dead-letter queue.
    fn letters(&self) -> Vec<String> {
        let kind = self.kind().unwrap_or(Kind::Standard);
        let name = self.bindings.dead_letter_queue_name("delivery", kind);
        let letters = self.harness.sim().messages(&name);
        letters.into_iter().map(|letter| letter.body).collect()
    }

    /// Of the queue; none if it is a stream.
    fn kind(&self) -> Option<Kind> {
        match self.binding {
            Binding::Sns(kind) => Some(kind),
            _ => None,
        }
    }
}

fn envelope(tag: &str, order_id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{order_id}-id"), "source": "orders", "type": tag,
        "data": { "customer": "c", "order_id": order_id },
    })
}

async fn what_a_handler_returns_is_published(mut ground: Ground) {
    ground.emit(&["a", "b", "c"].map(order)).await;
    let counts = ground.run().await;
    assert_eq!((counts.handled, counts.retried), (3, 0));
    let started = ground.harness.published::<DeliveryStarted>();
    let mut started: Vec<_> = started.into_iter().map(|event| event.order_id).collect();
    started.sort();
    assert_eq!(started, ["a", "b", "c"]);
}

async fn what_failed_comes_again_until_it_succeeds(mut ground: Ground) {
    ground.emit(&["busy", "busy-2"].map(order)).await;
    let counts = ground.run().await;
    assert_eq!((ground.times("busy"), ground.times("busy-2")), (3, 3));
    assert_eq!((counts.handled, counts.retried), (2, 4));
    assert!(ground.reasons().is_empty());
}

async fn what_panicked_comes_again(mut ground: Ground) {
    ground.emit(&["panic"].map(order)).await;
    let counts = ground.run().await;
    assert_eq!((counts.handled, counts.retried), (1, 1));
}

async fn a_reject_is_in_the_dead_letter_queue_with_its_reason(mut ground: Ground) {
    ground.emit(&["nowhere"].map(order)).await;
    let counts = ground.run().await;
    assert_eq!((counts.handled, counts.retried), (0, 0));
    assert_eq!(counts.dead_letters, ["rejected: no address"]);
    assert_eq!(ground.reasons(), ["rejected: no address"]);
    assert_eq!(ground.times("nowhere"), 1);
}

async fn an_unknown_version_is_in_the_dead_letter_queue(mut ground: Ground) {
    let unknown = "shop.orders.OrderPlaced.v2";
    ground.put(1, &envelope(unknown, "a").to_string()).await;
    ground.put(2, &envelope(OrderPlaced::TAG, "b").to_string()).await;
    ground.run().await;
    assert_eq!(ground.handled(), ["b"]);
    let known = OrderPlaced::TAG;
    assert_eq!(
        ground.reasons(),
        [format!("unknown type tag `{unknown}`: only {known} is handled")]
    );
}

async fn what_is_no_event_is_in_the_dead_letter_queue(mut ground: Ground) {
    let mut misfit = envelope(OrderPlaced::TAG, "a");
    misfit["data"] = json!({ "customer": 7 });
    for (number, body) in ["{", "no event", &misfit.to_string()].into_iter().enumerate() {
        ground.put(number, body).await;
    }
    ground.run().await;
    let reasons = ground.reasons();
    assert_eq!(reasons.len(), 3);
    assert!(reasons.iter().all(|reason| reason.starts_with("undecodable")), "{reasons:?}");
}

async fn poison_does_not_take_its_neighbours_along(mut ground: Ground) {
    ground.emit(&["a", "nowhere", "b"].map(order)).await;
    ground.put(1, "{").await;
    ground.emit(&["c", "panic", "d"].map(order)).await;
    let consumer = ground.consumer().idempotency(MemoryIdempotencyStore::default());
    ground.run_as(consumer).await;
    let mut handled = ground.handled();
    handled.sort();
    assert_eq!(handled, ["a", "b", "c", "d", "panic"]);
    for neighbour in ["a", "b", "c", "d"] {
        assert_eq!(ground.times(neighbour), 1, "{neighbour}");
    }
    assert_eq!(ground.reasons().len(), 2);
}

async fn events_of_one_key_stay_in_order_across_failures(mut ground: Ground) {
    let of = |customer: &str, order_id: &str| OrderPlaced {
        customer: customer.into(),
        order_id: order_id.into(),
    };
    let orders = ["busy-1", "2", "panic-3", "busy-4", "5"];
    let others = ["x1", "x2", "x3"];
    let orders: Vec<_> = orders.iter().map(|id| of("one", id)).collect();
    let others: Vec<_> = others.iter().map(|id| of("other", id)).collect();
    ground.emit(&orders).await;
    ground.emit(&others).await;
    let consumer = ground.consumer().idempotency(MemoryIdempotencyStore::default());
    ground.run_as(consumer).await;
    let (others, ones): (Vec<_>, Vec<_>) =
        ground.handled().into_iter().partition(|id| id.starts_with('x'));
    assert_eq!(ones, ["busy-1", "2", "panic-3", "busy-4", "5"]);
    assert_eq!(others, ["x1", "x2", "x3"]);
}

async fn what_comes_twice_is_handled_once(mut ground: Ground) {
    let body = envelope(OrderPlaced::TAG, "a").to_string();
    ground.put(1, &body).await;
    ground.put(2, &body).await;
    let consumer = ground.consumer().idempotency(MemoryIdempotencyStore::default());
    let counts = ground.run_as(consumer).await;
    assert_eq!((counts.handled, counts.duplicates), (1, 1));
    assert_eq!(ground.handled(), ["a"]);
}

async fn a_service_goes_on_where_it_was_stopped(mut ground: Ground) {
    ground.emit(&["a"].map(order)).await;
    ground.run().await;
    ground.harness.stop("delivery").await.unwrap();
    ground.emit(&["b"].map(order)).await;
    ground.harness.quiet().await.unwrap();
    assert_eq!(ground.handled(), ["a"], "nobody waits for who is stopped");
    ground.run().await;
    assert_eq!(ground.handled(), ["a", "b"]);
}

async fn a_layers_time_out_is_a_retry_and_leaves_nothing_behind(mut ground: Ground) {
    ground.emit(&["slow", "a"].map(order)).await;
    let router: Router<Done> =
        Router::new("delivery").on(deliver).layer(TimeoutLayer::new(Duration::from_secs(2)));
    let consumer = router.with_state(ground.done.clone());
    // A claim that a time-out left behind would make the next try a duplicate, or keep it waiting.
    let counts = ground.run_as(consumer.idempotency(MemoryIdempotencyStore::default())).await;
    assert_eq!((ground.times("slow"), ground.times("a")), (3, 1));
    assert_eq!((counts.handled, counts.retried, counts.duplicates), (2, 2, 0));
    let mut handled = ground.handled();
    handled.sort();
    assert_eq!(handled, ["a", "slow"], "what was abandoned did not go on");
    assert_eq!(ground.harness.published::<DeliveryStarted>().len(), 2);
    assert!(ground.reasons().is_empty());
}

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderCancelled.v1", topic = "cancellations", key = order_id)]
struct OrderCancelled {
    order_id: String,
}

/// How many handlers run, and how many ran at once at most.
#[derive(Clone, Default)]
struct Load(Arc<(AtomicUsize, AtomicUsize)>);

impl Load {
    async fn work(&self) {
        let (running, most) = &*self.0;
        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        sleep(Duration::from_millis(500)).await;
        running.fetch_sub(1, SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

async fn place(load: Load, _: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    load.work().await;
    Ok(())
}

async fn cancel(load: Load, _: Delivery<OrderCancelled>) -> Result<(), HandlerError> {
    load.work().await;
    Ok(())
}

fn busy(name: &str) -> Router<Load> {
    Router::new(name).on(place).on(cancel)
}

impl Ground {
    /// One with these services, and with a queue besides what carries orders.
    async fn with(self, services: &[&str]) -> Ground {
        let topology = Topology::new("shop")
            .topic("orders", self.binding)
            .topic("cancellations", Kind::Standard);
        let topology =
            services.iter().fold(topology, |topology, name| topology.service(&busy(name)));
        let harness = Harness::new(topology).await.unwrap();
        let harness = if self.on_lambda { harness.on_lambda() } else { harness };
        Ground { harness, ..self }
    }

    /// Emits 30 events of each type.
    async fn emit_many(&self) {
        let ids = || (0..30).map(|number| format!("o-{number}"));
        self.emit(&ids().map(|id| order(&id)).collect::<Vec<_>>()).await;
        let cancelled: Vec<_> = ids().map(|order_id| OrderCancelled { order_id }).collect();
        let report = self.harness.emitter("orders").emit_all(cancelled).await.unwrap();
        report.into_result().unwrap();
    }
}

async fn a_concurrency_limit_holds_across_receives_and_queues(ground: Ground) {
    let mut ground = ground.with(&["delivery"]).await;
    ground.emit_many().await;
    let load = Load::default();
    let router = busy("delivery").layer(ConcurrencyLimitLayer::new(3));
    let counts = ground.run_as(router.with_state(load.clone())).await;
    assert_eq!(load.most(), 3);
    assert_eq!((counts.handled, counts.retried), (60, 0));
}

async fn a_concurrency_limit_holds_across_services(ground: Ground) {
    let mut ground = ground.with(&["delivery", "billing"]).await;
    ground.emit_many().await;
    let (load, limit) = (Load::default(), GlobalConcurrencyLimitLayer::new(3));
    for service in ["delivery", "billing"] {
        let router = busy(service).layer(limit.clone());
        ground.harness.start(router.with_state(load.clone()));
    }
    ground.harness.quiet().await.unwrap();
    assert_eq!(load.most(), 3);
    let handled = ["delivery", "billing"].map(|service| ground.harness.counts(service).handled);
    assert_eq!(handled, [60, 60]);
}

async fn what_another_system_writes_is_handled_as_an_event(mut ground: Ground) {
    const SUBMIT: &str = "urn:message:Company.Project:SubmitOrder";
    let submitted = |order_id: &str| {
        let message = json!({ "customer": order_id, "order_id": order_id });
        json!({ "messageId": order_id, "messageType": [SUBMIT], "message": message }).to_string()
    };
    let broken = json!({ "messageId": "broken", "messageType": [SUBMIT] }).to_string();
    let ours = envelope(OrderPlaced::TAG, "b").to_string();
    let bodies = [&submitted("a"), &broken, &submitted("busy"), &ours, &submitted("a")];
    for (number, body) in bodies.into_iter().enumerate() {
        ground.put(number, body).await;
    }
    let consumer = ground.consumer().idempotency(MemoryIdempotencyStore::default());
    let translation = Translation::of(MassTransit).map::<OrderPlaced>(SUBMIT);
    ground.run_as(consumer.translator(translation)).await;
    let mut handled = ground.handled();
    handled.sort();
    assert_eq!(handled, ["a", "b", "busy"]);
    assert_eq!((ground.times("a"), ground.times("busy")), (1, 3));
    assert_eq!(ground.reasons(), ["undecodable: MassTransit: `message` is missing"]);
}

async fn what_is_too_large_for_a_message_is_fetched(mut ground: Ground) {
    let store = MemoryClaimCheck::new("payloads");
    let publisher = AwsPublisher::new(ground.harness.aws().clone(), ground.bindings.clone());
    let emitter = Emitter::new("orders", ClaimCheckPublisher::new(publisher, store.clone()));
    // More than a message or record can have.
    let large = |name: &str| OrderPlaced {
        customer: format!("{name}-{}", "x".repeat(1_100_000)),
        order_id: name.into(),
    };
    let orders = vec![order("a"), large("b"), large("busy"), large("nowhere")];
    emitter.emit_all(orders).await.unwrap().into_result().unwrap();
    let gone = Pointer::new("payloads", "gone").to_body();
    let foreign = Pointer::new("of-others", "a").to_body();
    ground.put(1, &gone).await;
    ground.put(2, &foreign).await;
    let consumer = ground.consumer().claim_check(store.clone());
    let counts = ground.run_as(consumer).await;
    let mut handled = ground.handled();
    handled.sort();
    assert_eq!(handled, ["a", "b", "busy"]);
    assert_eq!((counts.handled, counts.retried), (3, 2));
    let reasons = ground.reasons();
    let starts =
        ["rejected: no address", "unclaimed: the payload is in", "unclaimed: the payload s3:"];
    assert!(
        reasons.iter().zip(starts).all(|(reason, start)| reason.starts_with(start)),
        "{reasons:?}"
    );
    // Dead letters are pointers, and nothing that has been read is removed.
    for body in ground.letters() {
        assert!(matches!(Pointer::parse(&body), Some(Ok(_))), "{} bytes", body.len());
    }
    assert_eq!((reasons.len(), store.payloads().len()), (3, 3));
}
