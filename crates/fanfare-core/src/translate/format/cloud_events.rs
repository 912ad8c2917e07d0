//! CloudEvents of others.

use serde_json::value::RawValue;

use super::super::{Foreign, Format, Tag, TranslateError, Written};
use crate::{Destination, Envelope, Opened, RawDelivery, envelope::encode};

/// CloudEvents in structured JSON with other types than ours, or with `data` as a JSON *string*, as older
/// versions of the AWS Message Processing Framework for .NET write it:
/// `{"id":…,"source":…,"specversion":"1.0","type":"Publisher.Models.ChatMessage","time":…,"data":"{…}"}`.
///
/// A `type` that is not mapped is a type tag as ours are. So an event of ours passes untouched, and one
/// that has its data as a string needs no mapping.
///
/// `data_base64` stays unsupported: it is for binary data, and that of an event is JSON.
///
/// Outward the data is a string. Nothing is lost.
#[derive(Debug, Clone, Copy)]
pub struct CloudEvents;

impl Format for CloudEvents {
    const NAME: &'static str = "CloudEvents";

    fn read(
        &self,
        delivery: &RawDelivery,
        changes: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        // What is broken before the data is as broken when it is read as ours.
        let Ok(opened) = Opened::open(&delivery.body) else { return Ok(None) };
        let (changes, in_string) = (changes(&opened.envelope().tag), opened.has_data_in_string());
        if !changes && !in_string {
            return Ok(None);
        }
        let broken = |error| TranslateError::of_cloud_event(Self::NAME, error);
        let (envelope, data) = if in_string {
            let (envelope, text) = opened.read::<String>().map_err(broken)?;
            let data = RawValue::from_string(text).map_err(|_| {
                TranslateError::malformed(Self::NAME, "data", "is a string that holds no JSON")
            })?;
            (envelope, data)
        } else {
            opened.read::<Box<RawValue>>().map_err(broken)?
        };
        let Envelope { id, source, tag, time, key, context } = envelope;
        let tag = if changes { Tag::of(tag) } else { Tag::Ours(tag) };
        let (id, source) = (Some(id), Some(source));
        Ok(Some(Foreign { tag, id, source, time, key, context, data }))
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        let Foreign { tag, id, source, time, key, context, data } = event;
        let (id, source) = (id.unwrap_or_default(), source.unwrap_or_default());
        let envelope = Envelope { id, source, tag: tag.name().into(), time, key, context };
        let body = serde_json::value::to_raw_value(data.get())
            .and_then(|text| encode(&envelope, &text))
            .map_err(|error| TranslateError::malformed(Self::NAME, "data", error.to_string()))?;
        Ok(Written::new(body))
    }
}
