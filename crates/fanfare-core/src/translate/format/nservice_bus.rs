//! Messages of NServiceBus.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    super::{
        Foreign, Format, Tag, TranslateError, Written,
        fields::{Body, Fields},
    },
    json, traceparent,
};
use crate::{Context, Destination, RawDelivery};

const TYPES: &str = "NServiceBus.EnclosedMessageTypes";
const ID: &str = "NServiceBus.MessageId";
const CONVERSATION: &str = "NServiceBus.ConversationId";
const CORRELATION: &str = "NServiceBus.CorrelationId";
const CAUSE: &str = "NServiceBus.RelatedTo";
const ENDPOINT: &str = "NServiceBus.OriginatingEndpoint";
const TIME: &str = "NServiceBus.TimeSent";

/// NServiceBus' own format of times, with microseconds.
/// <https://docs.particular.net/nservicebus/messaging/headers#timestamp-format>
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S:%6f Z";

/// The attribute with the headers of a message that is not wrapped.
const HEADERS: &str = "NServiceBus.AmazonSQS.Headers";

/// Messages of NServiceBus on SQS, with JSON inside:
/// `{"Headers":{"NServiceBus.EnclosedMessageTypes":"Ns.OrderPlaced, Asm",…},"Body":"<base64>"}`, or not
/// wrapped, with the headers in the attribute `NServiceBus.AmazonSQS.Headers`.
/// <https://docs.particular.net/transports/sqs/native-integration>
///
/// A message lists all types that it can be read as; the first that is mapped counts. A type can be mapped
/// as it stands there, or without version and token (`Ns.OrderPlaced, Asm`), or without its assembly
/// (`Ns.OrderPlaced`). The correlation id is the conversation's. Bodies that NServiceBus keeps in S3
/// (`S3BodyKey`), and XML, are malformed here.
///
/// Outward messages are wrapped; what NServiceBus has no header for goes by the names of CloudEvents'
/// attributes.
#[derive(Debug, Clone, Copy)]
pub struct NServiceBus;

type Headers = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wrapped {
    headers: BTreeMap<&'static str, String>,
    body: String,
}

impl Format for NServiceBus {
    const NAME: &'static str = "NServiceBus";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        let (mut headers, data) = match delivery.attributes.get(HEADERS).map(|h| h.as_str()) {
            Some(headers) => unwrapped(headers.unwrap_or_default(), &delivery.body)?,
            None => match wrapped(&delivery.body)? {
                Some(message) => message,
                None => return Ok(None),
            },
        };
        let types = headers.remove(TYPES).unwrap_or_default();
        let types: Vec<String> = types.split(';').flat_map(names).collect();
        if types.is_empty() {
            return Err(malformed(TYPES, "is missing"));
        }
        let mut event = Foreign::new(Tag::Foreign(types), data);
        let mut take = |name: &str| headers.remove(name).filter(|value| !value.is_empty());
        event.id = take(ID);
        event.source = take("source").or_else(|| take(ENDPOINT));
        event.time = take(TIME).and_then(|time| read_time(&time));
        event.key = take("partitionkey");
        event.context = Context {
            correlation_id: take(CONVERSATION).or_else(|| take(CORRELATION)),
            causation_id: take(CAUSE),
            traceparent: take("traceparent").and_then(traceparent),
            tracestate: take("tracestate"),
            hops: take("hops").and_then(|hops| hops.parse().ok()).unwrap_or_default(),
        };
        Ok(Some(event))
    }

    fn write(&self, event: Foreign, to: &Destination) -> Result<Written, TranslateError> {
        let Foreign { tag, id, source, time, key, context, data } = event;
        let intent = match to {
            Destination::Topic(_) => "Publish",
            Destination::Queue(_) => "Send",
        };
        let headers = [
            (TYPES, Some(tag.name().into())),
            ("NServiceBus.ContentType", Some("application/json".into())),
            ("NServiceBus.MessageIntent", Some(intent.into())),
            (ID, id),
            (CONVERSATION, context.correlation_id.clone()),
            (CORRELATION, context.correlation_id),
            (CAUSE, context.causation_id),
            (ENDPOINT, source),
            (TIME, time.map(|time| time.strftime(TIME_FORMAT).to_string())),
            ("partitionkey", key),
            ("traceparent", context.traceparent),
            ("tracestate", context.tracestate),
            ("hops", (context.hops > 0).then(|| context.hops.to_string())),
        ];
        let headers =
            headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let body = STANDARD.encode(data.get());
        Ok(Written::new(json(Self::NAME, &Wrapped { headers, body })?))
    }
}

/// Headers and data of a wrapped message.
fn wrapped(body: &str) -> Result<Option<(Headers, Box<RawValue>)>, TranslateError> {
    const FIELDS: [&str; 3] = ["Headers", "Body", "S3BodyKey"];
    let fields = Fields::read(NServiceBus::NAME, body, FIELDS)?;
    let Body::Object(fields) = fields else { return Ok(None) };
    let has = |name| fields.get(name).is_some();
    if !has("Headers") || !(has("Body") || has("S3BodyKey")) {
        return Ok(None);
    }
    if fields.text("S3BodyKey")?.is_some_and(|key| !key.is_empty()) {
        return Err(malformed("S3BodyKey", "is set: bodies in S3 are not fetched"));
    }
    let headers = fields.get("Headers").map_or("", RawValue::get);
    let headers = read_headers(headers, "Headers")?;
    let body = fields.text("Body")?.unwrap_or_default();
    let body = STANDARD.decode(body).map_err(|_| malformed("Body", "is not base64"))?;
    let body = String::from_utf8(body).map_err(|_| malformed("Body", "is not UTF-8"))?;
    Ok(Some((headers, read_data(&body, "Body")?)))
}

/// Headers and data of a message that is not wrapped.
fn unwrapped(headers: &str, body: &str) -> Result<(Headers, Box<RawValue>), TranslateError> {
    Ok((read_headers(headers, HEADERS)?, read_data(body, ".")?))
}

/// A header may be null.
fn read_headers(json: &str, field: &'static str) -> Result<Headers, TranslateError> {
    let headers = serde_json::from_str::<BTreeMap<String, Option<String>>>(json);
    let headers = headers.map_err(|_| malformed(field, "is not an object of strings"))?;
    Ok(headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn read_data(json: &str, field: &'static str) -> Result<Box<RawValue>, TranslateError> {
    // .NET likes to put a byte order mark before it.
    let json = json.trim_start_matches('\u{FEFF}');
    serde_json::from_str(json).map_err(|_| malformed(field, "is not JSON"))
}

fn malformed(field: &'static str, problem: &str) -> TranslateError {
    TranslateError::malformed(NServiceBus::NAME, field, problem)
}

fn read_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime(TIME_FORMAT, text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// The names by which a type can be mapped: as it stands there, `Ns.T, Asm` and `Ns.T`.
fn names(full: &str) -> Vec<String> {
    let full = full.trim();
    if full.is_empty() {
        return Vec::new();
    }
    let mut commas = commas(full);
    let (class, assembly) = (commas.next(), commas.next());
    let shorter = [assembly, class].into_iter().flatten().map(|end| full[..end].trim().into());
    std::iter::once(full.into()).chain(shorter).collect()
}

/// Where commas are that are not within a generic type's brackets.
fn commas(name: &str) -> impl Iterator<Item = usize> {
    let mut depth = 0_u32;
    name.char_indices().filter_map(move |(at, c)| {
        match c {
            '[' => depth = depth.saturating_add(1),
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return Some(at),
            _ => {}
        }
        None
    })
}
