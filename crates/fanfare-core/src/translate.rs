//! An anti-corruption layer: what other systems write, in and out of their formats at the edge, so that
//! handlers know events alone.
//!
//! | what comes, or is to go out | by |
//! |---|---|
//! | CloudEvents with other type tags, or with `data` as a string | [`format::CloudEvents`] |
//! | Jackson's `{"@class":"com.x.Foo",…}` or `["com.x.Foo",{…}]` | [`format::JacksonProperty`], [`format::JacksonArray`] |
//! | Spring's attribute `JavaType` | [`format::JavaType`] |
//! | MassTransit's envelope | [`format::MassTransit`] |
//! | NServiceBus' headers and body | [`format::NServiceBus`] |
//! | EventBridge's `detail-type` and `detail` | [`format::EventBridge`] |
//! | JSON with its type in an attribute | [`format::PlainJson`] |
//! | any of them, or our own envelope, in a notification of SNS | [`SnsNotification`] |
//!
//! A [`Translation`] is one of these formats and an allow-list: which foreign type tag is which event
//! type. What is not on the list is an unknown tag, whatever the message says; nothing is ever looked up
//! by a name that came in a message. Translators are a consumer's own
//! ([`Consumer::translator`](crate::Consumer::translator)), and so they hold for one service's queue. They
//! are tried in their order; what none recognises is read as fanfare's own envelope.
//!
//! Here a `SubmitOrder` of MassTransit comes in as the shop's `OrderPlaced`:
//!
//! ```
//! use fanfare_core::{
//!     Consumer, Delivery, EventType, HandlerError, Router,
//!     translate::{Translation, format::MassTransit},
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(EventType, Serialize, Deserialize)]
//! #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
//! struct OrderPlaced { order_id: String, quantity: u32 }
//!
//! /// As the other side has it.
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct SubmitOrder { order_id: String, lines: Vec<Line> }
//! #[derive(Deserialize)]
//! struct Line { quantity: u32 }
//!
//! fn placed(order: SubmitOrder) -> Result<OrderPlaced, &'static str> {
//!     let quantity = order.lines.iter().map(|line| line.quantity).sum();
//!     if quantity == 0 {
//!         return Err("an order of nothing");
//!     }
//!     Ok(OrderPlaced { order_id: order.order_id, quantity })
//! }
//!
//! async fn reserve(order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
//!     println!("{} of {}", order.event.quantity, order.event.order_id);
//!     Ok(())
//! }
//!
//! let router: Router = Router::new("warehouse").on(reserve);
//! let consumer = Consumer::from(router).translator(
//!     Translation::of(MassTransit).map_inward("urn:message:Company.Project:SubmitOrder", placed),
//! );
//! # use fanfare_core::{BoxFuture, DeadLetter, DeadLetterError, DynDeadLetters, Metadata, Outcome, RawDelivery};
//! # use futures_util::StreamExt;
//! # struct None; // nothing is refused here
//! # impl DynDeadLetters for None {
//! #     fn put_boxed<'a>(&'a self, _: DeadLetter<'a>) -> BoxFuture<'a, Result<(), DeadLetterError>> {
//! #         Box::pin(async { panic!("nothing is refused") })
//! #     }
//! # }
//! # let outcomes: Vec<_> = futures_util::FutureExt::now_or_never(async {
//! let body = r#"{
//!     "messageId": "181c0000-6393-3630-36a4-08daf4e7c6da",
//!     "messageType": ["urn:message:Company.Project:SubmitOrder"],
//!     "message": { "orderId": "o-1", "lines": [{ "quantity": 2 }, { "quantity": 1 }] }
//! }"#;
//! # let delivery = RawDelivery::new(body, Metadata::new("m", 1));
//! # consumer.process(vec![delivery], 1, &None, &|| true).collect::<Vec<_>>().await }).unwrap();
//! # assert_eq!(outcomes, [(0, Outcome::Handled { published: 0 })]);
//! ```
//!
//! # Outward
//!
//! The same translator puts an event into the foreign format: [`TranslatingPublisher`] does so for the
//! destinations that it is told, such as the queue of one old service, while a topic keeps ours. Where
//! events go through an outbox, that is the relay's publisher.
//!
//! # Identity
//!
//! An event's source and id must be the same at each redelivery and after a redrive: the inbox goes by
//! them. So the id is, whatever is there first: the one in the message's own content; the attribute that
//! [`Translation::id_attribute`] names; the `MessageId` of the SNS notification around it, with its topic
//! as source; and else a SHA-256 of its type and body, so that *two equal messages are one event then*.
//! It is never the id that SQS gives, as that changes with a redrive.

mod allow_list;
mod conversion;
mod error;
mod fields;
mod foreign;
pub mod format;
mod notification;
mod publisher;
mod translation;

pub use error::TranslateError;
pub use foreign::{Foreign, Format, Tag, Written};
pub use notification::SnsNotification;
pub use publisher::TranslatingPublisher;
pub use translation::Translation;

use std::{fmt, sync::Arc};

use serde_json::value::RawValue;

use crate::{Envelope, Message, RawDelivery};

/// Takes messages of another system in, and puts events into its format.
///
/// Contract: it depends on the message alone, so that a redelivery gives the same event; what it says in
/// errors names fields and types, never values. It runs between deliveries: no I/O.
pub trait Translator: Send + Sync {
    /// What a message holds; `None` if it is not for this translator, which it should find out fast: it
    /// is asked about messages of our own, too.
    ///
    /// # Errors
    /// [`TranslateError::UnknownTag`] is handled as an unknown tag, all others as undecodable.
    fn inward(&self, delivery: &RawDelivery) -> Result<Option<Inward>, TranslateError>;

    /// The message with body and attributes as the other system reads them. Destination, id, tag and key
    /// stay: order and deduplication go by them.
    ///
    /// # Errors
    /// [`TranslateError`] if it cannot be said in the foreign format; it is not sent then.
    fn outward(&self, message: Message) -> Result<Message, TranslateError>;
}

/// One translator for several consumers or publishers.
impl<T: Translator + ?Sized> Translator for Arc<T> {
    fn inward(&self, delivery: &RawDelivery) -> Result<Option<Inward>, TranslateError> {
        (**self).inward(delivery)
    }

    fn outward(&self, message: Message) -> Result<Message, TranslateError> {
        (**self).outward(message)
    }
}

/// What a translator found in a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Inward {
    /// An event.
    Event(Translated),
    /// Something was around it that is off now. The translators behind this one go on with it; if none
    /// recognises it, it is read as ours.
    Unwrapped(RawDelivery),
}

/// A foreign message as an event of ours.
#[derive(Clone)]
#[non_exhaustive]
pub struct Translated {
    /// Its identity and what led to it.
    pub envelope: Envelope,
    /// The event, as its handler's type reads it.
    pub data: Box<RawValue>,
}

impl Translated {
    /// An event of this envelope and data.
    #[must_use]
    pub fn new(envelope: Envelope, data: Box<RawValue>) -> Self {
        Translated { envelope, data }
    }
}

/// Without data: payloads stay out of logs.
impl fmt::Debug for Translated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translated")
            .field("envelope", &self.envelope)
            .field("bytes", &self.data.get().len())
            .finish_non_exhaustive()
    }
}
