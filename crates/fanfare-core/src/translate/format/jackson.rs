//! JSON of Jackson with type information.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{
    super::{
        Foreign, Format, Tag, TranslateError, Written,
        fields::{Body, Fields, Text},
    },
    json,
};
use crate::{Destination, RawDelivery};

/// JSON of Jackson with the class in a property (`JsonTypeInfo.As.PROPERTY`):
/// `{"@class":"com.example.OrderPlaced",…}`. The data comes without it. Properties further in are data,
/// and stay.
///
/// Outward the property stands first. There is no place for an id: give it an attribute
/// ([`Translation::id_attribute`](super::super::Translation::id_attribute)).
#[derive(Debug, Clone, Copy)]
pub struct JacksonProperty {
    property: &'static str,
}

impl JacksonProperty {
    /// The class stands in `@class` (`JsonTypeInfo.Id.CLASS`).
    #[must_use]
    pub fn class() -> Self {
        JacksonProperty { property: "@class" }
    }

    /// The type stands in another property: `@type` by default for `JsonTypeInfo.Id.NAME`.
    #[must_use]
    pub fn named(property: &'static str) -> Self {
        JacksonProperty { property }
    }
}

impl Format for JacksonProperty {
    const NAME: &'static str = "Jackson";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        let fields = Fields::read(Self::NAME, &delivery.body, [self.property])?;
        let Body::Object(fields) = fields else { return Ok(None) };
        let Some(class) = fields.text(self.property)? else { return Ok(None) };
        let mut entries = Entries::read(&delivery.body)
            .map_err(|_| TranslateError::malformed(Self::NAME, ".", "is not a JSON object"))?;
        entries.0.retain(|(name, _)| *name != self.property);
        let data = serde_json::value::to_raw_value(&entries)
            .map_err(|error| TranslateError::malformed(Self::NAME, ".", error.to_string()))?;
        Ok(Some(Foreign::new(Tag::of(class), data)))
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        let class = json(Self::NAME, &event.tag.name())?;
        let class = serde_json::from_str::<&RawValue>(&class)
            .map_err(|error| TranslateError::malformed(Self::NAME, ".", error.to_string()))?;
        let mut entries = Entries::read(event.data.get())
            .map_err(|_| TranslateError::malformed(Self::NAME, ".", "is not a JSON object"))?;
        if entries.0.iter().any(|(name, _)| *name == self.property) {
            return Err(TranslateError::malformed(Self::NAME, self.property, "is there already"));
        }
        entries.0.insert(0, (self.property.into(), class));
        Ok(Written::new(json(Self::NAME, &entries)?))
    }
}

/// JSON of Jackson in an array with the class (`JsonTypeInfo.As.WRAPPER_ARRAY`, and default typing):
/// `["com.example.OrderPlaced",{…}]`. Arrays further in are data, and stay.
///
/// Outward there is no place for an id: give it an attribute
/// ([`Translation::id_attribute`](super::super::Translation::id_attribute)).
#[derive(Debug, Clone, Copy)]
pub struct JacksonArray;

impl Format for JacksonArray {
    const NAME: &'static str = "Jackson";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        if !delivery.body.trim_start().starts_with('[') {
            return Ok(None);
        }
        let pair: Result<(Text<'_>, &RawValue), _> = serde_json::from_str(&delivery.body);
        let Ok((Text(class), data)) = pair else { return Ok(None) };
        Ok(Some(Foreign::new(Tag::of(class), data.to_owned())))
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        Ok(Written::new(json(Self::NAME, &(event.tag.name(), &event.data))?))
    }
}

/// The fields of an object in their order, each as it stands there.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Entries<'a> {
    fn read(json: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<'de>, M::Error> {
                let mut entries = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(Entries(entries))
            }
        }

        json.deserialize_map(Each)
    }
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let mut map = json.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
