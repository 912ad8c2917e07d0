//! Messages of MassTransit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use super::{
    super::{
        Foreign, Format, Tag, TranslateError, Written,
        fields::{Body, Fields},
    },
    json, traceparent,
};
use crate::{Context, Destination, RawDelivery};

/// Where MassTransit has a trace context, of W3C's form or an older one of .NET's.
const ACTIVITY: &str = "MT-Activity-Id";

/// The content type of an envelope, which receivers choose their deserializer by.
const CONTENT_TYPE: &str = "application/vnd.masstransit+json";

/// MassTransit's JSON envelope: `{"messageId":…,"conversationId":…,
/// "messageType":["urn:message:Company.Project:SubmitOrder"],"message":{…},"sentTime":…,"headers":{…}}`.
/// <https://masstransit.io/documentation/concepts/messages>
///
/// A message lists all types that it can be read as; the first that is mapped counts. The correlation id
/// is its `conversationId`, which MassTransit passes on from message to message, or else its
/// `correlationId`.
///
/// Outward the id has to be a UUID, as every id is that fanfare gives; what the envelope has no place for
/// goes into `headers`, by the names of CloudEvents' attributes.
#[derive(Debug, Clone, Copy)]
pub struct MassTransit;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<String>,
    message_type: [&'a str; 1],
    message: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_time: Option<Timestamp>,
    headers: BTreeMap<&'static str, Value>,
}

impl Format for MassTransit {
    const NAME: &'static str = "MassTransit";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        const FIELDS: [&str; 8] = [
            "messageId",
            "conversationId",
            "correlationId",
            "sourceAddress",
            "messageType",
            "message",
            "sentTime",
            "headers",
        ];
        let Body::Object(fields) = Fields::read(Self::NAME, &delivery.body, FIELDS)? else {
            return Ok(None);
        };
        let has = |name| fields.get(name).is_some();
        if !has("messageType") || !(has("message") || has("messageId")) {
            return Ok(None);
        }
        let types: Vec<String> =
            fields.read_as("messageType", "a list of types")?.unwrap_or_default();
        if types.is_empty() {
            return Err(fields.malformed("messageType", "names no type"));
        }
        let headers = fields.read_as("headers", "an object")?.unwrap_or_default();
        let headers = Headers(headers);
        let data = fields.required("message")?.to_owned();
        let mut event = Foreign::new(Tag::Foreign(types), data);
        event.id = fields.text("messageId")?;
        event.source = headers.text("source").or(fields.text("sourceAddress")?);
        event.time = fields.text("sentTime")?.and_then(|time| time.parse().ok());
        event.key = headers.text("partitionkey");
        let conversation = fields.text("conversationId")?.or(fields.text("correlationId")?);
        event.context = Context {
            correlation_id: headers.text("correlationid").or(conversation),
            causation_id: headers.text("causationid"),
            traceparent: headers.text(ACTIVITY).and_then(traceparent),
            tracestate: headers.text("tracestate"),
            hops: headers.hops(),
        };
        Ok(Some(event))
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        let Foreign { tag, id, source, time, key, context, data } = event;
        let id = id.unwrap_or_default();
        if !is_guid(&id) {
            let problem = "is not a UUID, and MassTransit takes no other ids";
            return Err(TranslateError::malformed(Self::NAME, "messageId", problem));
        }
        let conversation = context.correlation_id.clone().filter(|id| is_guid(id));
        let texts = [
            ("source", source),
            ("partitionkey", key),
            ("correlationid", context.correlation_id.filter(|id| !is_guid(id))),
            ("causationid", context.causation_id),
            (ACTIVITY, context.traceparent),
            ("tracestate", context.tracestate),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?.into())));
        let hops = (context.hops > 0).then(|| ("hops", context.hops.into()));
        let envelope = Envelope {
            message_id: &id,
            conversation_id: conversation,
            message_type: [tag.name()],
            message: &data,
            sent_time: time,
            headers: texts.chain(hops).collect(),
        };
        Ok(Written::new(json(Self::NAME, &envelope)?).attribute("Content-Type", CONTENT_TYPE))
    }
}

/// Whether .NET takes it for a GUID.
fn is_guid(id: &str) -> bool {
    id.len() == 36 && Uuid::try_parse(id).is_ok()
}

/// Headers may hold any JSON; only texts and numbers are of use here.
struct Headers(BTreeMap<String, Value>);

impl Headers {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(Into::into)
    }

    fn hops(&self) -> u32 {
        let hops = self.0.get("hops").and_then(Value::as_u64);
        hops.map_or(0, |hops| u32::try_from(hops).unwrap_or(u32::MAX))
    }
}
