//! What a service writes: functions from an event to what follows from it.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::{Delivery, EventType, HandlerError, IntoEvents};

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
