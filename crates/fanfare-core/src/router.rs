//! Which handler gets which event: registered by name, before anything runs.

use std::{fmt, sync::Arc};

use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    BoxError, BoxFuture, Consumer, DecodeError, Delivery, Envelope, EventType, Handler, IntoEvents,
    Metadata, Opened, PendingEvent,
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
    unknown_tags: Policy,
    undecodable: Policy,
}

/// Turns an opened body into a call of its handler.
type Decoder<S> = Box<dyn Fn(Opened<'_>, Metadata, &S) -> Result<Call, DecodeError> + Send + Sync>;

/// A [`Decoder`] that has its state.
pub(crate) type BoundDecoder =
    Box<dyn Fn(Opened<'_>, Metadata) -> Result<Call, DecodeError> + Send + Sync>;

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
}

/// What to do with a delivery that no handler can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Put it into the dead-letter queue, with the reason.
    #[default]
    DeadLetter,
    /// Give it back, to come again with a growing delay until its attempts are used up: for a
    /// consumer that is about to learn the tag.
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
            unknown_tags: Policy::default(),
            undecodable: Policy::default(),
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
        Router { unknown_tags: policy, ..self }
    }

    /// What happens to bodies that are no event, or whose data does not fit its handler's type;
    /// the default is [`Policy::DeadLetter`].
    #[must_use]
    pub fn undecodable(self, policy: Policy) -> Self {
        Router { undecodable: policy, ..self }
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
            Box::new(move |opened, metadata| decoder(opened, metadata, &state))
        };
        let handlers = BoxCloneSyncService::new(tower::service_fn(Call::run));
        let service = self.layers.into_iter().fold(handlers, |inner, wrap| wrap(inner));
        let decoders = self.decoders.into_iter().map(bind).collect();
        Consumer::new(
            self.name,
            self.handled,
            decoders,
            service,
            self.unknown_tags,
            self.undecodable,
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

/// Where a handler's types are erased.
fn route<S, Args, H>(handler: H) -> (HandledType, Decoder<S>)
where
    S: Clone + Send + Sync + 'static,
    Args: 'static,
    H: Handler<S, Args>,
{
    const { assert!(crate::tag::is_valid(H::Event::TAG), "the event's type tag is malformed") };
    let mut publishes_to = Vec::new();
    H::Output::add_topics(&mut publishes_to);
    let handled = HandledType {
        tag: H::Event::TAG,
        topic: H::Event::TOPIC,
        returns_events: !H::Output::NEVER,
        publishes_to,
    };
    let handler = Arc::new(handler);
    let decoder = move |opened: Opened<'_>, metadata, state: &S| {
        let (envelope, event) = opened.read::<H::Event>()?;
        let delivery = Delivery::new(event, envelope, metadata);
        let (handler, state) = (Arc::clone(&handler), state.clone());
        let bound = Bound { delivery, handler, state, args: std::marker::PhantomData::<fn(Args)> };
        Ok(Call { bound: Box::new(bound) })
    };
    (handled, Box::new(decoder))
}

/// A decoded delivery and the handler that is to have it: what layers see.
pub struct Call {
    bound: Box<dyn Run>,
}

impl Call {
    /// The event's identity.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        self.bound.envelope()
    }

    /// What the transport says of this delivery.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.bound.metadata()
    }

    fn run(self) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>> {
        self.bound.run()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("envelope", self.envelope()).finish_non_exhaustive()
    }
}

trait Run: Send {
    fn envelope(&self) -> &Envelope;
    fn metadata(&self) -> &Metadata;
    fn run(self: Box<Self>) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>>;
}

struct Bound<S, E, H, Args> {
    delivery: Delivery<E>,
    handler: Arc<H>,
    state: S,
    args: std::marker::PhantomData<fn(Args)>,
}

impl<S, Args, H> Run for Bound<S, H::Event, H, Args>
where
    S: Send + 'static,
    Args: 'static,
    H: Handler<S, Args>,
{
    fn envelope(&self) -> &Envelope {
        &self.delivery.envelope
    }

    fn metadata(&self) -> &Metadata {
        &self.delivery.metadata
    }

    fn run(self: Box<Self>) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>> {
        Box::pin(async move {
            let returned = self.handler.call(self.state, self.delivery).await?;
            let mut events = Vec::new();
            returned.append_to(&mut events).map_err(crate::HandlerError::reject)?;
            Ok(events)
        })
    }
}
