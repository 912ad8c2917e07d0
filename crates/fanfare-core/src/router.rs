//! Which handler gets which event: registered by name, before anything runs.

use std::{fmt, sync::Arc};

use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    BoxError, Call, ConnectionType, Consumer, EventType, Handler, PendingEvent, Retry, TxHandler,
    call::{BoundDecoder, Decoder, route, route_tx},
};

/// The handlers of one service, by type tag.
///
/// Nothing is registered behind your back: what a service handles is what its router says.
/// State comes late, with [`with_state`](Self::with_state), so that provisioning can ask a
/// router for its event types without a database.
///
/// ```
/// # use fanfare_core::{Delivery, EventType, HandlerError, Router};
/// # #[derive(Clone)] struct Stock;
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced {}
/// async fn reduce_stock(stock: Stock, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
///     Ok(())
/// }
///
/// let router = Router::new("products").on(reduce_stock);
/// assert_eq!(router.handled()[0].tag, "shop.orders.OrderPlaced.v1");
/// let consumer = router.with_state(Stock);
/// ```
pub struct Router<S = ()> {
    name: Arc<str>,
    handled: Vec<HandledType>,
    decoders: Vec<Decoder<S>>,
    layers: Vec<Box<dyn FnOnce(HandlerService) -> HandlerService + Send + Sync>>,
    retries: Vec<(&'static str, Retry)>,
    policies: Policies,
}

/// What to do with deliveries that can never be handled.
#[derive(Clone, Copy, Default)]
pub(crate) struct Policies {
    pub(crate) unknown_tags: Policy,
    pub(crate) undecodable: Policy,
    pub(crate) rejected: Policy,
}

/// The handlers of a router as a [`tower::Service`]: what a layer wraps. A layer's own errors are
/// retries; an error of the handler that it passes on keeps its meaning.
pub type HandlerService = BoxCloneSyncService<Call, Vec<PendingEvent>, BoxError>;

/// One type of event that a router handles.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandledType {
    /// Its type tag.
    pub tag: &'static str,
    /// The topic that it comes from.
    pub topic: &'static str,
    /// Whether its handler may return events or tasks.
    pub returns_events: bool,
    /// The topics that the returned events go to.
    pub publishes_to: Vec<&'static str>,
    /// The connection that its handler gets, if it runs in a transaction.
    pub connection: Option<ConnectionType>,
}

/// What to do with a delivery that no handler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Put it into the dead-letter queue, with the reason.
    #[default]
    DeadLetter,
    /// Give it back, to come again as its [`Retry`] says until its attempts are used up: for a
    /// consumer that is about to learn what it lacks.
    Keep,
    /// Let it go, with a warning in the log.
    Acknowledge,
}

impl<S: Clone + Send + Sync + 'static> Router<S> {
    /// A router for the service (or the part of one) called `name`: the inbox and the ids of the
    /// events that its handlers return go by that name, so keep it for ever.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Router {
            name: name.into(),
            handled: Vec::new(),
            decoders: Vec::new(),
            layers: Vec::new(),
            retries: Vec::new(),
            policies: Policies::default(),
        }
    }

    /// Registers `handler` for its event. A second one for the same type tag is an error that
    /// [`Consumer::check`] reports before anything is received.
    #[must_use]
    pub fn on<Args: 'static>(mut self, handler: impl Handler<S, Args>) -> Self {
        let (handled, decoder) = route(handler);
        self.handled.push(handled);
        self.decoders.push(decoder);
        self
    }

    /// Registers a handler whose effect is in a database: it gets a connection within the
    /// transaction in which the consumer's [`Inbox`](crate::Inbox) remembers the event, so that
    /// the effect is there once, whatever fails and however often the event comes. What it
    /// returns commits with it, recorded in the inbox's outbox or stored to be published.
    ///
    /// Deliveries for such handlers are handled one after another, some fifty at most in one
    /// transaction; one that fails is undone by itself. So what else a handler does can have
    /// happened although its transaction is rolled back later: keep it to the database.
    ///
    /// ```
    /// # use fanfare_core::{Delivery, EventType, HandlerError, Router};
    /// # struct PgConnection;
    /// # #[derive(EventType, serde::Deserialize)]
    /// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
    /// # struct OrderPlaced {}
    /// async fn reduce_stock(
    ///     tx: &mut PgConnection,
    ///     order: Delivery<OrderPlaced>,
    /// ) -> Result<(), HandlerError> {
    ///     // sqlx::query("update stock …").execute(tx).await?;
    ///     Ok(())
    /// }
    ///
    /// let router: Router = Router::new("products").on_tx(reduce_stock);
    /// ```
    #[must_use]
    pub fn on_tx<C, Args>(mut self, handler: impl TxHandler<S, C, Args>) -> Self
    where
        C: Send + 'static,
        Args: 'static,
    {
        let (handled, decoder) = route_tx(handler);
        self.handled.push(handled);
        self.decoders.push(decoder);
        self
    }

    /// Wraps all handlers in a tower layer, outermost last: a time-out, a concurrency limit.
    /// Decoding, the inbox and the publishing of what follows stay outside of it.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + Sync + 'static,
        L::Service: Service<Call, Response = Vec<PendingEvent>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Call>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<Call>>::Future: Send + 'static,
    {
        self.layers.push(Box::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into))
        }));
        self
    }

    /// What happens to events whose type tag nobody here handles; the default is
    /// [`Policy::DeadLetter`].
    #[must_use]
    pub fn unknown_tags(self, policy: Policy) -> Self {
        Router { policies: Policies { unknown_tags: policy, ..self.policies }, ..self }
    }

    /// What happens to bodies that are no event, or whose data does not fit its handler's type;
    /// the default is [`Policy::DeadLetter`].
    #[must_use]
    pub fn undecodable(self, policy: Policy) -> Self {
        Router { policies: Policies { undecodable: policy, ..self.policies }, ..self }
    }

    /// What happens to events that their handler rejects
    /// ([`HandlerError::reject`](crate::HandlerError::reject)); the default is [`Policy::DeadLetter`].
    #[must_use]
    pub fn rejected(self, policy: Policy) -> Self {
        Router { policies: Policies { rejected: policy, ..self.policies }, ..self }
    }

    /// When events `E` come again that failed, and how often they are tried; all others go by
    /// [`Consumer::retry`]. One for an event that nobody here handles is an error that
    /// [`Consumer::check`] reports before anything is received.
    #[must_use]
    pub fn retry<E: EventType>(mut self, retry: Retry) -> Self {
        self.retries.push((E::TAG, retry));
        self
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The event types that are handled, in the order of their registration: what provisioning
    /// computes filter policies from.
    #[must_use]
    pub fn handled(&self) -> &[HandledType] {
        &self.handled
    }

    /// Gives the handlers their state, and makes the router ready to consume.
    #[must_use]
    pub fn with_state(self, state: S) -> Consumer {
        let bind = |decoder: Decoder<S>| -> BoundDecoder {
            let state = state.clone();
            Box::new(move |opened, raw| decoder(opened, raw, &state))
        };
        // Without layers a call runs by itself.
        let service = (!self.layers.is_empty()).then(|| {
            let handlers = BoxCloneSyncService::new(tower::service_fn(Call::run));
            self.layers.into_iter().fold(handlers, |inner, wrap| wrap(inner))
        });
        let decoders = self.decoders.into_iter().map(bind).collect();
        Consumer::new(
            self.name,
            self.handled,
            decoders,
            service,
            self.policies,
            self.retries.into_iter().collect(),
        )
    }
}

impl From<Router> for Consumer {
    fn from(router: Router) -> Self {
        router.with_state(())
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("name", &self.name)
            .field("handled", &self.handled)
            .finish_non_exhaustive()
    }
}
