//! A system with one of everything, and a look into its template.

use std::collections::BTreeMap;

use fanfare_core::{Delivery, Event, EventType, HandlerError, Router};
use fanfare_topology::{
    Kind, Kinesis, Topology,
    deploy::{Deployment, Function, Template},
};
use serde_json::Value;

macro_rules! events {
    ($($name:ident, $tag:literal, $topic:literal;)*) => { $(
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct $name {}
        impl EventType for $name {
            const TAG: &'static str = $tag;
            const TOPIC: &'static str = $topic;
        }
        impl Event for $name {
            fn key(&self) -> String {
                String::new()
            }
        }
    )* };
}
events! {
    OrderPlaced, "shop.orders.OrderPlaced.v1", "orders";
    Paid, "shop.payments.Paid.v1", "payments";
    Clicked, "shop.clicks.Clicked.v1", "clicks";
    Invoiced, "shop.invoices.Invoiced.v1", "invoices";
}

pub(crate) async fn on<E>(_: Delivery<E>) -> Result<(), HandlerError> {
    Ok(())
}

async fn invoice(_: Delivery<OrderPlaced>) -> Result<Option<Invoiced>, HandlerError> {
    Ok(None)
}

async fn count(_: Delivery<Clicked>) -> Result<Option<Invoiced>, HandlerError> {
    Ok(None)
}

/// Books has two queues, advice a queue and a stream, counts a stream alone; counts has a relay.
pub(crate) fn topology() -> Topology {
    let books: Router = Router::new("books").on(invoice).on(on::<Paid>);
    let advice: Router = Router::new("advice").on(on::<OrderPlaced>).on(on::<Clicked>);
    let counts: Router = Router::new("counts").on(count);
    Topology::new("shop")
        .topic("orders", Kind::Standard)
        .topic("payments", Kind::Fifo)
        .topic("clicks", Kinesis::shards(2))
        .topic("invoices", Kind::Standard)
        .service(&books)
        .service(&advice)
        .service(&counts)
}

pub(crate) fn deployment() -> Deployment {
    let counts = Function::new("counts").publishes("clicks").sends_tasks_to("books");
    Deployment::new(&topology())
        .function("books", Function::new("books").idempotency_table())
        .function("advice", Function::new("advice"))
        .function("counts", Function::new("counts").database())
        .relay("counts", counts.database())
        .migrations(Function::new("migrations").database())
}

/// A service with one handler of a standard topic.
pub(crate) fn tiny() -> Topology {
    let books: Router = Router::new("books").on(on::<OrderPlaced>);
    Topology::new("tiny").topic("orders", Kind::Standard).service(&books)
}

pub(crate) fn resources(template: &Template) -> BTreeMap<String, Value> {
    let resources = template.value()["Resources"].as_object().unwrap();
    resources.iter().map(|(id, resource)| (id.clone(), resource.clone())).collect()
}

/// The properties of all resources of a kind, by id.
pub(crate) fn of_kind(template: &Template, kind: &str) -> BTreeMap<String, Value> {
    let of_kind = resources(template).into_iter().filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(id, resource)| (id, resource["Properties"].clone())).collect()
}

/// Calls `look` with every object in a value.
pub(crate) fn objects(value: &Value, look: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            look(map);
            map.values().for_each(|value| objects(value, look));
        }
        Value::Array(values) => values.iter().for_each(|value| objects(value, look)),
        _ => {}
    }
}
