//! What is said of each delivery.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use metrics::{Counter, Gauge, Histogram, Label};
use rapidhash::RapidHashMap;
use tracing::{Span, field};

use super::{
    ATTEMPT, CONSUMER_GROUP_NAME, Channel, DELIVERIES_IN_FLIGHT, DELIVERY_OUTCOMES,
    DESTINATION_NAME, ERROR_TYPE, EVENT_ID, EVENT_TAG, FAAS_INVOCATION_ID, MESSAGE_BODY_SIZE,
    MESSAGE_CONVERSATION_ID, MESSAGE_ID, OPERATION_NAME, OPERATION_TYPE, OTEL_KIND, OTEL_NAME,
    OTEL_STATUS_CODE, OUTCOME, PROCESS_DURATION, SYSTEM, TRACEPARENT,
    channel::failed,
    describe,
    propagation::{extract, origin},
};
use crate::{Envelope, Outcome, RawDelivery};

/// The name and the type of the operation.
const PROCESS: &str = "process";

/// What a consumer measures by.
pub(crate) struct Telemetry {
    pub(crate) channel: Channel,
    /// The tags that are handled.
    tags: Arc<[&'static str]>,
    /// Registered with the first batch.
    instruments: OnceLock<Instruments>,
}

/// The metrics that each delivery touches, so that they are looked up once.
struct Instruments {
    in_flight: Gauge,
    handled: Counter,
    duplicates: Counter,
    ignored: Counter,
    /// Of what did not fail, by type tag.
    durations: RapidHashMap<&'static str, Histogram>,
}

impl Telemetry {
    pub(crate) fn new(channel: Channel, tags: Arc<[&'static str]>) -> Self {
        Telemetry { channel, tags, instruments: OnceLock::new() }
    }

    /// The same of another channel.
    pub(crate) fn of(&self, channel: Channel) -> Self {
        Telemetry::new(channel, Arc::clone(&self.tags))
    }

    /// Holds `deliveries`.
    pub(crate) fn hold(&self, deliveries: usize) -> InFlight<'_> {
        let gauge = &self.instruments().in_flight;
        gauge.increment(deliveries as f64);
        InFlight { telemetry: self, gauge, deliveries }
    }

    /// Begins to process a delivery: opens its span. `envelope` is there as far as its body could be
    /// read. Its tag is a label only if it is one that is handled: others are whatever others write.
    pub(crate) fn process(
        &self,
        delivery: &RawDelivery,
        envelope: Option<&Envelope>,
    ) -> Processing<'_> {
        let span = self.span(delivery, envelope);
        let durations = &self.instruments().durations;
        let handled = envelope.and_then(|envelope| durations.get_key_value(&*envelope.tag));
        let begun = Begun { telemetry: self, handled, started: Instant::now() };
        Processing { span, begun: Some(begun) }
    }

    fn instruments(&self) -> &Instruments {
        self.instruments.get_or_init(|| {
            describe();
            let histogram = |&tag| {
                let labels = self.duration_labels(Some(tag), None);
                (tag, metrics::histogram!(PROCESS_DURATION, labels))
            };
            let labels = self.channel.labels(PROCESS, None);
            Instruments {
                in_flight: metrics::gauge!(DELIVERIES_IN_FLIGHT, labels),
                handled: self.counter(Outcome::HANDLED, None),
                duplicates: self.counter(Outcome::DUPLICATE, None),
                ignored: self.counter(Outcome::IGNORED, None),
                durations: self.tags.iter().map(histogram).collect(),
            }
        })
    }

    fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Handled { .. } => self.instruments().handled.increment(1),
            Outcome::Duplicate => self.instruments().duplicates.increment(1),
            Outcome::Ignored(_) => self.instruments().ignored.increment(1),
            other => self.counter(other.name(), other.error_type()).increment(1),
        }
    }

    fn counter(&self, outcome: &'static str, error: Option<&'static str>) -> Counter {
        let mut labels = self.channel.labels(PROCESS, error);
        labels.push(Label::from_static_parts(OUTCOME, outcome));
        metrics::counter!(DELIVERY_OUTCOMES, labels)
    }

    fn duration_labels(&self, tag: Option<&'static str>, error: Option<&str>) -> Vec<Label> {
        let mut labels = self.channel.labels(PROCESS, error);
        labels.extend(tag.map(|tag| Label::from_static_parts(EVENT_TAG, tag)));
        labels
    }

    /// The span of a delivery's processing; `envelope` is there as far as its body could be read.
    fn span(&self, delivery: &RawDelivery, envelope: Option<&Envelope>) -> Span {
        let RawDelivery { body, metadata, .. } = delivery;
        let context = envelope.map(|envelope| &envelope.context);
        let origin = origin(context, metadata);
        let channel = &self.channel;
        let span = tracing::info_span!(
            "process",
            { OTEL_NAME } = %format_args!("{PROCESS} {}", channel.destination()),
            { OTEL_KIND } = "consumer",
            { OTEL_STATUS_CODE } = field::Empty,
            { SYSTEM } = channel.system(),
            { OPERATION_NAME } = PROCESS,
            { OPERATION_TYPE } = PROCESS,
            { DESTINATION_NAME } = channel.destination(),
            { CONSUMER_GROUP_NAME } = channel.consumer_group(),
            { MESSAGE_ID } = metadata.message_id,
            { MESSAGE_CONVERSATION_ID } = context.and_then(|context| context.correlation_id.as_deref()),
            { MESSAGE_BODY_SIZE } = body.len(),
            { EVENT_TAG } = envelope.map(|envelope| &*envelope.tag),
            { EVENT_ID } = envelope.map(|envelope| &*envelope.id),
            { ATTEMPT } = metadata.attempt,
            { OUTCOME } = field::Empty,
            { ERROR_TYPE } = field::Empty,
            { FAAS_INVOCATION_ID } = metadata.request_id.as_deref(),
            { TRACEPARENT } = origin.map(|(traceparent, _)| traceparent),
        );
        extract(&span, origin);
        span
    }
}

/// Deliveries that are held; counted down as they are settled, and when it is dropped.
pub(crate) struct InFlight<'a> {
    telemetry: &'a Telemetry,
    gauge: &'a Gauge,
    deliveries: usize,
}

impl InFlight<'_> {
    /// One of them has its outcome.
    pub(crate) fn settle(&mut self, outcome: &Outcome) {
        self.telemetry.count(outcome);
        self.gauge.decrement(1.0);
        self.deliveries = self.deliveries.saturating_sub(1);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.deliveries > 0 {
            self.gauge.decrement(self.deliveries as f64);
        }
    }
}

/// A delivery that is being processed.
pub(crate) struct Processing<'a> {
    span: Span,
    begun: Option<Begun<'a>>,
}

/// What is measured of it.
struct Begun<'a> {
    telemetry: &'a Telemetry,
    /// The tag of its event and how long such events take, if they are handled.
    handled: Option<(&'a &'static str, &'a Histogram)>,
    started: Instant,
}

impl Processing<'_> {
    /// Of a delivery that is for others.
    pub(crate) fn none() -> Self {
        Processing { span: Span::none(), begun: None }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn end(self, outcome: &Outcome) {
        let Some(Begun { telemetry, handled, started }) = self.begun else { return };
        let error = outcome.error_type();
        if !self.span.is_disabled() {
            self.span.record(OUTCOME, outcome.name());
        }
        if let Some(error) = error {
            failed(&self.span, error);
        }
        let time = started.elapsed();
        match (handled, error) {
            (Some((_, histogram)), None) => histogram.record(time),
            (handled, error) => {
                let tag = handled.map(|(tag, _)| *tag);
                let labels = telemetry.duration_labels(tag, error);
                metrics::histogram!(PROCESS_DURATION, labels).record(time);
            }
        }
    }
}
