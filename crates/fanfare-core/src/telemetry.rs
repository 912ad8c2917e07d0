//! What fanfare tells of its work: spans through [`tracing`](https://docs.rs/tracing), metrics
//! through [`metrics`](https://docs.rs/metrics). Whoever subscribes gets them. Without a subscriber and
//! a recorder, or at a level that is off, nothing is formatted and nothing allocated for a message
//! that succeeds, so there is no feature that switches them off.
//!
//! Names follow OpenTelemetry's semantic conventions for messaging, version 1.44.0 (status:
//! development): [spans], [metrics], [SQS], [SNS]. The conventions do not have Kinesis, so its
//! names are formed like SNS's. What they lack begins with `fanfare.`.
//!
//! # The table
//!
//! | what | emitted by | kind, level, unit | carries |
//! |---|---|---|---|
//! | span `send` | publisher, once for each destination of a call; dead letters | client, INFO | S: [`BATCH_MESSAGE_COUNT`], and of a single event [`EVENT_TAG`] and [`EVENT_ID`] |
//! | span `receive` | `Worker`, each long poll; `StreamWorker`, each read, but not with enhanced fan-out, where AWS sends | client, DEBUG | S, [`CONSUMER_GROUP_NAME`], [`BATCH_MESSAGE_COUNT`] |
//! | span `process` | every host, each delivery that is begun, from then to its outcome; not what is for others on a stream | consumer, INFO | S, [`CONSUMER_GROUP_NAME`], [`MESSAGE_ID`], [`MESSAGE_CONVERSATION_ID`], [`MESSAGE_BODY_SIZE`], [`EVENT_TAG`], [`EVENT_ID`], [`ATTEMPT`], [`OUTCOME`], [`TRACEPARENT`], on Lambda [`FAAS_INVOCATION_ID`] |
//! | span `settle` | `Worker` and a Lambda function's redelivery, each request; a `StreamWorker` settles with the renewal of its leases, which has none | client, DEBUG | S, [`CONSUMER_GROUP_NAME`], [`BATCH_MESSAGE_COUNT`] |
//! | span `invoke` | Lambda functions and tasks, each invocation | server, INFO | [`FAAS_INVOCATION_ID`], [`FAAS_TRIGGER`], `trace_id` (X-Ray's header), [`OTEL_NAME`], [`OTEL_KIND`]; of a function [`SYSTEM`], [`DESTINATION_NAME`], [`CONSUMER_GROUP_NAME`] and [`BATCH_MESSAGE_COUNT`] |
//! | [`CLIENT_OPERATION_DURATION`] | with the spans `send`, `receive` and `settle` | histogram, s | M, [`OPERATION_TYPE`] |
//! | [`CLIENT_SENT_MESSAGES`] | with the span `send` | counter, messages | M |
//! | [`CLIENT_CONSUMED_MESSAGES`] | every host, what it received, an event in an aggregate counting as a message | counter, messages | M |
//! | [`PROCESS_DURATION`] | with the span `process` | histogram, s | M, [`EVENT_TAG`] if it is one that is handled here |
//! | [`DELIVERY_OUTCOMES`] | every host, each delivery when its outcome is known, also if it was not begun | counter, deliveries | M, [`OUTCOME`] |
//! | [`DELIVERIES_IN_FLIGHT`] | every host: what was given to the consumer and has no outcome | gauge, deliveries | M |
//!
//! S is [`SYSTEM`], [`OPERATION_NAME`], [`OPERATION_TYPE`], [`DESTINATION_NAME`], and [`ERROR_TYPE`]
//! and [`OTEL_STATUS_CODE`] if it failed; and what tracing-opentelemetry makes a span of,
//! [`OTEL_NAME`] (`process shop-products`) and [`OTEL_KIND`]. M is [`SYSTEM`], [`OPERATION_NAME`],
//! [`DESTINATION_NAME`], [`CONSUMER_GROUP_NAME`] where something is consumed, and [`ERROR_TYPE`] if
//! it failed.
//!
//! | attribute | values |
//! |---|---|
//! | [`SYSTEM`] | [`AWS_SNS`], [`AWS_SQS`], [`AWS_KINESIS`]; [`FANFARE`] for what is not received from AWS: replays, projections and tests |
//! | [`OPERATION_NAME`] | what AWS calls it: `publish` to SNS, `send` to SQS, `put` to Kinesis; `receive` from all; `delete` and `change_visibility` on SQS; and `process` |
//! | [`OPERATION_TYPE`] | `send`, `receive`, `process`, `settle` |
//! | [`DESTINATION_NAME`] | the name of the topic, queue or stream on AWS; a consumer's own name where the system is [`FANFARE`] |
//! | [`CONSUMER_GROUP_NAME`] | the consumer's name, that of its [`Router`](crate::Router); in `receive` and `settle` that of the service whose queue or stream it is, which should be the same |
//! | [`OUTCOME`] | `handled`, `duplicate`, `ignored`, `retried`, `dead_lettered`, and what was not begun or does not count: `blocked`, `released`, `lost` (see [`Outcome`](crate::Outcome)) |
//! | [`ERROR_TYPE`] of `receive`, `settle` and dead letters | the service's error code, or what broke on the way |
//! | [`ERROR_TYPE`] of publishing | what [`PublishError::error_type`](crate::PublishError::error_type) says of the first message that failed |
//! | [`ERROR_TYPE`] of `process` | if it is tried again `handler` for its handler's error or a layer's, `panic`, `publish` for what follows from it, `store` for an inbox or another store, `dead_letters` for the dead-letter queue, `in_progress` if another delivery of it is being handled, and the reason where the policy keeps it; the reason if it is dead-lettered: `rejected`, `unknown_tag`, `undecodable`, `unclaimed`, `too_many_hops`, `exhausted`, `unpublishable`, `parked`, `other_payload`; `lost` |
//!
//! Labels of metrics have few values; there is no id among them. Nothing here has a payload, a key
//! or a receipt handle, at no level: the only texts from outside are ids, type tags, trace headers,
//! and in log events what handlers and AWS say of an error. The conventions' buckets for both durations are
//! 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5 and 10 seconds. Install
//! a recorder before anything is consumed: each consumer looks its metrics up once.
//!
//! # Traces
//!
//! A `process` span has the parent that is current in its host: none in a worker, `invoke` in a
//! Lambda function. Its field [`TRACEPARENT`] says where its event comes from. To link it, and to have events
//! carry on the trace of the span that they are emitted in, set a [`Propagator`]. A `send` is of
//! kind client and not producer because the trace that a message carries is that of the span in
//! which it was emitted.
//!
//! [spans]: https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-spans.md
//! [metrics]: https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-metrics.md
//! [SQS]: https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/sqs.md
//! [SNS]: https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/sns.md

mod channel;
mod processing;
mod propagation;

use std::sync::Once;

use metrics::Unit;

pub use channel::{Channel, Operation, OperationType};
pub(crate) use processing::{InFlight, Processing, Telemetry};
pub use propagation::{Propagator, PropagatorIsSet, Trace, set_propagator};

/// Names attributes and metrics.
macro_rules! names {
    ($($name:ident = $value:literal: $doc:literal;)*) => {
        $(#[doc = $doc]
        pub const $name: &str = $value;)*
    };
}

names! {
    SYSTEM = "messaging.system": "Attribute: the messaging system.";
    OPERATION_NAME = "messaging.operation.name": "Attribute: what the system calls an operation.";
    OPERATION_TYPE = "messaging.operation.type": "Attribute: what kind of operation it is.";
    DESTINATION_NAME = "messaging.destination.name": "Attribute: the topic, queue or stream.";
    CONSUMER_GROUP_NAME = "messaging.consumer.group.name": "Attribute: who consumes.";
    BATCH_MESSAGE_COUNT = "messaging.batch.message_count": "Attribute: how many messages an operation is about.";
    MESSAGE_ID = "messaging.message.id": "Attribute: the transport's id of a message, [`Metadata::message_id`](crate::Metadata::message_id).";
    MESSAGE_CONVERSATION_ID = "messaging.message.conversation_id": "Attribute: the event's correlation id.";
    MESSAGE_BODY_SIZE = "messaging.message.body.size": "Attribute: the bytes of a message's body.";
    ERROR_TYPE = "error.type": "Attribute: the class of the error that an operation ended with; absent where it succeeded.";
    FAAS_INVOCATION_ID = "faas.invocation_id": "Attribute: the id of a function's invocation.";
    FAAS_TRIGGER = "faas.trigger": "Attribute: what invokes a function.";
    EVENT_TAG = "fanfare.event.tag": "Attribute: the event's type tag.";
    EVENT_ID = "fanfare.event.id": "Attribute: the event's id, which stays when its message's id changes.";
    ATTEMPT = "fanfare.attempt": "Attribute: how often a message has been received.";
    OUTCOME = "fanfare.outcome": "Attribute: what became of a delivery.";
    TRACEPARENT = "traceparent": "Attribute: the W3C trace that an event comes from.";
    OTEL_NAME = "otel.name": "Attribute: the span's name by the conventions, for tracing-opentelemetry, as those of `tracing` are static.";
    OTEL_KIND = "otel.kind": "Attribute: the span's kind, for tracing-opentelemetry.";
    OTEL_STATUS_CODE = "otel.status_code": "Attribute: `ERROR` where an operation failed, for tracing-opentelemetry.";

    CLIENT_OPERATION_DURATION = "messaging.client.operation.duration": "Metric: how long requests took, in seconds.";
    CLIENT_SENT_MESSAGES = "messaging.client.sent.messages": "Metric: how many messages were sent, accepted or not.";
    CLIENT_CONSUMED_MESSAGES = "messaging.client.consumed.messages": "Metric: how many messages were received.";
    PROCESS_DURATION = "messaging.process.duration": "Metric: how long deliveries took from their begin to their outcome, in seconds.";
    DELIVERY_OUTCOMES = "fanfare.delivery.outcomes": "Metric: what became of deliveries.";
    DELIVERIES_IN_FLIGHT = "fanfare.delivery.in_flight": "Metric: how many deliveries are held by consumers.";

    AWS_SNS = "aws.sns": "System: Amazon SNS.";
    AWS_SQS = "aws_sqs": "System: Amazon SQS, as the conventions write it.";
    AWS_KINESIS = "aws.kinesis": "System: Amazon Kinesis Data Streams.";
    FANFARE = "fanfare": "System: none; deliveries that fanfare makes itself.";
}

/// Describes all metrics, once.
fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        metrics::describe_histogram!(
            CLIENT_OPERATION_DURATION,
            Unit::Seconds,
            "Duration of requests that send, receive or settle messages."
        );
        metrics::describe_counter!(
            CLIENT_SENT_MESSAGES,
            Unit::Count,
            "Messages that were sent, accepted or not."
        );
        metrics::describe_counter!(
            CLIENT_CONSUMED_MESSAGES,
            Unit::Count,
            "Messages that were received."
        );
        metrics::describe_histogram!(
            PROCESS_DURATION,
            Unit::Seconds,
            "Duration of deliveries from their begin to their outcome."
        );
        metrics::describe_counter!(DELIVERY_OUTCOMES, Unit::Count, "What became of deliveries.");
        metrics::describe_gauge!(
            DELIVERIES_IN_FLIGHT,
            Unit::Count,
            "Deliveries that consumers hold."
        );
    });
}
