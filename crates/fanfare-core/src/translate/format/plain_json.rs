//! JSON with its type beside it.

use serde_json::value::RawValue;

use super::super::{
    Foreign, Format, Tag, TranslateError, Written,
    fields::{Body, Fields},
};
use crate::{Destination, RawDelivery};

/// A body of plain JSON whose type stands in a message attribute, or in the subject of the notification
/// around it ([`SnsNotification::SUBJECT`](super::super::SnsNotification::SUBJECT)).
///
/// Outward that attribute is set, and the body is the data alone; give the id an attribute too
/// ([`Translation::id_attribute`](super::super::Translation::id_attribute)).
#[derive(Debug, Clone)]
pub struct PlainJson {
    attribute: String,
}

impl PlainJson {
    /// The type stands in the attribute with this name.
    #[must_use]
    pub fn tag_in(attribute: impl Into<String>) -> Self {
        PlainJson { attribute: attribute.into() }
    }
}

impl Format for PlainJson {
    const NAME: &'static str = "PlainJson";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        read(Self::NAME, &self.attribute, delivery)
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        Ok(Written::new(event.data.get()).attribute(&self.attribute, event.tag.name()))
    }
}

/// Reads a body whose type stands in `attribute`.
pub(super) fn read(
    format: &'static str,
    attribute: &str,
    delivery: &RawDelivery,
) -> Result<Option<Foreign>, TranslateError> {
    let tag = delivery.attributes.get(attribute).and_then(|value| value.as_str());
    let Some(tag) = tag else { return Ok(None) };
    // Our own messages have attributes too, and this may be the name of one.
    if let Body::CloudEvent = Fields::read(format, &delivery.body, [])? {
        return Ok(None);
    }
    let data = serde_json::from_str::<Box<RawValue>>(&delivery.body)
        .map_err(|_| TranslateError::malformed(format, ".", "is not JSON"))?;
    Ok(Some(Foreign::new(Tag::of(tag), data)))
}
