//! Events of EventBridge.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    super::{
        Foreign, Format, Tag, TranslateError, Written,
        fields::{Body, Fields},
    },
    json,
};
use crate::{Destination, RawDelivery};

/// Events that a rule of EventBridge puts into a queue, or Lambda's and S3's own:
/// `{"version":"0","id":…,"detail-type":"OrderPlaced","source":"com.example.orders","time":…,
/// "detail":{…}}`. The tag is `detail-type`, the data is `detail`.
/// <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>
///
/// Outward there is no place for the key, and for what led to the event; account and region are left
/// out, as they are not known here.
#[derive(Debug, Clone, Copy)]
pub struct EventBridge;

#[derive(Serialize)]
struct Event<'a> {
    version: &'static str,
    id: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: &'a str,
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    resources: [&'static str; 0],
    detail: &'a RawValue,
}

impl Format for EventBridge {
    const NAME: &'static str = "EventBridge";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        const FIELDS: [&str; 5] = ["id", "detail-type", "source", "time", "detail"];
        let Body::Object(fields) = Fields::read(Self::NAME, &delivery.body, FIELDS)? else {
            return Ok(None);
        };
        let has = |name| fields.get(name).is_some();
        if !has("detail-type") || !(has("detail") || has("source")) {
            return Ok(None);
        }
        let tag = fields.text("detail-type")?.unwrap_or_default();
        let data = fields.required("detail")?.to_owned();
        let mut event = Foreign::new(Tag::of(tag), data);
        (event.id, event.source) = (fields.text("id")?, fields.text("source")?);
        event.time = fields.text("time")?.and_then(|time| time.parse().ok());
        Ok(Some(event))
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        let body = json(
            Self::NAME,
            &Event {
                version: "0",
                id: event.id,
                detail_type: event.tag.name(),
                source: event.source,
                time: event.time,
                resources: [],
                detail: &event.data,
            },
        )?;
        Ok(Written::new(body))
    }
}
