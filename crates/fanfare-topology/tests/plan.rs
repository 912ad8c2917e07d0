//! From routers to what has to exist on AWS.
#![allow(clippy::unwrap_used)]

use fanfare_core::{Delivery, Event, EventType, HandlerError, Router};
use fanfare_topology::{Binding, Bindings, Kind, Kinesis, Tenant, Topology, TopologyError};

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

/// Delivery listens to orders, which are on a stream, and to payments, which are not; products only to
/// orders, books only to payments.
fn mixed(payments: Kind) -> Topology {
    let delivery: Router = Router::new("delivery").on(on::<OrderPlaced>).on(on::<Paid>);
    let products: Router = Router::new("products").on(on::<OrderPlaced>).on(on::<OrderCancelled>);
    let books: Router = Router::new("books").on(on::<Paid>);
    Topology::new("shop")
        .topic("orders", Kinesis::shards(2).aggregated().retention_hours(48))
        .topic("payments", payments)
        .service(&delivery)
        .service(&products)
        .service(&books)
}

#[test]
fn a_topic_on_kinesis_is_a_stream_that_services_read_without_a_queue() {
    let plan = mixed(Kind::Standard).plan().unwrap();
    let topics: Vec<_> = plan.topics.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(topics, ["shop-payments"]);
    let [orders] = &plan.streams[..] else { panic!("{:?}", plan.streams) };
    assert_eq!((orders.topic.as_str(), orders.name.as_str()), ("orders", "shop-orders"));
    assert_eq!(orders.settings.shard_count(), Some(2));
    assert!(orders.settings.is_aggregated());
    assert_eq!(orders.settings.retention(), 48);
    let readers: Vec<_> =
        plan.readers.iter().map(|r| (r.service.as_str(), r.stream_name.as_str())).collect();
    assert_eq!(readers, [("delivery", "shop-orders"), ("products", "shop-orders")]);
    let queues: Vec<_> = plan.queues.iter().map(|q| q.name.as_str()).collect();
    assert_eq!(queues, ["shop-books", "shop-delivery"]);
    assert!(plan.subscriptions.iter().all(|s| s.topic_name == "shop-payments"));
}

#[test]
fn who_has_no_standard_queue_still_has_a_standard_dead_letter_queue_for_its_streams() {
    let dead_letter_queues = |payments| -> Vec<_> {
        let plan = mixed(payments).plan().unwrap();
        plan.dead_letter_queues.into_iter().map(|queue| (queue.service, queue.name)).collect()
    };
    let of = |service: &str| (service.to_string(), format!("shop-{service}-dlq"));
    // Delivery's standard queue has one already, and shares it.
    assert_eq!(dead_letter_queues(Kind::Standard), [of("products")]);
    assert_eq!(dead_letter_queues(Kind::Fifo), [of("delivery"), of("products")]);
}

#[test]
fn a_service_knows_which_of_its_topics_come_by_queue_and_which_by_stream() {
    let topology = mixed(Kind::Fifo);
    let of = |service| {
        let streams: Vec<_> = topology.streams(service).into_iter().collect();
        (topology.kinds(service).into_iter().collect::<Vec<_>>(), streams)
    };
    assert_eq!(of("delivery"), (vec![Kind::Fifo], vec!["orders"]));
    assert_eq!(of("products"), (vec![], vec!["orders"]));
    assert_eq!(of("books"), (vec![Kind::Fifo], vec![]));
    assert_eq!(of("unheard-of"), (vec![], vec![]));
}

#[test]
fn bindings_by_hand_know_streams_too() {
    let orders = Kinesis::on_demand().aggregated();
    let bindings = Bindings::new("shop").topic("orders", orders);
    assert_eq!(bindings.binding("orders"), Binding::Kinesis(orders));
    assert_eq!(bindings.topic_name("orders"), "shop-orders");
    assert_eq!(bindings.binding("unheard-of"), Binding::Sns(Kind::Standard));
    assert_eq!(Topology::new("shop").topic("orders", orders).bindings(), bindings);
}

#[test]
fn functions_and_the_idempotency_table_are_named_like_everything_else() {
    let bindings = Bindings::new("shop");
    assert_eq!(bindings.function_name("products"), "shop-products");
    assert_eq!(bindings.relay_function_name("orders"), "shop-orders-relay");
    assert_eq!(bindings.migrations_function_name(), "shop-migrations");
    assert_eq!(bindings.idempotency_table_name(), "shop-idempotency");
}

#[test]
fn a_streams_settings_stay_within_what_kinesis_takes() {
    assert_eq!(Kinesis::on_demand().shard_count(), None);
    assert_eq!(Kinesis::on_demand().retention(), 24);
    assert_eq!(Kinesis::shards(0).shard_count(), Some(1));
    assert_eq!(Kinesis::on_demand().retention_hours(1).retention(), 24);
    assert_eq!(Kinesis::on_demand().retention_hours(8_761).retention(), 8_760);
}

#[test]
fn streams_have_longer_names_than_queues_and_may_have_dots_in_them() {
    let stream = |topic: &str| Topology::new("shop").topic(topic, Kinesis::on_demand()).plan();
    let longest = "x".repeat(128 - "shop-".len());
    assert_eq!(stream(&longest).unwrap().streams[0].name.len(), 128);
    assert!(stream("orders.v2").is_ok());
    for bad in [longest + "x", "or ders".into(), "Überweisungen".into()] {
        let name = format!("shop-{bad}");
        assert_eq!(stream(&bad).unwrap_err(), TopologyError::BadStreamName { name });
    }
}

#[test]
fn the_topics_and_names_of_services_that_read_streams_are_checked_too() {
    let undeclared: Router = Router::new("products").on(on::<OrderPlaced>).on(on::<Paid>);
    let error = Topology::new("shop").topic("orders", Kinesis::on_demand()).service(&undeclared);
    let error = error.plan().unwrap_err();
    assert!(matches!(error, TopologyError::UnknownTopic { topic: "payments", .. }));
    // Its dead-letter queue's name is a queue's name.
    let long: Router = Router::new("x".repeat(72)).on(on::<OrderPlaced>);
    let error = Topology::new("shop").topic("orders", Kinesis::on_demand()).service(&long);
    assert!(matches!(error.plan(), Err(TopologyError::BadName { .. })));
}

#[test]
fn a_fair_topic_and_fair_tasks_have_a_tenant_and_all_others_none() {
    let topology =
        shop().fair_topic("orders", Tenant::field("customer")).fair_tasks("delivery", Tenant::Key);
    assert!(topology.plan().is_ok());
    let bindings = topology.bindings();
    assert_eq!(bindings.topic_tenant("orders"), Some(&Tenant::Field("customer".into())));
    assert_eq!(bindings.task_tenant("delivery"), Some(&Tenant::Key));
    assert_eq!((bindings.topic_tenant("payments"), bindings.task_tenant("books")), (None, None));
}

#[test]
fn only_what_is_standard_can_be_fair() {
    let topic = |topology: Topology, topic: &str| topology.fair_topic(topic, Tenant::Key).plan();
    let text = |plan: Result<_, TopologyError>| plan.map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        text(topic(shop(), "payments")),
        "topic `payments` cannot be fair, it is a FIFO topic: fair queues are standard ones, declare it as Kind::Standard, or leave .fair_topic(\"payments\", …) out"
    );
    assert!(text(topic(mixed(Kind::Standard), "orders")).contains("it is a stream"));
    assert!(text(topic(shop(), "unheard-of")).contains("it is not declared"));
    // Only a FIFO queue, no queue at all, no service.
    for service in ["books", "silent", "unheard-of"] {
        let error = shop().fair_tasks(service, Tenant::Key).plan().unwrap_err();
        assert_eq!(error, TopologyError::UnfairTasks { service: service.into() });
    }
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
