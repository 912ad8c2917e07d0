//! How traces go on across messages, with a propagator: one for the process, so these tests have one of
//! their own.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex, OnceLock};

use fanfare_core::{
    Context, Delivery, Emitter, HandlerError, Opened, Outcome, Router,
    telemetry::{Propagator, Trace, set_propagator},
};
use support::*;
use tracing::{Instrument, Span};

const ORIGIN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Takes the number of a span for its trace, as an exporter has one for each.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(String, Trace)>>>);

fn trace_of(span: &Span) -> Option<Trace> {
    let number = span.id()?.into_u64();
    let traceparent = format!("00-{number:032x}-{number:016x}-01");
    Some(Trace { traceparent, tracestate: Some("x=1".into()) })
}

impl Propagator for Spans {
    fn extract(&self, span: &Span, trace: &Trace) {
        let name = span.metadata().unwrap().name();
        let own = trace_of(span).unwrap().traceparent;
        self.0.lock().unwrap().push((format!("{name} {own}"), trace.clone()));
    }

    fn inject(&self) -> Option<Trace> {
        trace_of(&Span::current())
    }
}

/// Set before anything can be emitted, with a subscriber that is there for all threads.
fn spans() -> &'static Spans {
    static SPANS: OnceLock<Spans> = OnceLock::new();
    SPANS.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let spans = Spans::default();
        set_propagator(spans.clone()).unwrap();
        spans
    })
}

fn context_of(message: &fanfare_core::Message) -> Context {
    Opened::open(&message.body).unwrap().envelope().context.clone()
}

/// Emits one event in a span of its own, and returns another.
async fn ship(emitter: Emitter, order: Delivery<OrderPlaced>) -> Result<Shipped, HandlerError> {
    let order_id = order.event.order_id;
    let shipped = Shipped { order_id: format!("{order_id}-emitted") };
    let span = tracing::info_span!("within");
    emitter.emit(&shipped).instrument(span).await?;
    Ok(Shipped { order_id })
}

#[tokio::test]
async fn a_propagator_ties_what_is_emitted_to_the_span_and_the_span_to_its_origin() {
    let (spans, bench) = (spans(), Bench::default());
    let consumer = Router::new("delivery").on(ship);
    let consumer = consumer.with_state(Emitter::new("delivery", bench.publisher()));
    let mut context = Context::default();
    context.traceparent = Some(ORIGIN.into());
    let batch = vec![placed("a").context(context).raw(), placed("b").raw()];
    let outcomes = bench.run(consumer, batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Handled { published: 1 }));

    let extracted = std::mem::take(&mut *spans.0.lock().unwrap());
    let [(process, origin)] = &extracted[..] else { panic!("{extracted:?}") };
    assert_eq!((&*origin.traceparent, origin.tracestate.as_deref()), (ORIGIN, None));
    let published = bench.published();
    let contexts: Vec<Context> = published.iter().map(context_of).collect();
    let traces: Vec<&str> =
        contexts.iter().map(|context| context.traceparent.as_deref().unwrap()).collect();
    let of = |id: &str| {
        let is = |message: &fanfare_core::Message| message.key == id;
        traces[published.iter().position(is).unwrap()]
    };
    assert_eq!(*process, format!("process {}", of("a")), "returned: the trace of its process span");
    assert_ne!(of("a"), of("a-emitted"), "emitted: that of the span within");
    assert_ne!(of("a"), of("b"), "each delivery has a span of its own");
    assert!(traces.iter().all(|trace| *trace != ORIGIN));
    let led_to = |context: &Context| context.causation_id.as_deref() == Some("a-id");
    assert_eq!(contexts.iter().filter(|context| led_to(context)).count(), 2);
    assert!(contexts.iter().all(|context| context.tracestate.as_deref() == Some("x=1")));
}

#[tokio::test]
async fn outside_of_all_spans_an_event_carries_what_its_context_says() {
    let (_, bench) = (spans(), Bench::default());
    let mut context = Context::default();
    context.traceparent = Some(ORIGIN.into());
    let emitter = Emitter::new("orders", bench.publisher());
    let shipped = Shipped { order_id: "a".into() };
    context.scope(emitter.emit(&shipped)).await.unwrap();
    assert_eq!(context_of(&bench.published()[0]).traceparent.as_deref(), Some(ORIGIN));
}

#[test]
fn a_second_propagator_is_refused() {
    spans();
    assert!(set_propagator(Spans::default()).unwrap_err().to_string().contains("set already"));
}
