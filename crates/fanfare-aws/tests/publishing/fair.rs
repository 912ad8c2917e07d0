//! Fair queues: whose a message is, and that no order follows from it.

use std::{sync::Arc, time::Duration};

use fanfare_aws::{Aws, AwsPublisher, provision};
use fanfare_core::{Delivery, Emitter, Event, HandlerError, Router, Task};
use fanfare_sim::Sim;
use fanfare_topology::{Kind, Tenant, Topology};
use serde::Serialize;
use tokio::sync::Barrier;

use crate::support::*;

/// An order that says whose it is.
#[derive(Event, Serialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id, filter(customer))]
struct Placed {
    order_id: String,
    customer: String,
    number: usize,
}

fn placed(order_id: &str, customer: &str) -> Placed {
    Placed { order_id: order_id.into(), customer: customer.into(), number: 0 }
}

/// A shop whose topic and tasks are as `declare` says.
async fn shop(kind: Kind, declare: impl FnOnce(Topology) -> Topology) -> Shop {
    let topology = declare(Topology::new("shop").topic("orders", kind).service(&noting()));
    let sim = Sim::new();
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    provision(&aws, &topology).await.unwrap();
    Shop { sim, aws, kind, bindings: topology.bindings() }
}

/// The groups of the messages in the service's queue.
fn groups(shop: &Shop) -> Vec<Option<String>> {
    let messages = shop.sim.messages(shop.queue().name());
    messages.into_iter().map(|message| message.group_id).collect()
}

fn some(group: &str) -> Option<String> {
    Some(group.into())
}

#[tokio::test(start_paused = true)]
async fn a_fair_topics_events_are_their_keys_or_the_fields() {
    let by_key = shop(Kind::Standard, |shop| shop.fair_topic("orders", Tenant::Key)).await;
    by_key
        .orders()
        .emit_all([placed("o-1", "ann"), placed("o-2", "ann")])
        .await
        .unwrap()
        .into_result()
        .unwrap();
    assert_eq!(groups(&by_key), [some("o-1"), some("o-2")]);

    let tenant = Tenant::field("customer");
    let by_field = shop(Kind::Standard, |shop| shop.fair_topic("orders", tenant)).await;
    by_field
        .orders()
        .emit_all([placed("o-1", "ann"), placed("o-2", "bob")])
        .await
        .unwrap()
        .into_result()
        .unwrap();
    assert_eq!(groups(&by_field), [some("ann"), some("bob")]);
    // Tasks are told apart by what is said of tasks.
    by_field.orders().send("products", &placed("o-3", "cid")).await.unwrap();
    assert_eq!(groups(&by_field)[2], None);
}

#[tokio::test(start_paused = true)]
async fn fair_tasks_have_their_tenants_in_the_services_queue() {
    let tenant = Tenant::field("customer");
    let shop = shop(Kind::Standard, |shop| shop.fair_tasks("products", tenant)).await;
    shop.orders().emit(&placed("o-1", "ann")).await.unwrap();
    shop.orders()
        .emit_all(Task::to("products", placed("o-2", "bob")))
        .await
        .unwrap()
        .into_result()
        .unwrap();
    assert_eq!(groups(&shop), [None, some("bob")]);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_tenant_has_no_group_and_an_illegal_one_is_hashed() {
    let tenant = Tenant::field("customer");
    let shop = shop(Kind::Standard, |shop| shop.fair_topic("orders", tenant)).await;
    let orders = shop.orders();
    orders.emit(&order("o-1", 1)).await.unwrap();
    orders.emit(&placed("o-2", "Ann Lee")).await.unwrap();
    orders.emit(&placed("o-3", &"x".repeat(128))).await.unwrap();
    let groups = groups(&shop);
    assert_eq!((&groups[0], &groups[2]), (&None, &some(&"x".repeat(128))));
    assert!(groups[1].as_deref().unwrap().starts_with("sha256:"), "{groups:?}");
}

#[tokio::test(start_paused = true)]
async fn on_fifo_the_group_stays_the_key_whatever_bindings_by_hand_say() {
    let shop = shop(Kind::Fifo, |shop| shop).await;
    let bindings = shop.bindings.clone().fair_topic("orders", Tenant::field("customer"));
    let orders = Emitter::new("orders", AwsPublisher::new(shop.aws.clone(), bindings));
    orders.emit(&placed("o-1", "ann")).await.unwrap();
    assert_eq!(groups(&shop), [some("o-1")]);
}

#[tokio::test(start_paused = true)]
async fn a_tenants_events_are_handled_side_by_side() {
    let tenant = Tenant::field("customer");
    let shop = shop(Kind::Standard, |shop| shop.fair_topic("orders", tenant)).await;
    // Each waits until all five are being handled: none waits for the one before.
    async fn together(all: Arc<Barrier>, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        assert_eq!(order.metadata.group, None);
        all.wait().await;
        Ok(())
    }
    let router = Router::new("products").on(together).with_state(Arc::new(Barrier::new(5)));
    let events: Vec<_> = (0..5).map(|n| placed(&format!("o-{n}"), "ann")).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
    let working = shop.work(router);
    tokio::time::timeout(Duration::from_secs(5), shop.drained()).await.unwrap();
    working.finish().await.unwrap();
}
