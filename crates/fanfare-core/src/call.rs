//! A decoded delivery on its way to its handler: where the handlers' types are erased.

use std::{fmt, marker::PhantomData, ops::Range, sync::Arc};

use crate::{
    BoxError, BoxFuture, Cancellation, ConnectionType, DecodeError, Delivery, Envelope, EventType,
    HandledType, Handler, HandlerError, IntoEvents, Loan, Metadata, Opened, PayloadHash,
    PendingEvent, RawDelivery, TxHandler, tx_handler::append,
};

/// Turns an opened body into a call of its handler.
pub(crate) type Decoder<S> =
    Box<dyn Fn(Opened<'_>, &RawDelivery, &S) -> Result<Call, DecodeError> + Send + Sync>;

/// A [`Decoder`] that has its state.
pub(crate) type BoundDecoder =
    Box<dyn Fn(Opened<'_>, &RawDelivery) -> Result<Call, DecodeError> + Send + Sync>;

/// A decoded delivery and the handler that is to have it: what layers see.
pub struct Call {
    bound: Box<dyn Run>,
    /// Where the data stands in the body.
    data: Range<usize>,
    loan: Option<Loan>,
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

    /// Cancelled when the lease on the delivery is lost.
    #[must_use]
    pub fn cancellation(&self) -> &Cancellation {
        self.bound.cancellation()
    }

    /// Whether its handler wants a connection in a transaction.
    pub(crate) fn wants_connection(&self) -> bool {
        self.bound.wants_connection()
    }

    /// The hash of the event's data in `body`, which this was decoded from.
    pub(crate) fn payload(&self, body: &str) -> PayloadHash {
        PayloadHash::of(body.get(self.data.clone()).unwrap_or_default().trim())
    }

    /// With the connection that its handler gets.
    pub(crate) fn with(self, loan: Loan) -> Self {
        Call { loan: Some(loan), ..self }
    }

    pub(crate) fn run(self) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>> {
        self.bound.run(self.loan)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("envelope", self.envelope()).finish_non_exhaustive()
    }
}

/// Where a handler's types are erased.
pub(crate) fn route<S, Args, H>(handler: H) -> (HandledType, Decoder<S>)
where
    S: Clone + Send + Sync + 'static,
    Args: 'static,
    H: Handler<S, Args>,
{
    let handled = handled::<H::Event, H::Output>(None);
    (handled, decoder::<_, _, _, (Plain, Args)>(handler))
}

/// [`route`] for a handler that runs in a transaction.
pub(crate) fn route_tx<S, C, Args, H>(handler: H) -> (HandledType, Decoder<S>)
where
    S: Clone + Send + Sync + 'static,
    C: Send + 'static,
    Args: 'static,
    H: TxHandler<S, C, Args>,
{
    let handled = handled::<H::Event, H::Output>(Some(ConnectionType::of::<C>()));
    (handled, decoder::<_, _, _, (InTransaction<C>, Args)>(handler))
}

fn handled<E: EventType, R: IntoEvents>(connection: Option<ConnectionType>) -> HandledType {
    const { assert!(crate::tag::is_valid(E::TAG), "the event's type tag is malformed") };
    let mut publishes_to = Vec::new();
    R::add_topics(&mut publishes_to);
    HandledType {
        tag: E::TAG,
        topic: E::TOPIC,
        returns_events: !R::NEVER,
        publishes_to,
        connection,
    }
}

fn decoder<S, E, H, Kind>(handler: H) -> Decoder<S>
where
    S: Clone + Send + Sync + 'static,
    E: EventType + serde::de::DeserializeOwned,
    H: Send + Sync + 'static,
    Kind: 'static,
    Bound<S, E, H, Kind>: Run + 'static,
{
    let handler = Arc::new(handler);
    Box::new(move |opened: Opened<'_>, raw: &RawDelivery, state: &S| {
        let (envelope, event, data) = opened.read_at::<E>()?;
        let delivery = Delivery::new(event, envelope, raw);
        let (handler, state, kind) = (Arc::clone(&handler), state.clone(), PhantomData);
        Ok(Call { bound: Box::new(Bound { delivery, handler, state, kind }), data, loan: None })
    })
}

trait Run: Send {
    fn envelope(&self) -> &Envelope;
    fn metadata(&self) -> &Metadata;
    fn cancellation(&self) -> &Cancellation;
    fn wants_connection(&self) -> bool;
    fn run(
        self: Box<Self>,
        loan: Option<Loan>,
    ) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>>;
}

/// A delivery and all that its handler wants with it; `Kind` tells how to call that.
struct Bound<S, E, H, Kind> {
    delivery: Delivery<E>,
    handler: Arc<H>,
    state: S,
    kind: PhantomData<fn(Kind)>,
}

/// Called with state and delivery.
struct Plain;

/// Called with a connection `C` too.
struct InTransaction<C>(PhantomData<C>);

impl<S, Args, H> Run for Bound<S, H::Event, H, (Plain, Args)>
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

    fn cancellation(&self) -> &Cancellation {
        &self.delivery.cancellation
    }

    fn wants_connection(&self) -> bool {
        false
    }

    fn run(
        self: Box<Self>,
        _: Option<Loan>,
    ) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>> {
        Box::pin(async move { Ok(append(self.handler.call(self.state, self.delivery).await?)?) })
    }
}

impl<S, C, Args, H> Run for Bound<S, H::Event, H, (InTransaction<C>, Args)>
where
    S: Send + 'static,
    C: Send + 'static,
    Args: 'static,
    H: TxHandler<S, C, Args>,
{
    fn envelope(&self) -> &Envelope {
        &self.delivery.envelope
    }

    fn metadata(&self) -> &Metadata {
        &self.delivery.metadata
    }

    fn cancellation(&self) -> &Cancellation {
        &self.delivery.cancellation
    }

    fn wants_connection(&self) -> bool {
        true
    }

    fn run(
        self: Box<Self>,
        loan: Option<Loan>,
    ) -> BoxFuture<'static, Result<Vec<PendingEvent>, BoxError>> {
        Box::pin(async move {
            let mut loan = loan;
            let Some(tx) = loan.as_mut().and_then(Loan::get::<C>) else {
                let wanted = std::any::type_name::<C>();
                let problem = format!("its handler wants a {wanted}, which no inbox here lends");
                return Err(HandlerError::retry(problem).into());
            };
            Ok(self.handler.call(self.state, tx, self.delivery).await?)
        })
    }
}
