//! Some fields of a JSON object, found in one pass over it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::TranslateError;

/// What a body is, as far as a look at its outermost fields tells.
pub(super) enum Body<'a, const N: usize> {
    /// An event in CloudEvents' envelope. Of one that we wrote only the first field was looked at.
    CloudEvent,
    /// Another JSON object.
    Object(Fields<'a, N>),
    /// No JSON object.
    Other,
}

/// The values of some of an object's fields, as they stand there.
pub(super) struct Fields<'a, const N: usize> {
    format: &'static str,
    names: [&'static str; N],
    values: [Option<&'a RawValue>; N],
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'a, const N: usize> Fields<'a, N> {
    /// Looks for fields with these names in a message of `format`. A field that stands twice could not be
    /// told from its other.
    pub(super) fn read(
        format: &'static str,
        body: &'a str,
        names: [&'static str; N],
    ) -> Result<Body<'a, N>, TranslateError> {
        // Not a look at arrays and numbers of any size.
        if !body.trim_start().starts_with('{') {
            return Ok(Body::Other);
        }
        let mut json = serde_json::Deserializer::from_str(body);
        let mut found = Found { values: [None; N], twice: None, cloud_event: false };
        let read = Search { names, found: &mut found }.deserialize(&mut json);
        if found.cloud_event {
            return Ok(Body::CloudEvent);
        }
        if read.and_then(|()| json.end()).is_err() {
            return Ok(Body::Other);
        }
        match found.twice {
            Some(name) => Err(TranslateError::malformed(format, name, "stands twice")),
            None => Ok(Body::Object(Fields { format, names, values: found.values })),
        }
    }

    /// A field's value; a null is none.
    pub(super) fn get(&self, name: &'static str) -> Option<&'a RawValue> {
        let place = self.names.iter().position(|known| *known == name)?;
        self.values[place].filter(|value| value.get() != "null")
    }

    /// A field's value, which has to be there.
    pub(super) fn required(&self, name: &'static str) -> Result<&'a RawValue, TranslateError> {
        self.get(name).ok_or_else(|| self.malformed(name, "is missing"))
    }

    /// A field's value as a `T`, which `expected` says in words.
    pub(super) fn read_as<T: DeserializeOwned>(
        &self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, TranslateError> {
        let read = |value: &RawValue| {
            serde_json::from_str(value.get())
                .map_err(|_| self.malformed(name, &format!("is not {expected}")))
        };
        self.get(name).map(read).transpose()
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, TranslateError> {
        self.read_as(name, "a string")
    }

    pub(super) fn malformed(&self, name: &'static str, problem: &str) -> TranslateError {
        TranslateError::malformed(self.format, name, problem)
    }
}

struct Found<'a, const N: usize> {
    values: [Option<&'a RawValue>; N],
    twice: Option<&'static str>,
    cloud_event: bool,
}

struct Search<'f, 'a, const N: usize> {
    names: [&'static str; N],
    found: &'f mut Found<'a, N>,
}

impl<'a, const N: usize> DeserializeSeed<'a> for Search<'_, 'a, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for Search<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(name)) = map.next_key::<Text<'a>>()? {
            if name == "specversion" {
                self.found.cloud_event = true;
                return Err(M::Error::custom("nothing more to look for"));
            }
            let Some(place) = self.names.iter().position(|known| *known == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if self.found.values[place].replace(map.next_value()?).is_some() {
                self.found.twice = Some(self.names[place]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_event_of_ours_only_the_first_field_is_looked_at() {
        let body = r#" {"specversion" and here it is no JSON any more"#;
        assert!(matches!(Fields::read("test", body, ["x"]), Ok(Body::CloudEvent)));
        let body = r#"{"x":1,"specversion" and here it is no JSON any more"#;
        assert!(matches!(Fields::read("test", body, ["x"]), Ok(Body::CloudEvent)));
    }

    #[test]
    fn fields_are_found_among_others_and_under_escapes() {
        let body = r#"{"a":{"x":1},"\u0078":[2],"b":null,"c":"d"}"#;
        let Ok(Body::Object(fields)) = Fields::read("test", body, ["x", "b", "c", "d"]) else {
            panic!("no object")
        };
        assert_eq!(fields.get("x").unwrap().get(), "[2]");
        assert!(fields.get("b").is_none() && fields.get("d").is_none());
        assert_eq!(fields.text("c").unwrap().unwrap(), "d");
    }
}
