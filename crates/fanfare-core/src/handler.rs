//! What a service writes: functions from an event to what follows from it.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::de::DeserializeOwned;

use crate::{BoxError, Delivery, EventType, IntoEvents};

/// Something that handles one type of event, registered with [`Router::on`](crate::Router::on).
///
/// Implemented for async functions of the shapes
///
/// ```
/// # use fanfare_core::{Delivery, EventType, HandlerError, IntoEvents};
/// # #[derive(Clone)] struct Stock;
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced {}
/// async fn with_state(stock: Stock, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
///     Ok(())
/// }
/// async fn without(order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
///     Ok(())
/// }
/// ```
///
/// and for structs that implement [`Handle`]. The type parameter `Args` only tells these apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a handler is `async fn(State, Delivery<E>) -> Result<impl IntoEvents, HandlerError>`, or the same without the state",
    note = "its state must be the router's (`with_state`), `E` must be `EventType + Deserialize`, its future `Send`",
    note = "a struct must implement `Handle<E>`; if it does so for several events, name one: `.on::<For<E>>(handler)`"
)]
pub trait Handler<S, Args>: Send + Sync + 'static {
    /// The event that it handles.
    type Event: EventType + DeserializeOwned;
    /// The events that follow.
    type Output: IntoEvents;

    /// Handles one delivery.
    fn call(
        &self,
        state: S,
        delivery: Delivery<Self::Event>,
    ) -> impl Future<Output = Result<Self::Output, HandlerError>> + Send;
}

impl<S, E, F, Fut, R> Handler<S, (S, E)> for F
where
    S: Send + 'static,
    E: EventType + DeserializeOwned,
    F: Fn(S, Delivery<E>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, HandlerError>> + Send,
    R: IntoEvents,
{
    type Event = E;
    type Output = R;

    fn call(
        &self,
        state: S,
        delivery: Delivery<E>,
    ) -> impl Future<Output = Result<R, HandlerError>> + Send {
        self(state, delivery)
    }
}

impl<S, E, F, Fut, R> Handler<S, (E,)> for F
where
    S: Send + 'static,
    E: EventType + DeserializeOwned,
    F: Fn(Delivery<E>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, HandlerError>> + Send,
    R: IntoEvents,
{
    type Event = E;
    type Output = R;

    fn call(
        &self,
        _: S,
        delivery: Delivery<E>,
    ) -> impl Future<Output = Result<R, HandlerError>> + Send {
        self(delivery)
    }
}

/// A struct that handles events of type `E`; its own fields are its state.
///
/// ```
/// # use fanfare_core::{Delivery, EventType, Handle, HandlerError, Router};
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced { order_id: String }
/// struct Greeter { greeting: String }
///
/// impl Handle<OrderPlaced> for Greeter {
///     type Output = ();
///     async fn handle(&self, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
///         println!("{} {}", self.greeting, order.event.order_id);
///         Ok(())
///     }
/// }
/// let router: Router = Router::new("greeter").on(Greeter { greeting: "Thanks for".into() });
/// ```
pub trait Handle<E: EventType>: Send + Sync + 'static {
    /// The events that follow; `()` for none.
    type Output: IntoEvents;

    /// Handles one delivery.
    fn handle(
        &self,
        delivery: Delivery<E>,
    ) -> impl Future<Output = Result<Self::Output, HandlerError>> + Send;
}

/// Names the event that a struct handles where it handles several:
/// `router.on::<For<OrderPlaced>>(projection)`.
#[derive(Debug)]
pub struct For<E>(PhantomData<E>);

impl<S, E, H> Handler<S, For<E>> for H
where
    S: Send + 'static,
    E: EventType + DeserializeOwned,
    H: Handle<E>,
{
    type Event = E;
    type Output = H::Output;

    fn call(
        &self,
        _: S,
        delivery: Delivery<E>,
    ) -> impl Future<Output = Result<Self::Output, HandlerError>> + Send {
        self.handle(delivery)
    }
}

/// Why a handler did not do its work, and what to do with the delivery. `?` on any error means:
/// try again later.
///
/// ```
/// # use std::time::Duration;
/// # use fanfare_core::HandlerError;
/// fn reserve(stock: &str) -> Result<u32, HandlerError> {
///     let left: u32 = stock.parse()?;                                   // try again, later and later
///     if left == 0 {
///         return Err(HandlerError::reject("sold out"));                 // to the dead-letter queue
///     }
///     if left == 1 {
///         return Err(HandlerError::retry_after(Duration::from_secs(60), "being counted"));
///     }
///     Ok(left)
/// }
/// ```
pub struct HandlerError {
    pub(crate) verdict: Verdict,
    pub(crate) source: BoxError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry(Option<Duration>),
    Reject,
}

impl HandlerError {
    /// Try again, after a delay that grows with each attempt, until the attempts are used up (10,
    /// see [`Consumer::max_attempts`](crate::Consumer::max_attempts)).
    pub fn retry(error: impl Into<BoxError>) -> Self {
        HandlerError { verdict: Verdict::Retry(None), source: error.into() }
    }

    /// Try again after `delay`; SQS allows up to 12 hours.
    pub fn retry_after(delay: Duration, error: impl Into<BoxError>) -> Self {
        HandlerError { verdict: Verdict::Retry(Some(delay)), source: error.into() }
    }

    /// Never try again: to the dead-letter queue with it. The error's text becomes the reason
    /// that is stored there, so keep payloads out of it.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        HandlerError { verdict: Verdict::Reject, source: error.into() }
    }

    /// Whether the delivery will be tried again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.verdict != Verdict::Reject
    }
}

// HandlerError is no `Error` itself, so that `?` can take every error there is.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        HandlerError::retry(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.verdict, self.source)
    }
}

/// A [`HandlerError`] on its way through layers, which want errors that are `Error`.
#[derive(Debug)]
struct Travelling(HandlerError);

impl fmt::Display for Travelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Travelling {}

impl From<HandlerError> for BoxError {
    fn from(error: HandlerError) -> Self {
        Box::new(Travelling(error))
    }
}

impl HandlerError {
    /// What a layer answered: the handler's own error if it passed it on, else the layer's, which
    /// is a retry (a time-out, say).
    pub(crate) fn from_layer(error: BoxError) -> Self {
        match error.downcast::<Travelling>() {
            Ok(travelling) => travelling.0,
            Err(error) => HandlerError::retry(error),
        }
    }
}
