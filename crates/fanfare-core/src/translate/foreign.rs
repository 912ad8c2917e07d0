//! What a format takes a message apart into, and puts one together from.

use std::fmt;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::TranslateError;
use crate::{Context, Destination, RawDelivery};

/// How another system writes its messages: it takes them apart and puts them together, and knows nothing
/// of types. [`Translation`](super::Translation) adds those.
pub trait Format: Send + Sync {
    /// Its name, for errors; also the source of events whose messages do not tell theirs.
    const NAME: &'static str;

    /// Takes a message apart; `None` if it is not of this format. `changes` tells of a tag whether the
    /// allow-list makes another type or other data of it.
    ///
    /// # Errors
    /// [`TranslateError`] if it is of this format and something is wrong with it.
    fn read(
        &self,
        delivery: &RawDelivery,
        changes: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError>;

    /// Puts a message together that goes `to` a destination. What the format has no place for is left
    /// out.
    ///
    /// # Errors
    /// [`TranslateError`] if it cannot be said in this format.
    fn write(&self, event: Foreign, to: &Destination) -> Result<Written, TranslateError>;
}

/// The parts of a foreign message. What its format does not tell is `None`, and empty where there is a
/// default.
#[derive(Clone)]
#[non_exhaustive]
pub struct Foreign {
    /// What type of message it is.
    pub tag: Tag,
    /// Its own id: the same at each redelivery, so never one that the transport gave.
    pub id: Option<String>,
    /// Who sent it.
    pub source: Option<String>,
    /// When it was sent.
    pub time: Option<Timestamp>,
    /// What order is kept by.
    pub key: Option<String>,
    /// What led to it.
    pub context: Context,
    /// What it says.
    pub data: Box<RawValue>,
}

/// The type of a foreign message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// The names that it goes by, the most specific first; the first that is on the allow-list counts.
    /// Outward there is one.
    Foreign(Vec<String>),
    /// A type tag as events of ours have it, which needs no mapping.
    Ours(String),
}

impl Tag {
    /// A foreign type of one name.
    pub fn of(name: impl Into<String>) -> Self {
        Tag::Foreign(vec![name.into()])
    }

    /// The name of the type; the most specific one.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Tag::Foreign(names) => names.first().map_or("", String::as_str),
            Tag::Ours(tag) => tag,
        }
    }
}

impl Foreign {
    /// A message of this type that says no more than its data.
    #[must_use]
    pub fn new(tag: Tag, data: Box<RawValue>) -> Self {
        let context = Context::default();
        Foreign { tag, id: None, source: None, time: None, key: None, context, data }
    }
}

/// Without data: payloads stay out of logs.
impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign")
            .field("tag", &self.tag)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A foreign message that was put together.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Written {
    /// The body.
    pub body: String,
    /// Message attributes, name and value, that go beside those of the event.
    pub attributes: Vec<(String, String)>,
}

impl Written {
    /// A body without attributes of its own.
    #[must_use]
    pub fn new(body: impl Into<String>) -> Self {
        Written { body: body.into(), attributes: Vec::new() }
    }

    /// The same, with one more attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }
}

/// Without body and attributes: payloads stay out of logs.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}
