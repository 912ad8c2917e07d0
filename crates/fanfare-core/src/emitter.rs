//! The typed front of a publisher.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    Context, Destination, DynPublisher, EncodeError, Event, IntoEvents, Message, PendingEvent,
    PublishError, PublishReport, Publisher,
};

/// Publishes a service's events: gives each its id, time and [`Context`], and hands it to a
/// [`Publisher`]. Cheap to clone.
///
/// ```
/// # use fanfare_core::{Emitter, EmitError, Event, Publisher};
/// # #[derive(Event, serde::Serialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
/// # struct OrderPlaced { order_id: String }
/// # async fn example(publisher: impl Publisher + 'static) -> Result<(), EmitError> {
/// let orders = Emitter::new("orders", publisher);
/// let id = orders.emit(&OrderPlaced { order_id: "o-1".into() }).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Emitter {
    source: Arc<str>,
    publisher: Arc<dyn DynPublisher>,
}

/// An event was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// It could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It could not be sent.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl EmitError {
    /// Whether emitting the same event later may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, EmitError::Publish(error) if error.is_retryable())
    }
}

impl Emitter {
    /// An emitter for `service`, whose name becomes the events' `source`.
    pub fn new(service: impl Into<Arc<str>>, publisher: impl Publisher + 'static) -> Self {
        Emitter { source: service.into(), publisher: Arc::new(publisher) }
    }

    /// Publishes one event to its topic and gives its id.
    ///
    /// # Errors
    /// [`EmitError`] if it could not be written, or was not accepted after the publisher's retries.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<String, EmitError> {
        self.one(PendingEvent::new(event, Destination::Topic(E::TOPIC.into()))?).await
    }

    /// Sends a task to the queue of one service, point to point, and gives its id.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn send<E: Event>(&self, service: &str, task: &E) -> Result<String, EmitError> {
        self.one(PendingEvent::new(task, Destination::Queue(service.into()))?).await
    }

    /// [`send`](Self::send), to be seen by its receiver after `delay`: see
    /// [`Task::after`](crate::Task::after).
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`PublishError::Undelayable`] where SQS allows no such delay.
    pub async fn send_after<E: Event>(
        &self,
        service: &str,
        task: &E,
        delay: Duration,
    ) -> Result<String, EmitError> {
        self.one(PendingEvent::new(task, Destination::Queue(service.into()))?.after(delay)).await
    }

    /// Publishes many events in as few requests as their destinations allow.
    ///
    /// # Errors
    /// [`EncodeError`] if one cannot be written; then none is sent. What became of each one that
    /// was sent is in the report.
    pub async fn emit_all(&self, events: impl IntoEvents) -> Result<PublishReport, EncodeError> {
        let sealed = seal(&self.source, events)?;
        Ok(self.publisher.publish_boxed(&sealed).await)
    }

    async fn one(&self, pending: PendingEvent) -> Result<String, EmitError> {
        let message = seal_one(&self.source, pending)?;
        self.publisher.publish_boxed(std::slice::from_ref(&message)).await.into_result()?;
        Ok(message.id)
    }
}

/// Puts events of `service` into their envelopes: gives each an id, the time and the [`Context`] in
/// force. From here on their bytes are fixed, whoever publishes them, and however often.
///
/// # Errors
/// [`EncodeError`] if one cannot be written.
pub fn seal(service: &str, events: impl IntoEvents) -> Result<Vec<Message>, EncodeError> {
    let mut pending = Vec::new();
    events.append_to(&mut pending)?;
    pending.into_iter().map(|event| seal_one(service, event)).collect()
}

/// [`seal`] for one event of which only a reference is at hand, for its topic.
///
/// # Errors
/// [`EncodeError`] if it cannot be written.
pub fn seal_event<E: Event>(service: &str, event: &E) -> Result<Message, EncodeError> {
    seal_one(service, PendingEvent::new(event, Destination::Topic(E::TOPIC.into()))?)
}

fn seal_one(service: &str, pending: PendingEvent) -> Result<Message, EncodeError> {
    pending.seal(Uuid::now_v7(), service, Context::current().traced())
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emitter").field("source", &self.source).finish_non_exhaustive()
    }
}
