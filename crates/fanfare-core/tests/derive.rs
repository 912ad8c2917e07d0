//! What the derives accept, and how they refuse.

use fanfare_core::{Event, EventType, tag};
use serde::Serialize;

#[derive(Event, Serialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id, filter(country, r#in))]
struct OrderPlaced {
    order_id: u64,
    country: &'static str,
    r#in: bool,
}

#[derive(EventType)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
#[allow(dead_code)]
struct Tolerant {
    country: String,
}

#[test]
fn an_event_has_its_tag_topic_key_and_filter_fields() {
    let event = OrderPlaced { order_id: 7, country: "CH", r#in: true };
    assert_eq!((OrderPlaced::TAG, OrderPlaced::TOPIC), (Tolerant::TAG, Tolerant::TOPIC));
    assert!(tag::is_valid(OrderPlaced::TAG));
    assert_eq!(event.key(), "7");
    assert_eq!(event.filters(), [("country", "CH".to_string()), ("in", "true".to_string())]);
}

#[test]
fn mistakes_get_errors_that_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
