//! Handlers whose effect is in a database: they get the transaction that remembers the event.

use serde::de::DeserializeOwned;

use crate::{Delivery, EventType, HandlerError, IntoEvents, PendingEvent};

/// Something that handles one type of event in a transaction, registered with
/// [`Router::on_tx`](crate::Router::on_tx).
///
/// Implemented for async functions of the shapes
///
/// ```
/// # use fanfare_core::{Delivery, EventType, HandlerError, IntoEvents, Router};
/// # struct PgConnection;
/// # #[derive(Clone)] struct Stock;
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced {}
/// async fn with_state(
///     stock: Stock,
///     tx: &mut PgConnection,
///     order: Delivery<OrderPlaced>,
/// ) -> Result<(), HandlerError> {
///     Ok(())
/// }
/// async fn without(
///     tx: &mut PgConnection,
///     order: Delivery<OrderPlaced>,
/// ) -> Result<impl IntoEvents, HandlerError> {
///     Ok(())
/// }
/// # let _ = Router::new("products").on_tx(with_state).with_state(Stock);
/// # let _ = Router::new("products").on_tx(without).with_state(());
/// ```
///
/// where the connection is the one that the consumer's [`Inbox`](crate::Inbox) lends. The
/// transaction is not the handler's to end. The type parameter `Args` only tells the shapes apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler that runs in a transaction",
    label = "not a handler with a connection",
    note = "such a handler is `async fn(State, &mut C, Delivery<E>) -> Result<impl IntoEvents, HandlerError>`, or the same without the state",
    note = "`C` is the connection of the consumer's inbox (sqlx's `PgConnection` or `SqliteConnection`), not a pool and not a `Transaction`",
    note = "its state must be the router's (`with_state`), `E` must be `EventType + Deserialize`, its future `Send`",
    note = "a handler that needs no connection is registered with `on`"
)]
pub trait TxHandler<S, C, Args>: Send + Sync + 'static {
    /// The event that it handles.
    type Event: EventType + DeserializeOwned;
    /// The events that follow, as far as their types tell.
    type Output: IntoEvents;

    /// Handles one delivery within the transaction that `tx` is in, and gives the events that
    /// follow.
    fn call(
        &self,
        state: S,
        tx: &mut C,
        delivery: Delivery<Self::Event>,
    ) -> impl Future<Output = Result<Vec<PendingEvent>, HandlerError>> + Send;
}

impl<S, C, E, F> TxHandler<S, C, (S, C, E)> for F
where
    S: Send + 'static,
    C: Send + 'static,
    E: EventType + DeserializeOwned + Send + 'static,
    F: for<'a> shape::WithState<'a, S, C, E> + Send + Sync + 'static,
{
    type Event = E;
    type Output = <F as shape::WithState<'static, S, C, E>>::Events;

    async fn call(
        &self,
        state: S,
        tx: &mut C,
        delivery: Delivery<E>,
    ) -> Result<Vec<PendingEvent>, HandlerError> {
        append(self(state, tx, delivery).await?)
    }
}

impl<S, C, E, F> TxHandler<S, C, (C, E)> for F
where
    S: Send + 'static,
    C: Send + 'static,
    E: EventType + DeserializeOwned + Send + 'static,
    F: for<'a> shape::WithoutState<'a, C, E> + Send + Sync + 'static,
{
    type Event = E;
    type Output = <F as shape::WithoutState<'static, C, E>>::Events;

    async fn call(
        &self,
        _: S,
        tx: &mut C,
        delivery: Delivery<E>,
    ) -> Result<Vec<PendingEvent>, HandlerError> {
        append(self(tx, delivery).await?)
    }
}

/// What a handler returned, written down.
pub(crate) fn append(returned: impl IntoEvents) -> Result<Vec<PendingEvent>, HandlerError> {
    let mut events = Vec::new();
    returned.append_to(&mut events).map_err(HandlerError::reject)?;
    Ok(events)
}

/// An async function that borrows returns a future, and maybe events, whose types have the
/// borrow's lifetime in them: no type parameter can stand for them, so these traits name them.
mod shape {
    use crate::{Delivery, HandlerError, IntoEvents};

    pub trait WithState<'a, S, C: 'a, E>: Fn(S, &'a mut C, Delivery<E>) -> Self::Future {
        type Future: Future<Output = Result<Self::Events, HandlerError>> + Send;
        type Events: IntoEvents;
    }

    impl<'a, S, C: 'a, E, F, Fut, R> WithState<'a, S, C, E> for F
    where
        F: Fn(S, &'a mut C, Delivery<E>) -> Fut,
        Fut: Future<Output = Result<R, HandlerError>> + Send,
        R: IntoEvents,
    {
        type Future = Fut;
        type Events = R;
    }

    pub trait WithoutState<'a, C: 'a, E>: Fn(&'a mut C, Delivery<E>) -> Self::Future {
        type Future: Future<Output = Result<Self::Events, HandlerError>> + Send;
        type Events: IntoEvents;
    }

    impl<'a, C: 'a, E, F, Fut, R> WithoutState<'a, C, E> for F
    where
        F: Fn(&'a mut C, Delivery<E>) -> Fut,
        Fut: Future<Output = Result<R, HandlerError>> + Send,
        R: IntoEvents,
    {
        type Future = Fut;
        type Events = R;
    }
}
