//! Envelope out.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Envelope;

/// The order of the fields is the order on the wire: `type` stands before `data`, so that a
/// reader knows what `data` is when it gets there.
#[derive(Serialize)]
struct Wire<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    hops: u32,
    data: &'a RawValue,
}

/// The structured-mode JSON of an event: `envelope` around `data`.
pub(crate) fn encode(envelope: &Envelope, data: &RawValue) -> serde_json::Result<String> {
    let context = &envelope.context;
    serde_json::to_string(&Wire {
        specversion: "1.0",
        id: &envelope.id,
        source: &envelope.source,
        r#type: &envelope.tag,
        time: envelope.time,
        datacontenttype: "application/json",
        partitionkey: envelope.key.as_deref(),
        correlationid: context.correlation_id.as_deref(),
        causationid: context.causation_id.as_deref(),
        traceparent: context.traceparent.as_deref(),
        tracestate: context.tracestate.as_deref(),
        hops: context.hops,
        data,
    })
}
