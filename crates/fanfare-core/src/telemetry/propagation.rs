//! How traces go on across messages.

use std::sync::OnceLock;

use tracing::Span;

use crate::{Context, Metadata};

static PROPAGATOR: OnceLock<Box<dyn Propagator>> = OnceLock::new();

/// A trace in the W3C's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`: version, trace id, span id and flags.
    pub traceparent: String,
    /// `tracestate`, if there is any.
    pub tracestate: Option<String>,
}

/// Ties the spans of `tracing` to the traces that events carry: for those who export spans, as
/// tracing-opentelemetry does. Set once for the process, with [`set_propagator`].
///
/// Without one, an event carries on the trace of the event that led to it, or what a
/// [`Context::scope`](crate::Context::scope) says, as it came: good for searching, but the spans
/// of this service are not part of that trace.
///
/// With tracing-opentelemetry 0.34 and a `TraceContextPropagator`:
///
/// ```ignore
/// use fanfare_core::telemetry::{Propagator, Trace, set_propagator};
/// use opentelemetry::{propagation::TextMapPropagator, trace::TraceContextExt};
/// use tracing_opentelemetry::OpenTelemetrySpanExt;
///
/// struct W3c(opentelemetry_sdk::propagation::TraceContextPropagator);
///
/// impl Propagator for W3c {
///     fn extract(&self, span: &tracing::Span, trace: &Trace) {
///         let mut headers = HashMap::from([("traceparent".into(), trace.traceparent.clone())]);
///         headers.extend(trace.tracestate.clone().map(|state| ("tracestate".into(), state)));
///         let from = self.0.extract(&headers);
///         span.add_link(from.span().span_context().clone());   // a trace of its own, linked; or
///         // span.set_parent(from).ok();                       // one trace from end to end
///     }
///
///     fn inject(&self) -> Option<Trace> {
///         let mut headers = HashMap::new();
///         self.0.inject_context(&tracing::Span::current().context(), &mut headers);
///         let traceparent = headers.remove("traceparent")?;
///         Some(Trace { traceparent, tracestate: headers.remove("tracestate") })
///     }
/// }
///
/// set_propagator(W3c(Default::default())).expect("nobody else sets it");
/// ```
pub trait Propagator: Send + Sync + 'static {
    /// A delivery is about to be processed in `span`, which nobody has entered; its event comes
    /// from `trace`. Make that the span's parent, or link to it: the conventions want a link where
    /// the span has a parent already, as in a Lambda function.
    fn extract(&self, span: &Span, trace: &Trace);

    /// The trace of the current span, for the event that is being emitted here; none to have it
    /// carry on the one that its [`Context`](crate::Context) brings.
    fn inject(&self) -> Option<Trace>;
}

/// There is a propagator already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a propagator is set already: set it once, where the process begins")]
pub struct PropagatorIsSet;

/// Sets the propagator of this process. Do it before anything is emitted or consumed.
///
/// # Errors
/// [`PropagatorIsSet`] if there is one already, which stays.
pub fn set_propagator(propagator: impl Propagator) -> Result<(), PropagatorIsSet> {
    PROPAGATOR.set(Box::new(propagator)).map_err(|_| PropagatorIsSet)
}

/// The trace that a delivery comes from: the event's own, which knows where it comes from, or else
/// the transport's, whose trace state nobody knows.
pub(super) fn origin<'a>(
    event: Option<&'a Context>,
    metadata: &'a Metadata,
) -> Option<(&'a str, Option<&'a str>)> {
    let own = event
        .and_then(|context| Some((context.traceparent.as_deref()?, context.tracestate.as_deref())));
    own.or_else(|| Some((metadata.traceparent.as_deref()?, None)))
}

/// Tells the propagator where the event comes from that is processed in `span`.
pub(super) fn extract(span: &Span, origin: Option<(&str, Option<&str>)>) {
    if !span.is_disabled()
        && let Some(propagator) = PROPAGATOR.get()
        && let Some((traceparent, tracestate)) = origin
    {
        let tracestate = tracestate.map(Into::into);
        propagator.extract(span, &Trace { traceparent: traceparent.into(), tracestate });
    }
}

impl Context {
    /// With the trace of the current span, if a propagator knows one.
    pub(crate) fn traced(mut self) -> Context {
        if let Some(trace) = PROPAGATOR.get().and_then(|propagator| propagator.inject()) {
            (self.traceparent, self.tracestate) = (Some(trace.traceparent), trace.tracestate);
        }
        self
    }
}
