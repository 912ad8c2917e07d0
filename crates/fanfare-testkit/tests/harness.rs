//! What a test of a service may rely on.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{
    Delivery, Event, EventType, HandlerError, IntoEvents, MemoryIdempotencyStore, Retry, Router,
};
use fanfare_sim::Fault;
use fanfare_testkit::{Counts, Harness, HarnessError};
use fanfare_topology::{Binding, Kind, Kinesis, Topology};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
struct OrderPlaced {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.delivery.DeliveryStarted.v1", topic = "deliveries", key = order_id)]
struct DeliveryStarted {
    order_id: String,
}

fn order(order_id: &str) -> OrderPlaced {
    OrderPlaced { order_id: order_id.into() }
}

async fn deliver(order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
    match order.event.order_id.as_str() {
        "busy" if order.metadata.attempt < 4 => Err(HandlerError::retry("no driver")),
        "nowhere" => Err(HandlerError::reject("no address")),
        "never" => Err(HandlerError::retry_after(Duration::from_secs(40_000), "no road")),
        id => Ok(DeliveryStarted { order_id: id.into() }),
    }
}

async fn follow(_: Delivery<DeliveryStarted>) -> Result<(), HandlerError> {
    Ok(())
}

fn delivery() -> Router {
    Router::new("delivery").on(deliver)
}

fn orders() -> Router {
    Router::new("orders").on(follow)
}

async fn shop(binding: impl Into<Binding>) -> Harness {
    let topology = Topology::new("shop")
        .topic("orders", binding)
        .topic("deliveries", Kind::Standard)
        .service(&delivery())
        .service(&orders());
    Harness::new(topology).await.unwrap()
}

fn counts(harness: &Harness, service: &str) -> (usize, usize, usize) {
    let Counts { handled, duplicates, retried, .. } = harness.counts(service);
    (handled, duplicates, retried)
}

#[tokio::test(start_paused = true)]
async fn quiet_waits_for_what_follows_and_for_retries() {
    let streams = [Kinesis::shards(2), Kinesis::shards(1).aggregated(), Kinesis::on_demand()];
    let bindings = [Kind::Standard, Kind::Fifo].map(Binding::from);
    for binding in bindings.into_iter().chain(streams.map(Binding::from)) {
        let mut harness = shop(binding).await;
        harness.start(delivery());
        harness.start(orders());
        for id in ["o-1", "busy", "nowhere"] {
            harness.emitter("orders").emit(&order(id)).await.unwrap();
        }
        harness.quiet().await.unwrap();
        assert_eq!(counts(&harness, "delivery"), (2, 0, 3), "{binding:?}");
        assert_eq!(harness.counts("delivery").dead_letters, ["rejected: no address"]);
        assert_eq!(counts(&harness, "orders"), (2, 0, 0));
        let mut started: Vec<_> =
            harness.published::<DeliveryStarted>().into_iter().map(|e| e.order_id).collect();
        started.sort();
        assert_eq!(started, ["busy", "o-1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_service_catches_up_when_it_is_started_again() {
    for binding in [Binding::from(Kind::Standard), Kinesis::shards(2).into()] {
        let mut harness = shop(binding).await;
        harness.start(delivery());
        harness.emitter("orders").emit(&order("o-1")).await.unwrap();
        harness.quiet().await.unwrap();
        harness.stop("delivery").await.unwrap();
        harness.emitter("orders").emit(&order("o-2")).await.unwrap();
        harness.quiet().await.unwrap();
        assert_eq!(counts(&harness, "delivery"), (1, 0, 0), "nobody waits for who is stopped");
        harness.start(delivery());
        harness.quiet().await.unwrap();
        assert_eq!(counts(&harness, "delivery"), (2, 0, 0), "{binding:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_can_be_injected_into_a_users_test() {
    let mut harness = shop(Kind::Standard).await;
    let consumer = fanfare_core::Consumer::from(delivery());
    let quick = Retry::fixed(Duration::from_secs(1));
    harness.start(consumer.idempotency(MemoryIdempotencyStore::default()).retry(quick));
    harness.sim().inject("ReceiveMessage", Fault::DuplicateDelivery);
    harness.emitter("orders").emit(&order("o-1")).await.unwrap();
    harness.quiet().await.unwrap();
    assert_eq!(counts(&harness, "delivery"), (1, 1, 0));
    assert_eq!(OrderPlaced::TAG, "shop.orders.OrderPlaced.v1");
}

#[tokio::test(start_paused = true)]
async fn services_that_do_not_come_to_rest_are_named() {
    let mut harness = shop(Kind::Standard).await;
    harness.start(delivery());
    harness.emitter("orders").emit(&order("never")).await.unwrap();
    let error = harness.quiet().await.unwrap_err();
    assert_eq!(error, HarnessError::NotQuiet { waiting: vec!["shop-delivery".into()] });
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPaid.v1", topic = "orders", key = order_id)]
struct OrderPaid {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.books.Booked.v1", topic = "books", key = order_id)]
struct Booked {
    order_id: String,
    number: usize,
}

/// Which events of an order books has seen, and when for the first time it was too early.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(String, &'static str)>>>);

impl Ledger {
    fn note(&self, order_id: &str, what: &'static str) -> usize {
        let mut entries = self.0.lock().unwrap();
        entries.push((order_id.into(), what));
        entries.len()
    }
}

async fn book(ledger: Ledger, order: Delivery<OrderPlaced>) -> Result<Booked, HandlerError> {
    if order.metadata.attempt < 3 {
        return Err(HandlerError::retry("the ledger is being balanced"));
    }
    let order_id = order.event.order_id;
    Ok(Booked { number: ledger.note(&order_id, "placed"), order_id })
}

async fn book_payment(ledger: Ledger, order: Delivery<OrderPaid>) -> Result<(), HandlerError> {
    ledger.note(&order.event.order_id, "paid");
    Ok(())
}

async fn book_delivery(
    ledger: Ledger,
    started: Delivery<DeliveryStarted>,
) -> Result<(), HandlerError> {
    ledger.note(&started.event.order_id, "delivered");
    Ok(())
}

/// Books reads orders from a stream, has a queue for deliveries, and answers on a FIFO topic; its
/// handlers know nothing of that.
#[tokio::test(start_paused = true)]
async fn one_service_may_listen_to_a_topic_on_kinesis_and_to_another_on_sns() {
    let ledger = Ledger::default();
    let books: Router<Ledger> = Router::new("books").on(book).on(book_payment).on(book_delivery);
    let topology = Topology::new("shop")
        .topic("orders", Kinesis::shards(2).aggregated())
        .topic("deliveries", Kind::Standard)
        .topic("books", Kind::Fifo)
        .service(&delivery())
        .service(&books);
    let mut harness = Harness::new(topology).await.unwrap();
    harness.start(delivery());
    harness.start(books.with_state(ledger.clone()));
    let ids: Vec<String> = (0..20).map(|number| format!("o-{number}")).collect();
    for id in &ids {
        let emitter = harness.emitter("orders");
        emitter.emit(&order(id)).await.unwrap();
        emitter.emit(&OrderPaid { order_id: id.clone() }).await.unwrap();
    }
    harness.quiet().await.unwrap();

    // Placed and paid come in order, although placed fails twice; its key waits, and nobody else.
    let entries = ledger.0.lock().unwrap().clone();
    for id in &ids {
        let of_order = |what: &&str| *what != "delivered";
        let seen = entries.iter().filter(|(order_id, _)| order_id == id).map(|(_, what)| *what);
        assert_eq!(seen.filter(of_order).collect::<Vec<_>>(), ["placed", "paid"], "{id}");
    }
    assert_eq!(counts(&harness, "books"), (60, 0, 40));
    assert_eq!(counts(&harness, "delivery"), (20, 0, 0), "payments are none of its business");
    assert_eq!(harness.published::<Booked>().len(), 20);
    assert_eq!(harness.sim().requests().count("PublishBatch"), 40, "not for orders");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ended_is_an_error_and_not_a_long_wait() {
    let mut harness = shop(Kind::Standard).await;
    let denied = Fault::Refuse { status: 403, code: "AccessDenied".into(), message: "no".into() };
    harness.sim().inject("ReceiveMessage", denied);
    harness.start(delivery());
    harness.emitter("orders").emit(&order("o-1")).await.unwrap();
    let error = harness.quiet().await.unwrap_err();
    assert!(
        error.to_string().starts_with("the worker of `delivery` ended: receiving from queue"),
        "{error}"
    );
}
