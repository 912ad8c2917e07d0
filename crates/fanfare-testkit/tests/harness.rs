//! What a test of a service may rely on.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fanfare_core::{
    Backoff, Delivery, Event, EventType, HandlerError, IntoEvents, MemoryIdempotencyStore, Router,
};
use fanfare_sim::Fault;
use fanfare_testkit::{Counts, Harness, HarnessError};
use fanfare_topology::{Kind, Topology};
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

async fn shop(kind: Kind) -> Harness {
    let topology = Topology::new("shop")
        .topic("orders", kind)
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
    for kind in [Kind::Standard, Kind::Fifo] {
        let mut harness = shop(kind).await;
        harness.start(delivery());
        harness.start(orders());
        for id in ["o-1", "busy", "nowhere"] {
            harness.emitter("orders").emit(&order(id)).await.unwrap();
        }
        harness.quiet().await.unwrap();
        assert_eq!(counts(&harness, "delivery"), (2, 0, 3), "{kind:?}");
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
    let mut harness = shop(Kind::Standard).await;
    harness.start(delivery());
    harness.stop("delivery").await.unwrap();
    harness.emitter("orders").emit(&order("o-1")).await.unwrap();
    harness.quiet().await.unwrap();
    assert_eq!(counts(&harness, "delivery"), (0, 0, 0), "nobody waits for who is stopped");
    harness.start(delivery());
    harness.quiet().await.unwrap();
    assert_eq!(counts(&harness, "delivery"), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn faults_can_be_injected_into_a_users_test() {
    let mut harness = shop(Kind::Standard).await;
    let consumer = fanfare_core::Consumer::from(delivery());
    let quick = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
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
