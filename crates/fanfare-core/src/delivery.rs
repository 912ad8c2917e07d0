//! One received message.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use crate::{Cancellation, Envelope, EventType};

/// Message attributes by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// One message attribute, as SQS and SNS type them, so that it can be passed on as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// Text or a number.
    Text {
        /// `String` or `Number`, maybe with a label of the sender's: `Number.int`.
        data_type: String,
        /// The value as text.
        value: String,
    },
    /// Bytes.
    Binary {
        /// `Binary`, maybe with a label.
        data_type: String,
        /// The bytes.
        value: Vec<u8>,
    },
}

impl Attribute {
    /// A `String` attribute.
    pub fn text(value: impl Into<String>) -> Self {
        Attribute::Text { data_type: "String".into(), value: value.into() }
    }

    /// Its data type.
    #[must_use]
    pub fn data_type(&self) -> &str {
        match self {
            Attribute::Text { data_type, .. } | Attribute::Binary { data_type, .. } => data_type,
        }
    }

    /// Its value, unless it is binary.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Attribute::Text { value, .. } => Some(value),
            Attribute::Binary { .. } => None,
        }
    }

    /// Bytes of its value.
    #[must_use]
    pub fn value_len(&self) -> usize {
        match self {
            Attribute::Text { value, .. } => value.len(),
            Attribute::Binary { value, .. } => value.len(),
        }
    }
}

/// What the transport says of a delivery. It differs at each redelivery; the event's identity is
/// in the [`Envelope`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The transport's own id of the message; a redrive changes it, so never key on it.
    pub message_id: String,
    /// How often this message has been received, this time included: 1 the first time.
    pub attempt: u32,
    /// The ordered group that it belongs to, where the transport keeps order.
    pub group: Option<String>,
    /// When the transport took it.
    pub sent_at: Option<Timestamp>,
    /// Whether a replay made it from an event log: what it tells of happened some time ago.
    pub replayed: bool,
    /// The id of the invocation that brings it, where a platform invokes its host, as Lambda does.
    pub request_id: Option<String>,
    /// The transport's trace context in the form of W3C's `traceparent`. What its handler emits carries
    /// it on, unless the event's own envelope brings one.
    pub traceparent: Option<String>,
}

impl Metadata {
    /// Metadata of a message received for the `attempt`-th time, in no group.
    #[must_use]
    pub fn new(message_id: impl Into<String>, attempt: u32) -> Self {
        Metadata { message_id: message_id.into(), attempt, ..Metadata::default() }
    }

    /// The same, in an ordered group.
    #[must_use]
    pub fn in_group(self, group: impl Into<String>) -> Self {
        Metadata { group: Some(group.into()), ..self }
    }

    /// The same, of a delivery that a replay makes from an event log.
    #[must_use]
    pub fn replayed(self) -> Self {
        Metadata { replayed: true, ..self }
    }
}

/// A message as the transport gave it, before anybody looked inside.
#[derive(Clone)]
#[non_exhaustive]
pub struct RawDelivery {
    /// The body, untouched.
    pub body: String,
    /// Message attributes.
    pub attributes: Attributes,
    /// What the transport says.
    pub metadata: Metadata,
    /// Cancelled by the host when the lease on it is lost.
    pub cancellation: Cancellation,
}

impl RawDelivery {
    /// A delivery without attributes.
    #[must_use]
    pub fn new(body: impl Into<String>, metadata: Metadata) -> Self {
        RawDelivery {
            body: body.into(),
            attributes: Attributes::new(),
            metadata,
            cancellation: Cancellation::default(),
        }
    }

    /// The same delivery with another body and other attributes: what was inside of it.
    pub(crate) fn holding(&self, body: String, attributes: Attributes) -> Self {
        let (metadata, cancellation) = (self.metadata.clone(), self.cancellation.clone());
        RawDelivery { body, attributes, metadata, cancellation }
    }
}

/// Without body and attributes: payloads stay out of logs.
impl fmt::Debug for RawDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawDelivery")
            .field("metadata", &self.metadata)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An event as a handler gets it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery<E> {
    /// The event.
    pub event: E,
    /// Its identity and what led to it.
    pub envelope: Envelope,
    /// What the transport says of this delivery.
    pub metadata: Metadata,
    /// Cancelled when the lease on it is lost: from then on the outcome of its handler counts for
    /// nothing, and another may be handling it.
    pub cancellation: Cancellation,
}

impl<E: EventType> Delivery<E> {
    /// A first delivery of `event` in an envelope of its own: what a unit test of a handler needs.
    ///
    /// ```
    /// # use fanfare_core::{Delivery, EventType, HandlerError};
    /// # #[derive(EventType, serde::Deserialize)]
    /// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
    /// # struct OrderPlaced { quantity: u32 }
    /// # async fn reserve(order: Delivery<OrderPlaced>) -> Result<(), HandlerError> { Ok(()) }
    /// # async fn test() {
    /// let delivery = Delivery::of(OrderPlaced { quantity: 2 });
    /// assert!(reserve(delivery).await.is_ok());
    /// # }
    /// ```
    #[must_use]
    pub fn of(event: E) -> Self {
        Delivery {
            event,
            envelope: Envelope::of::<E>("test"),
            metadata: Metadata::new("test", 1),
            cancellation: Cancellation::default(),
        }
    }
}

impl<E> Delivery<E> {
    /// `event`, which was found in `raw`.
    pub(crate) fn new(event: E, envelope: Envelope, raw: &RawDelivery) -> Self {
        let RawDelivery { metadata, cancellation, .. } = raw;
        let (metadata, cancellation) = (metadata.clone(), cancellation.clone());
        Delivery { event, envelope, metadata, cancellation }
    }
}
