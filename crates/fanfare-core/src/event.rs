//! What makes a struct an event.

use serde::Serialize;

/// A kind of event: its type tag and the topic it travels on. Enough to *handle* it; to publish
/// it, see [`Event`].
///
/// Services do not share a crate of structs: a consumer declares its own, with just the fields
/// it needs, and derives this.
///
/// ```
/// use fanfare_core::EventType;
///
/// #[derive(EventType, serde::Deserialize)]
/// #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// struct OrderPlaced {
///     product_id: String,
///     quantity: u32,
/// }
/// assert_eq!(OrderPlaced::TAG, "shop.orders.OrderPlaced.v1");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event type",
    note = "derive it: #[derive(EventType)] #[event(type = \"shop.orders.OrderPlaced.v1\", topic = \"orders\")]"
)]
pub trait EventType: Send + 'static {
    /// The type tag, such as `shop.orders.OrderPlaced.v1`; its syntax is in [`tag`](crate::tag).
    const TAG: &'static str;
    /// The logical topic. Which SNS topic or stream that is, the topology says.
    const TOPIC: &'static str;
}

/// An event that this service publishes: a fact of the domain, named in the past tense.
///
/// ```
/// use fanfare_core::Event;
///
/// #[derive(Event, serde::Serialize)]
/// #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id, filter(country))]
/// struct OrderPlaced {
///     order_id: String,
///     country: String,
///     quantity: u32,
/// }
/// let event = OrderPlaced { order_id: "o-1".into(), country: "CH".into(), quantity: 2 };
/// assert_eq!(event.key(), "o-1");
/// assert_eq!(event.filters(), [("country", "CH".to_string())]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published: it is no event",
    note = "derive it: #[derive(Event, Serialize)] #[event(type = \"…\", topic = \"…\", key = field)]"
)]
pub trait Event: EventType + Serialize {
    /// What order is kept by: the id of the aggregate that the event is about. It becomes the
    /// FIFO message group, the partition key and the outbox shard.
    fn key(&self) -> String;

    /// Name and value of the fields that subscriptions may filter by: at most 4, because an SNS
    /// filter policy has 5 keys and the type tag is one of them.
    fn filters(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
