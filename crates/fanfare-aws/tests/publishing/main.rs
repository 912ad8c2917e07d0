//! What is published through a buffer, to fair queues, and late: on the simulator, and on a publisher that
//! does as it is told, under paused time.
#![allow(clippy::unwrap_used)]

mod below;
mod bounds;
mod delayed;
mod ends;
mod fair;
mod filling;
mod order;
#[path = "../support/mod.rs"]
mod support;

use fanfare_core::{Destination, Message};

/// The `number`-th message, of this key, to the topic of the orders.
fn message(key: &str, number: usize) -> Message {
    to(Destination::Topic("orders".into()), key, number)
}

fn to(destination: Destination, key: &str, number: usize) -> Message {
    let tag = "shop.orders.OrderPlaced.v1";
    let attributes = vec![("type".into(), tag.into())];
    Message::new(destination, number.to_string(), tag, key, attributes, "{}")
}

fn number(message: &Message) -> usize {
    message.id.parse().unwrap()
}
