//! Where messages go to or come from, and the requests that are made there.

use std::{sync::Arc, time::Instant};

use metrics::{Label, SharedString};
use tracing::{Instrument, Span, field, instrument::Instrumented};

use super::{
    BATCH_MESSAGE_COUNT, CLIENT_CONSUMED_MESSAGES, CLIENT_OPERATION_DURATION, CLIENT_SENT_MESSAGES,
    CONSUMER_GROUP_NAME, DESTINATION_NAME, ERROR_TYPE, EVENT_ID, EVENT_TAG, OPERATION_NAME,
    OPERATION_TYPE, OTEL_KIND, OTEL_NAME, OTEL_STATUS_CODE, SYSTEM, describe,
};

/// A queue, topic or stream as telemetry names it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    system: &'static str,
    destination: Arc<str>,
    consumer_group: Option<Arc<str>>,
}

/// What kind of request a client makes of a messaging system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationType {
    /// Messages are sent.
    Send,
    /// Messages are asked for.
    Receive,
    /// Messages that were received are deleted, or given back.
    Settle,
}

impl Channel {
    /// A channel of `system`, one of the values that [the module](super) lists, with the name that
    /// it has there.
    #[must_use]
    pub fn new(system: &'static str, destination: impl Into<Arc<str>>) -> Self {
        Channel { system, destination: destination.into(), consumer_group: None }
    }

    /// The same, as the consumer `group` reads it.
    #[must_use]
    pub fn read_by(self, group: impl Into<Arc<str>>) -> Self {
        Channel { consumer_group: Some(group.into()), ..self }
    }

    /// The messaging system.
    #[must_use]
    pub fn system(&self) -> &'static str {
        self.system
    }

    /// The name of the queue, topic or stream.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Who reads it, if anybody does.
    #[must_use]
    pub fn consumer_group(&self) -> Option<&str> {
        self.consumer_group.as_deref()
    }

    /// Begins a request, or several that make up one operation: opens its span. `name` is what the
    /// system calls it.
    #[must_use = "an operation that is not ended is not measured"]
    pub fn begin(&self, kind: OperationType, name: &'static str) -> Operation<'_> {
        macro_rules! span {
            ($level:ident, $name:literal) => {
                tracing::span!(
                    tracing::Level::$level,
                    $name,
                    { OTEL_NAME } = %format_args!("{name} {}", self.destination),
                    { OTEL_KIND } = "client",
                    { OTEL_STATUS_CODE } = field::Empty,
                    { SYSTEM } = self.system,
                    { OPERATION_NAME } = name,
                    { OPERATION_TYPE } = kind.name(),
                    { DESTINATION_NAME } = &*self.destination,
                    { CONSUMER_GROUP_NAME } = self.consumer_group(),
                    { BATCH_MESSAGE_COUNT } = field::Empty,
                    { ERROR_TYPE } = field::Empty,
                    { EVENT_TAG } = field::Empty,
                    { EVENT_ID } = field::Empty,
                )
            };
        }
        let span = match kind {
            OperationType::Send => span!(INFO, "send"),
            OperationType::Receive => span!(DEBUG, "receive"),
            OperationType::Settle => span!(DEBUG, "settle"),
        };
        Operation { channel: self, kind, name, span, started: Instant::now() }
    }

    /// Counts messages that came here.
    pub fn consumed(&self, messages: usize) {
        if messages > 0 {
            describe();
            let labels = self.labels("receive", None);
            metrics::counter!(CLIENT_CONSUMED_MESSAGES, labels).increment(messages as u64);
        }
    }

    /// Counts messages that were sent here with the operation `name`: what a request has brought
    /// before AWS, whether it was accepted or not.
    pub fn sent(&self, name: &'static str, messages: usize, error: Option<&str>) {
        if messages > 0 {
            describe();
            let labels = self.labels(name, error);
            metrics::counter!(CLIENT_SENT_MESSAGES, labels).increment(messages as u64);
        }
    }

    /// The labels of all metrics of an operation.
    pub(super) fn labels(&self, operation: &'static str, error: Option<&str>) -> Vec<Label> {
        let mut labels = Vec::with_capacity(6);
        labels.push(Label::from_static_parts(SYSTEM, self.system));
        labels.push(Label::from_static_parts(OPERATION_NAME, operation));
        labels.push(Label::new(DESTINATION_NAME, shared(&self.destination)));
        if let Some(group) = &self.consumer_group {
            labels.push(Label::new(CONSUMER_GROUP_NAME, shared(group)));
        }
        if let Some(error) = error {
            labels.push(Label::new(ERROR_TYPE, SharedString::from_owned(error.into())));
        }
        labels
    }
}

fn shared(text: &Arc<str>) -> SharedString {
    SharedString::from_shared(Arc::clone(text))
}

impl OperationType {
    /// As the conventions call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OperationType::Send => "send",
            OperationType::Receive => "receive",
            OperationType::Settle => "settle",
        }
    }
}

/// An operation that has begun; made by [`Channel::begin`].
#[derive(Debug)]
pub struct Operation<'a> {
    channel: &'a Channel,
    kind: OperationType,
    name: &'static str,
    span: Span,
    started: Instant,
}

impl Operation<'_> {
    /// Says which event it is about, if it is about one.
    pub fn event(&self, tag: &str, id: &str) {
        self.span.record(EVENT_TAG, tag);
        self.span.record(EVENT_ID, id);
    }

    /// Runs `work` within its span.
    pub fn run<F: Future>(&self, work: F) -> Instrumented<F> {
        work.instrument(self.span.clone())
    }

    /// Ends it, with how many messages it was about and the class of its error if it failed, also in
    /// part: a word from a closed set, or the service's error code.
    pub fn end(self, messages: usize, error: Option<&str>) {
        let Operation { channel, kind, name, span, started } = self;
        span.record(BATCH_MESSAGE_COUNT, messages);
        if let Some(error) = error {
            failed(&span, error);
        }
        describe();
        let mut labels = channel.labels(name, error);
        labels.push(Label::from_static_parts(OPERATION_TYPE, kind.name()));
        metrics::histogram!(CLIENT_OPERATION_DURATION, labels).record(started.elapsed());
    }
}

/// Marks a span as one of something that failed.
pub(super) fn failed(span: &Span, error: &str) {
    if !span.is_disabled() {
        span.record(ERROR_TYPE, error);
        span.record(OTEL_STATUS_CODE, "ERROR");
    }
}
