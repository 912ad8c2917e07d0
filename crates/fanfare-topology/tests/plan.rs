//! From routers to what has to exist on AWS.
#![allow(clippy::unwrap_used)]

use fanfare_core::{Delivery, Event, EventType, HandlerError, Router};
use fanfare_topology::{Bindings, Kind, Topology, TopologyError};

macro_rules! event {
    ($name:ident, $tag:literal, $topic:literal) => {
        struct $name;
        impl EventType for $name {
            const TAG: &'static str = $tag;
            const TOPIC: &'static str = $topic;
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Ok($name)
            }
        }
    };
}
event!(OrderPlaced, "shop.orders.OrderPlaced.v1", "orders");
event!(OrderPlacedV2, "shop.orders.OrderPlaced.v2", "orders");
event!(OrderCancelled, "shop.orders.OrderCancelled.v1", "orders");
event!(Paid, "shop.payments.Paid.v1", "payments");

event!(Invoiced, "shop.invoices.Invoiced.v1", "invoices");

impl Event for Invoiced {
    fn key(&self) -> String {
        String::new()
    }
}

impl serde::Serialize for Invoiced {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_struct("Invoiced")
    }
}

async fn on<E>(_: Delivery<E>) -> Result<(), HandlerError> {
    Ok(())
}

fn shop() -> Topology {
    let delivery: Router = Router::new("delivery")
        .on(on::<OrderPlaced>)
        .on(on::<OrderCancelled>)
        .on(on::<OrderPlacedV2>)
        .on(on::<Paid>);
    let books: Router = Router::new("books").on(on::<Paid>);
    let silent: Router = Router::new("silent");
    Topology::new("shop")
        .topic("orders", Kind::Standard)
        .topic("payments", Kind::Fifo)
        .service(&delivery)
        .service(&books)
        .service(&silent)
}

#[test]
fn a_service_has_one_queue_for_each_kind_of_topic_that_it_listens_to() {
    let plan = shop().plan().unwrap();
    let queues: Vec<_> =
        plan.queues.iter().map(|q| (q.name.as_str(), q.dead_letter_name.as_str())).collect();
    assert_eq!(
        queues,
        [
            ("shop-books.fifo", "shop-books-dlq.fifo"),
            ("shop-delivery", "shop-delivery-dlq"),
            ("shop-delivery.fifo", "shop-delivery-dlq.fifo"),
        ]
    );
    let topics: Vec<_> = plan.topics.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(topics, ["shop-orders", "shop-payments.fifo"]);
}

#[test]
fn a_filter_policy_names_what_is_handled_without_versions_and_in_a_stable_order() {
    let plan = shop().plan().unwrap();
    let orders = plan.subscriptions.iter().find(|s| s.topic_name == "shop-orders").unwrap();
    assert_eq!(orders.queue_name, "shop-delivery");
    assert_eq!(
        orders.filter_policy(),
        r#"{"type":[{"prefix":"shop.orders.OrderCancelled.v"},{"prefix":"shop.orders.OrderPlaced.v"}]}"#
    );
}

#[test]
fn tasks_go_to_the_fifo_queue_of_a_service_that_has_no_other() {
    let bindings = shop().bindings();
    assert_eq!(bindings.task_kind("books"), Kind::Fifo);
    assert_eq!(bindings.task_kind("delivery"), Kind::Standard);
    assert_eq!(bindings.task_kind("unheard-of"), Kind::Standard);
}

#[test]
fn bindings_by_hand_are_as_good_as_the_topologys() {
    let by_hand = Bindings::new("shop")
        .topic("orders", Kind::Standard)
        .topic("payments", Kind::Fifo)
        .fifo_service("books");
    assert_eq!(by_hand, shop().bindings());
}

#[test]
fn a_handler_that_publishes_to_an_undeclared_topic_is_found_before_it_runs() {
    async fn answer(_: Delivery<OrderPlaced>) -> Result<Option<Invoiced>, HandlerError> {
        Ok(None)
    }
    let invoices: Router = Router::new("invoices").on(answer);
    let topology = Topology::new("shop").topic("orders", Kind::Standard).service(&invoices);
    let error = topology.plan().unwrap_err();
    let expected = TopologyError::UnknownTarget { service: "invoices".into(), topic: "invoices" };
    assert_eq!(error, expected);
    assert!(topology.topic("invoices", Kind::Standard).plan().is_ok());
}

#[test]
fn mistakes_are_named() {
    let router: Router = Router::new("delivery").on(on::<OrderPlaced>);
    let error = Topology::new("shop").service(&router).plan().unwrap_err();
    assert!(matches!(error, TopologyError::UnknownTopic { topic: "orders", .. }));
    let spaced: Router = Router::new("de livery").on(on::<OrderPlaced>);
    let error = Topology::new("shop").topic("orders", Kind::Standard).service(&spaced).plan();
    assert_eq!(error.unwrap_err(), TopologyError::BadName { name: "shop-de livery".into() });
    let long: Router = Router::new("x".repeat(80)).on(on::<OrderPlaced>);
    let error = Topology::new("shop").topic("orders", Kind::Standard).service(&long).plan();
    assert!(matches!(error, Err(TopologyError::BadName { .. })));
}
