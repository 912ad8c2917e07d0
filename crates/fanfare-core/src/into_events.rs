//! What a handler returns: nothing, one event, several, of different types.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use jiff::Timestamp;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Context, Destination, Envelope, Event, Message, envelope::encode, message::TYPE_ATTRIBUTE,
};

/// An event could not be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Its `Serialize` failed.
    #[error("{tag} could not be serialized: {problem}")]
    Serialize {
        /// The event's type tag.
        tag: &'static str,
        /// What its serializer said.
        problem: String,
    },
    /// It serializes to something else than a JSON object, which CloudEvents data has to be here.
    #[error("{tag} does not serialize to a JSON object: make it a struct with named fields")]
    NotAnObject {
        /// The event's type tag.
        tag: &'static str,
    },
    /// The emitter or router has an empty name, and so its events have no source.
    #[error("{tag} has no source: give the emitter or router the name of its service")]
    NoSource {
        /// The event's type tag.
        tag: &'static str,
    },
}

/// What can be published together: a handler's return value, or the argument of
/// [`Emitter::emit_all`](crate::Emitter::emit_all).
///
/// A handler that is run again for the same event should return the same events: their ids are
/// derived from the handled event and from what they are, so that a repeated publish is
/// recognised.
///
/// Implemented for `()`, an [`Event`], a [`Task`], and for options, vectors, arrays and tuples of
/// these, nested as needed:
///
/// ```
/// use fanfare_core::{Delivery, Event, EventType, HandlerError, IntoEvents};
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced { product_id: String }
/// # #[derive(Event, serde::Serialize)]
/// # #[event(type = "shop.products.StockReduced.v1", topic = "products", key = product_id)]
/// # struct StockReduced { product_id: String }
/// # #[derive(Event, serde::Serialize)]
/// # #[event(type = "shop.products.SoldOut.v1", topic = "products", key = product_id)]
/// # struct SoldOut { product_id: String }
///
/// async fn reduce_stock(order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
///     let product_id = order.event.product_id;
///     let sold_out = Some(SoldOut { product_id: product_id.clone() });
///     Ok((StockReduced { product_id }, sold_out))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published as events",
    note = "return `()`, an event, a Task, or an Option, Vec, array or tuple of these"
)]
pub trait IntoEvents: Send {
    /// Whether this is sure to hold no event, so that its handler needs no publisher.
    const NEVER: bool = false;

    /// Adds the topics that its events may go to, so that a topology can tell whether they exist.
    fn add_topics(topics: &mut Vec<&'static str>);

    /// Adds the events to `events`, in order.
    ///
    /// # Errors
    /// [`EncodeError`] for the first that cannot be written as JSON.
    fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError>;
}

impl IntoEvents for () {
    const NEVER: bool = true;

    fn add_topics(_: &mut Vec<&'static str>) {}

    fn append_to(self, _: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl<E: Event> IntoEvents for E {
    fn add_topics(topics: &mut Vec<&'static str>) {
        topics.push(E::TOPIC);
    }

    fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
        events.push(PendingEvent::new(&self, Destination::Topic(E::TOPIC.into()))?);
        Ok(())
    }
}

/// A message for one receiver: sent to one service's queue, not to a topic.
#[derive(Debug, Clone)]
pub struct Task<E> {
    service: Cow<'static, str>,
    event: E,
    delay: Duration,
}

impl<E: Event> Task<E> {
    /// `event`, for `service` alone.
    pub fn to(service: impl Into<Cow<'static, str>>, event: E) -> Self {
        Task { service: service.into(), event, delay: Duration::ZERO }
    }

    /// Its receiver does not see it before `delay` is over, counted from when the queue accepted it:
    /// a task that waits in an outbox, or that is sent again, waits for longer.
    ///
    /// SQS takes whole seconds, which `delay` is rounded up to, at most 900 (15 minutes), and delays
    /// single messages on standard queues only. Else publishing it fails with
    /// [`PublishError::Undelayable`](crate::PublishError::Undelayable), and nothing is sent.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-timers.html>
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fanfare_core::{Delivery, Event, EventType, HandlerError, IntoEvents, Task};
    /// # #[derive(EventType, serde::Deserialize)]
    /// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
    /// # struct OrderPlaced { order_id: String }
    /// # #[derive(Event, serde::Serialize)]
    /// # #[event(type = "shop.billing.Remind.v1", topic = "billing", key = order_id)]
    /// # struct Remind { order_id: String }
    /// async fn remind_later(order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
    ///     let reminder = Remind { order_id: order.event.order_id };
    ///     Ok(Task::to("billing", reminder).after(Duration::from_secs(600)))
    /// }
    /// ```
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Task { delay, ..self }
    }
}

impl<E: Event> IntoEvents for Task<E> {
    fn add_topics(_: &mut Vec<&'static str>) {}

    fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
        let pending = PendingEvent::new(&self.event, Destination::Queue(self.service.into()))?;
        events.push(pending.after(self.delay));
        Ok(())
    }
}

impl<T: IntoEvents> IntoEvents for Option<T> {
    const NEVER: bool = T::NEVER;

    fn add_topics(topics: &mut Vec<&'static str>) {
        T::add_topics(topics);
    }

    fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
        self.map_or(Ok(()), |event| event.append_to(events))
    }
}

impl<T: IntoEvents> IntoEvents for Vec<T> {
    const NEVER: bool = T::NEVER;

    fn add_topics(topics: &mut Vec<&'static str>) {
        T::add_topics(topics);
    }

    fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
        self.into_iter().try_for_each(|event| event.append_to(events))
    }
}

impl<T: IntoEvents, const N: usize> IntoEvents for [T; N] {
    const NEVER: bool = T::NEVER;

    fn add_topics(topics: &mut Vec<&'static str>) {
        T::add_topics(topics);
    }

    fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
        self.into_iter().try_for_each(|event| event.append_to(events))
    }
}

macro_rules! tuples {
    ($(($($name:ident),+))+) => {$(
        impl<$($name: IntoEvents),+> IntoEvents for ($($name,)+) {
            const NEVER: bool = $($name::NEVER)&&+;

            fn add_topics(topics: &mut Vec<&'static str>) {
                $($name::add_topics(topics);)+
            }

            #[allow(non_snake_case)]
            fn append_to(self, events: &mut Vec<PendingEvent>) -> Result<(), EncodeError> {
                let ($($name,)+) = self;
                $($name.append_to(events)?;)+
                Ok(())
            }
        }
    )+};
}
tuples! { (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, F) }

/// An event that is written but not yet put into an envelope.
#[derive(Debug, Clone)]
pub struct PendingEvent {
    destination: Destination,
    tag: &'static str,
    key: String,
    filters: Vec<(&'static str, String)>,
    data: Box<RawValue>,
    delay: Option<Duration>,
}

impl PendingEvent {
    /// Writes `event` for `destination`.
    ///
    /// # Errors
    /// [`EncodeError`] if it is not a JSON object.
    pub fn new<E: Event>(event: &E, destination: Destination) -> Result<Self, EncodeError> {
        const { assert!(crate::tag::is_valid(E::TAG), "the event's type tag is malformed") };
        let data = serde_json::value::to_raw_value(event)
            .map_err(|e| EncodeError::Serialize { tag: E::TAG, problem: e.to_string() })?;
        if !data.get().starts_with('{') {
            return Err(EncodeError::NotAnObject { tag: E::TAG });
        }
        let (key, filters) = (event.key(), event.filters());
        Ok(PendingEvent { destination, tag: E::TAG, key, filters, data, delay: None })
    }

    /// To be seen after `delay`.
    pub(crate) fn after(self, delay: Duration) -> Self {
        PendingEvent { delay: (!delay.is_zero()).then_some(delay), ..self }
    }

    /// Seals the event: from here on its bytes are fixed, so that every retry sends the same.
    pub(crate) fn seal(
        self,
        id: Uuid,
        source: &str,
        context: Context,
    ) -> Result<Message, EncodeError> {
        if source.is_empty() {
            return Err(EncodeError::NoSource { tag: self.tag });
        }
        let id = id.to_string();
        let envelope = Envelope {
            context: Context {
                correlation_id: Some(context.correlation_id.unwrap_or_else(|| id.clone())),
                ..context
            },
            id,
            source: source.into(),
            tag: self.tag.into(),
            time: Some(Timestamp::now()),
            key: Some(self.key),
        };
        let body = encode(&envelope, &self.data)
            .map_err(|e| EncodeError::Serialize { tag: self.tag, problem: e.to_string() })?;
        let mut attributes = vec![(TYPE_ATTRIBUTE.to_string(), self.tag.to_string())];
        attributes.extend(self.filters.into_iter().map(|(name, value)| (name.into(), value)));
        Ok(Message {
            destination: self.destination,
            key: envelope.key.unwrap_or_default(),
            id: envelope.id,
            tag: envelope.tag,
            attributes,
            body,
            delay: self.delay,
            offloaded: None,
        })
    }
}

/// The ids of the events that a handler returned: the same at each retry, so that a second publish
/// is recognised as the first, and others where a retried handler answers otherwise.
pub(crate) struct DerivedIds {
    /// Of the handled event and the consumer.
    hash: Sha256,
    /// How often an event of a destination, tag and key came.
    seen: HashMap<(Destination, &'static str, String), u64>,
}

impl DerivedIds {
    /// For what follows from the event with this source and id.
    pub(crate) fn new((source, id): (&str, &str), consumer: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [source, id, consumer] {
            absorb(&mut hash, part);
        }
        DerivedIds { hash, seen: HashMap::new() }
    }

    pub(crate) fn next(&mut self, event: &PendingEvent) -> Uuid {
        let what = (event.destination.clone(), event.tag, event.key.clone());
        let mut hash = self.hash.clone();
        for part in [&what.0.to_string(), what.1, &what.2] {
            absorb(&mut hash, part);
        }
        let occurrence = self.seen.entry(what).or_default();
        hash.update(occurrence.to_be_bytes());
        *occurrence += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Uuid::new_v8(bytes)
    }
}

/// The length keeps ("ab", "c") and ("a", "bc") apart.
fn absorb(hash: &mut Sha256, part: &str) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}
