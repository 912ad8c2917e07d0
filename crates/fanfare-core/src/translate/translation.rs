//! A format and its allow-list.

use std::fmt::{self, Display};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{
    Foreign, Format, Inward, SnsNotification, Tag, TranslateError, Translated, Translator,
    allow_list::{AllowList, Direction},
    conversion::Conversion,
};
use crate::{Envelope, EventType, Message, Opened, RawDelivery};

/// A [`Translator`] of one format: an allow-list of foreign type tags, each mapped to an event type.
///
/// Several foreign tags may be mapped to one event type, and several event types to one foreign tag; the
/// first mapping that fits counts, in either direction.
///
/// ```
/// # use fanfare_core::{EventType, translate::{Translation, format}};
/// # #[derive(EventType)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced {}
/// let spring = Translation::of(format::JavaType)
///     .map::<OrderPlaced>("com.example.orders.OrderPlaced")
///     .id_attribute("event-id");
/// ```
pub struct Translation<F> {
    format: F,
    list: AllowList,
    id_attribute: Option<String>,
    source: Option<String>,
}

impl<F: Format> Translation<F> {
    /// A translation that knows no types yet.
    #[must_use]
    pub fn of(format: F) -> Self {
        Translation { format, list: AllowList::default(), id_attribute: None, source: None }
    }

    /// `foreign` is an `E`, in both directions, with the data as it is: its fields have the names that `E` has.
    /// Where they are written otherwise, as in `camelCase` by most systems on .NET and Java, `E` says so to serde
    /// (`rename_all`), or [`map_inward`](Self::map_inward) and [`map_outward`](Self::map_outward) convert.
    #[must_use]
    pub fn map<E: EventType>(self, foreign: impl Into<String>) -> Self {
        self.add::<E>(foreign, Direction::Both, Conversion::AsIs)
    }

    /// `foreign` comes in as an `E`, which `convert` makes of its data.
    #[must_use]
    pub fn map_inward<T, E, Error>(
        self,
        foreign: impl Into<String>,
        convert: impl Fn(T) -> Result<E, Error> + Send + Sync + 'static,
    ) -> Self
    where
        T: DeserializeOwned,
        E: EventType + Serialize,
        Error: Display,
    {
        self.add::<E>(foreign, Direction::Inward, Conversion::typed(convert))
    }

    /// [`map_inward`](Self::map_inward) by a function on JSON.
    #[must_use]
    pub fn map_inward_json<E: EventType>(
        self,
        foreign: impl Into<String>,
        convert: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        self.add::<E>(foreign, Direction::Inward, Conversion::json(convert))
    }

    /// An `E` goes out as `foreign`, with the data that `convert` makes of it.
    #[must_use]
    pub fn map_outward<E, T, Error>(
        self,
        foreign: impl Into<String>,
        convert: impl Fn(E) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Self
    where
        E: EventType + DeserializeOwned,
        T: Serialize,
        Error: Display,
    {
        self.add::<E>(foreign, Direction::Outward, Conversion::typed(convert))
    }

    /// [`map_outward`](Self::map_outward) by a function on JSON.
    #[must_use]
    pub fn map_outward_json<E: EventType>(
        self,
        foreign: impl Into<String>,
        convert: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        self.add::<E>(foreign, Direction::Outward, Conversion::json(convert))
    }

    /// The message attribute that holds a message's id, where the format has no place for one: read from
    /// there, and written there.
    #[must_use]
    pub fn id_attribute(self, name: impl Into<String>) -> Self {
        Translation { id_attribute: Some(name.into()), ..self }
    }

    /// The source of events whose messages do not tell theirs; by default the format's name. Inbox and
    /// idempotency store go by it: keep it.
    #[must_use]
    pub fn source(self, source: impl Into<String>) -> Self {
        Translation { source: Some(source.into()), ..self }
    }

    fn add<E: EventType>(
        mut self,
        foreign: impl Into<String>,
        direction: Direction,
        conversion: Conversion,
    ) -> Self {
        const { assert!(crate::tag::is_valid(E::TAG), "the event's type tag is malformed") };
        self.list.add(foreign.into(), E::TAG, direction, conversion);
        self
    }

    fn attribute(&self, delivery: &RawDelivery, name: &str) -> Option<String> {
        delivery.attributes.get(name)?.as_str().filter(|value| !value.is_empty()).map(Into::into)
    }

    /// Source and id of a message: the same however often it comes.
    fn identity(&self, foreign: &Foreign, delivery: &RawDelivery) -> (String, String) {
        let own = |part: &Option<String>| part.clone().filter(|part| !part.is_empty());
        let named = || self.attribute(delivery, self.id_attribute.as_deref()?);
        let source = own(&foreign.source).or_else(|| self.source.clone());
        let or_name = |source: Option<String>| source.unwrap_or_else(|| F::NAME.into());
        if let Some(id) = own(&foreign.id).or_else(named) {
            return (or_name(source), id);
        }
        if let Some(id) = self.attribute(delivery, SnsNotification::MESSAGE_ID) {
            let topic = || self.attribute(delivery, SnsNotification::TOPIC_ARN);
            return (or_name(source.or_else(topic)), id);
        }
        (or_name(source), fingerprint(foreign.tag.name(), &delivery.body))
    }
}

/// The id of a message that has none: of its type and its content.
fn fingerprint(tag: &str, body: &str) -> String {
    let mut hash = Sha256::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update((tag.len() as u64).to_be_bytes());
    hash.update(tag);
    hash.update(body);
    format!("sha256:{}", hex::encode(hash.finalize()))
}

impl<F: Format> Translator for Translation<F> {
    fn inward(&self, delivery: &RawDelivery) -> Result<Option<Inward>, TranslateError> {
        let changes =
            |tag: &str| self.list.inward(tag).is_some_and(|mapping| !mapping.is_identity());
        let Some(foreign) = self.format.read(delivery, &changes)? else { return Ok(None) };
        let (source, id) = self.identity(&foreign, delivery);
        let notified = || self.attribute(delivery, SnsNotification::TIMESTAMP)?.parse().ok();
        let Foreign { tag, time, key, context, data, .. } = foreign;
        let (tag, data) = match tag {
            Tag::Ours(tag) => (tag, data),
            Tag::Foreign(names) => {
                let mut listed = names.iter().filter_map(|name| self.list.inward(name));
                let Some(mapping) = listed.next() else {
                    let tag = names.first().map_or("", String::as_str);
                    return Err(TranslateError::unknown_tag(F::NAME, tag));
                };
                let data = mapping.conversion.apply(F::NAME, &mapping.foreign, data)?;
                (mapping.tag.into(), data)
            }
        };
        let time = time.or_else(notified);
        let envelope = Envelope { id, source, tag, time, key, context };
        Ok(Some(Inward::Event(Translated { envelope, data })))
    }

    fn outward(&self, message: Message) -> Result<Message, TranslateError> {
        let tag = || message.tag.clone();
        let mapping = self.list.outward(&message.tag);
        let mapping =
            mapping.ok_or_else(|| TranslateError::NoForeignTag { format: F::NAME, tag: tag() })?;
        let opened = Opened::open(&message.body).and_then(|opened| opened.read::<Box<RawValue>>());
        let (envelope, data) = opened
            .map_err(|error| TranslateError::NoEvent { tag: tag(), problem: error.to_string() })?;
        let data = mapping.conversion.apply(F::NAME, &message.tag, data)?;
        let Envelope { id, source, time, key, context, .. } = envelope;
        let (id, source) = (Some(id), Some(source));
        let foreign =
            Foreign { tag: Tag::of(&mapping.foreign), id, source, time, key, context, data };
        let written = self.format.write(foreign, &message.destination)?;
        let mut attributes = message.attributes;
        let id = self.id_attribute.iter().map(|name| (name.clone(), message.id.clone()));
        for (name, value) in written.attributes.into_iter().chain(id) {
            attributes.retain(|(other, _)| *other != name);
            attributes.push((name, value));
        }
        Ok(Message { body: written.body, attributes, ..message })
    }
}

impl<F: Format> fmt::Debug for Translation<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translation").field("format", &F::NAME).finish_non_exhaustive()
    }
}
