//! Messages of other systems: in, to a handler, and out.
#![allow(clippy::unwrap_used)]

mod golden;
mod hostile;
mod outward;
mod policies;
mod publisher;
mod round_trip;
#[path = "../support/mod.rs"]
mod support;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use fanfare_core::{
    Attribute, Consumer, Delivery, Destination, Envelope, Event, EventType, HandlerError, Message,
    Metadata, Outcome, RawDelivery, Router,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::Bench;

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
struct OrderPlaced {
    order_id: String,
    quantity: u32,
}

fn order() -> OrderPlaced {
    OrderPlaced { order_id: "o-1".into(), quantity: 2 }
}

/// What the handler got.
type Seen = Arc<Mutex<Vec<(Envelope, OrderPlaced)>>>;

async fn note(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    seen.lock().unwrap().push((order.envelope, order.event));
    Ok(())
}

/// A consumer with a handler, and what that got.
fn shop() -> (Consumer, Seen) {
    let seen = Seen::default();
    (Router::new("shop").on(note).with_state(seen.clone()), seen)
}

/// Handles one delivery.
async fn handle(consumer: Consumer, delivery: RawDelivery) -> Outcome {
    Bench::new().run(consumer, vec![delivery]).await.remove(0)
}

fn delivery(body: &str, attributes: &[(&str, &str)]) -> RawDelivery {
    let mut delivery = RawDelivery::new(body, Metadata::new("message-1", 1));
    let attributes =
        attributes.iter().map(|(name, value)| ((*name).into(), Attribute::text(*value)));
    delivery.attributes.extend(attributes);
    delivery
}

/// A file of `tests/golden/translate`.
fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

const ID: &str = "0192f0c1-2b3c-7d4e-8f50-123456789abc";

/// Our own envelope around an order.
fn ours() -> Value {
    json!({
        "specversion": "1.0", "id": ID, "source": "orders", "type": OrderPlaced::TAG,
        "time": "2026-11-20T10:00:00.123456Z", "partitionkey": "o-1", "correlationid": "c-1",
        "causationid": "cause-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "hops": 3,
        "data": order(),
    })
}

/// An order on its way to the queue of `legacy`.
fn task() -> Message {
    let attributes = vec![("type".to_string(), OrderPlaced::TAG.to_string())];
    let to = Destination::Queue("legacy".into());
    Message::new(to, ID, OrderPlaced::TAG, "o-1", attributes, ours().to_string())
}
