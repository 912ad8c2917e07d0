//! Envelope in: one forward pass over the body.
//!
//! [`Opened::open`] reads the attributes up to `data`, where the tag is known (we write it
//! first); [`Opened::read`] then hands the very same position to the handler's type and picks up
//! what stands behind. Nothing is parsed twice, except that of a foreign event which puts
//! `data` before its `type` the data is first skipped.

use std::{borrow::Cow, ops::Range};

use jiff::Timestamp;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::Envelope;
use crate::{Context, Pointer, translate::TranslateError};

/// Why a body is not an event that can be handled. Messages name fields and types, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body is not a JSON object, or its JSON is broken before the data was reached.
    #[error("the body is not a CloudEvents JSON object: {0}")]
    NotJson(String),
    /// The body is a pointer to where the event is kept.
    #[error(
        "the body is a pointer to a payload that is kept elsewhere: give the consumer a claim check (Consumer::claim_check)"
    )]
    Pointer,
    /// A required attribute is missing, or an attribute has a form that CloudEvents does not allow.
    #[error("CloudEvents attribute `{attribute}` {problem}")]
    Attribute {
        /// Name of the attribute on the wire.
        attribute: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The data does not fit the type that handles it.
    #[error("the data of {tag} does not fit its handler's type: at `{path}`: {problem}")]
    Data {
        /// The event's type tag.
        tag: String,
        /// Path of the field within the data; `.` is the data itself.
        path: String,
        /// What was expected there.
        problem: String,
    },
    /// It is a message of another system, and was not translated.
    #[error(transparent)]
    Translate(#[from] TranslateError),
}

/// A body whose envelope has been read, and whose data still waits for its type.
#[derive(Debug)]
pub struct Opened<'a> {
    envelope: Envelope,
    cursor: Cursor<'a>,
    data: DataAt,
}

/// Where the data stands.
#[derive(Debug, Clone, Copy)]
enum DataAt {
    /// The cursor is on it; attributes may follow.
    Cursor,
    /// It was passed over at this offset, and the whole body has been read.
    Offset(usize),
    Missing,
}

impl<'a> Opened<'a> {
    /// Reads the envelope of a CloudEvents 1.0 event in structured JSON.
    ///
    /// # Errors
    /// [`DecodeError::NotJson`] and [`DecodeError::Attribute`].
    pub fn open(body: &'a str) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::start(body)?;
        let mut head = Head::default();
        let mut data = DataAt::Missing;
        while let Some(name) = cursor.key()? {
            if name != "data" {
                head.read(&name, &mut cursor)?;
            } else if head.is_complete() {
                return Ok(Opened { envelope: head.finish()?, cursor, data: DataAt::Cursor });
            } else {
                data = DataAt::Offset(cursor.at);
                cursor.skip()?;
            }
        }
        cursor.end()?;
        Ok(Opened { envelope: head.finish()?, cursor, data })
    }

    /// The attributes read so far: `id`, `source` and `type` are among them for sure.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Whether the data is a JSON string.
    pub(crate) fn has_data_in_string(&self) -> bool {
        let at = match self.data {
            DataAt::Cursor => self.cursor.at,
            DataAt::Offset(at) => at,
            DataAt::Missing => return false,
        };
        self.cursor.body[at..].trim_start().starts_with('"')
    }

    /// Reads the data as a `T`, and whatever attributes stand behind it.
    ///
    /// # Errors
    /// [`DecodeError::Data`] where the data is missing or does not fit, else as [`open`](Self::open).
    pub fn read<T: DeserializeOwned>(self) -> Result<(Envelope, T), DecodeError> {
        let (envelope, data, _) = self.read_at()?;
        Ok((envelope, data))
    }

    /// [`read`](Self::read), and where the data stands in the body, maybe with space before it.
    pub(crate) fn read_at<T: DeserializeOwned>(
        self,
    ) -> Result<(Envelope, T, Range<usize>), DecodeError> {
        let Opened { envelope, mut cursor, data } = self;
        match data {
            DataAt::Missing => Err(DecodeError::Data {
                tag: envelope.tag,
                path: ".".into(),
                problem: "there is no `data` (binary `data_base64` is not supported)".into(),
            }),
            DataAt::Offset(at) => {
                let mut cursor = Cursor { at, ..cursor };
                let value = cursor.data(&envelope.tag)?;
                Ok((envelope, value, at..cursor.at))
            }
            DataAt::Cursor => {
                let at = cursor.at;
                let value = cursor.data(&envelope.tag)?;
                let read = at..cursor.at;
                let envelope = cursor.rest(envelope)?;
                cursor.end()?;
                Ok((envelope, value, read))
            }
        }
    }
}

/// Attributes as they come, in any order.
#[derive(Default)]
struct Head {
    specversion: bool,
    id: Option<String>,
    source: Option<String>,
    tag: Option<String>,
    time: Option<Timestamp>,
    key: Option<String>,
    context: Context,
}

impl From<Envelope> for Head {
    fn from(envelope: Envelope) -> Self {
        let Envelope { id, source, tag, time, key, context } = envelope;
        let (id, source, tag) = (Some(id), Some(source), Some(tag));
        Head { specversion: true, id, source, tag, time, key, context }
    }
}

impl Head {
    fn is_complete(&self) -> bool {
        self.specversion && self.id.is_some() && self.source.is_some() && self.tag.is_some()
    }

    /// Takes the value of attribute `name` from `cursor`; unknown attributes are passed over.
    fn read(&mut self, name: &str, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        let context = &mut self.context;
        match name {
            "specversion" => {
                if cursor.text("specversion")?.as_deref() != Some("1.0") {
                    return Err(attribute("specversion", "is not \"1.0\""));
                }
                self.specversion = true;
            }
            "id" => once(&mut self.id, cursor, "id")?,
            "source" => once(&mut self.source, cursor, "source")?,
            "type" => once(&mut self.tag, cursor, "type")?,
            "time" => self.time = cursor.time()?,
            "partitionkey" => self.key = cursor.string("partitionkey")?,
            "correlationid" => context.correlation_id = cursor.string("correlationid")?,
            "causationid" => context.causation_id = cursor.string("causationid")?,
            "traceparent" => context.traceparent = cursor.string("traceparent")?,
            "tracestate" => context.tracestate = cursor.string("tracestate")?,
            "hops" => context.hops = cursor.hops()?,
            _ => cursor.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Envelope, DecodeError> {
        if !self.specversion {
            return Err(attribute("specversion", "is missing"));
        }
        Ok(Envelope {
            id: required(self.id, "id")?,
            source: required(self.source, "source")?,
            tag: required(self.tag, "type")?,
            time: self.time,
            key: self.key,
            context: self.context,
        })
    }
}

/// Takes what identifies the event; a second one could not be told from the first.
fn once(
    slot: &mut Option<String>,
    cursor: &mut Cursor<'_>,
    name: &'static str,
) -> Result<(), DecodeError> {
    let value = cursor.string(name)?;
    if slot.is_some() {
        return Err(attribute(name, "stands twice"));
    }
    *slot = value;
    Ok(())
}

fn required(value: Option<String>, name: &'static str) -> Result<String, DecodeError> {
    match value {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(attribute(name, "is empty")),
        None => Err(attribute(name, "is missing")),
    }
}

fn attribute(attribute: &'static str, problem: &str) -> DecodeError {
    DecodeError::Attribute { attribute, problem: problem.into() }
}

/// A place in a JSON object, moved forward value by value.
#[derive(Debug)]
struct Cursor<'a> {
    body: &'a str,
    at: usize,
    first: bool,
}

/// A string, borrowed from the body where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Cursor<'a> {
    fn start(body: &'a str) -> Result<Self, DecodeError> {
        let mut cursor = Cursor { body, at: 0, first: true };
        cursor.punctuation(b'{').then_some(cursor).ok_or_else(|| match Pointer::parse(body) {
            Some(_) => DecodeError::Pointer,
            None => broken("it does not begin with `{`"),
        })
    }

    /// The next key, with the cursor on its value; `None` at the object's end.
    fn key(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        if self.punctuation(b'}') {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) && !self.punctuation(b',') {
            return Err(broken("`,` or `}` is missing"));
        }
        let key = match self.plain_string() {
            Some(key) => Cow::Borrowed(key),
            None => self.value::<Text<'a>>()?.0,
        };
        self.punctuation(b':').then_some(Some(key)).ok_or_else(|| broken("`:` is missing"))
    }

    /// The string that is next, if it is one without escapes, as nearly all keys and attributes are: a
    /// parser for each would take more time than the string.
    fn plain_string(&mut self) -> Option<&'a str> {
        self.skip_space();
        let text = self.body[self.at..].strip_prefix('"')?;
        let end = find_special(text.as_bytes())?;
        if text.as_bytes()[end] != b'"' {
            return None;
        }
        self.at += end + 2;
        Some(&text[..end])
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, DecodeError> {
        self.parse().map_err(|e| broken(expectation(&e)))
    }

    fn parse<T: Deserialize<'a>>(&mut self) -> serde_json::Result<T> {
        let mut values = serde_json::Deserializer::from_str(&self.body[self.at..]).into_iter();
        let value = values.next();
        self.at += values.byte_offset();
        value.unwrap_or_else(|| Err(serde::de::Error::custom("the body ends too early")))
    }

    /// The value as a handler's type. Only a failure pays for finding out where it happened.
    fn data<T: DeserializeOwned>(&mut self, tag: &str) -> Result<T, DecodeError> {
        let at = self.at;
        self.parse().map_err(|error| {
            let Misfit { path, problem } = Misfit::of::<T>(&self.body[at..], error);
            DecodeError::Data { tag: tag.into(), path, problem }
        })
    }

    /// The attributes that stand behind the data, added to those before it.
    fn rest(&mut self, envelope: Envelope) -> Result<Envelope, DecodeError> {
        let Some(first) = self.key()? else { return Ok(envelope) };
        let mut head = Head::from(envelope);
        let mut next = Some(first);
        while let Some(name) = next {
            head.read(&name, self)?;
            next = self.key()?;
        }
        head.finish()
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        if self.plain_string().is_none() {
            self.value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn string(&mut self, name: &'static str) -> Result<Option<String>, DecodeError> {
        Ok(self.text(name)?.map(Cow::into_owned))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, DecodeError> {
        if let Some(text) = self.plain_string() {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let text = self.parse::<Option<Text<'a>>>().map_err(|_| attribute(name, "is not a string"));
        Ok(text?.map(|Text(text)| text))
    }

    fn hops(&mut self) -> Result<u32, DecodeError> {
        // Nearly always one digit, for which a parser would take more time too.
        if let [digit @ b'0'..=b'9', b',' | b'}', ..] = &self.body.as_bytes()[self.at..] {
            self.at += 1;
            return Ok(u32::from(digit - b'0'));
        }
        self.parse().map_err(|_| attribute("hops", "is not a number of hops"))
    }

    fn time(&mut self) -> Result<Option<Timestamp>, DecodeError> {
        let wrong = || attribute("time", "is not an RFC 3339 time");
        let time = self.text("time").map_err(|_| wrong())?;
        time.map(|time| time.parse()).transpose().map_err(|_: jiff::Error| wrong())
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        self.skip_space();
        let ended = self.at == self.body.len();
        ended.then_some(()).ok_or_else(|| broken("something follows the object"))
    }

    /// Steps over `byte` if it is next, white space before it included.
    fn punctuation(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.body.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        let rest = &self.body.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
    }
}

/// Where the first byte is that does not stand for itself in a string: a quote, a backslash or a control
/// character. Eight bytes are looked at together, as most strings have none for some tens of bytes.
fn find_special(text: &[u8]) -> Option<usize> {
    const EACH: u64 = u64::MAX / 255;
    // Has a high bit set if any byte of `word` is below `limit`, which is at most 128.
    let below = |word: u64, limit| word.wrapping_sub(EACH * limit) & !word & (EACH * 128);
    let plain = |word: u64| {
        let quote = below(word ^ (EACH * u64::from(b'"')), 1);
        let backslash = below(word ^ (EACH * u64::from(b'\\')), 1);
        quote | backslash | below(word, 0x20) == 0
    };
    let (words, _) = text.as_chunks::<8>();
    let from = 8 * words.iter().take_while(|word| plain(u64::from_le_bytes(**word))).count();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    text[from..].iter().position(special).map(|at| from + at)
}

/// Where data does not fit a type, and what was expected there.
pub(crate) struct Misfit {
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl Misfit {
    /// Of the data at the start of `json`, which did not fit `T` with this error.
    fn of<T: DeserializeOwned>(json: &str, error: serde_json::Error) -> Self {
        let mut json = serde_json::Deserializer::from_str(json);
        let (path, error) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
            // Broken JSON has no path, which shows as `?`.
            Err(traced) if error.is_data() => (traced.path().to_string(), traced.into_inner()),
            _ => (".".into(), error),
        };
        Misfit { path, problem: expectation(&error) }
    }
}

/// Reads data that stands by itself as a `T`.
pub(crate) fn read_data<T: DeserializeOwned>(json: &str) -> Result<T, Misfit> {
    serde_json::from_str(json).map_err(|error| Misfit::of::<T>(json, error))
}

fn broken(what: impl Into<String>) -> DecodeError {
    DecodeError::NotJson(what.into())
}

/// What a serde error says of the *type*, without the value that it quotes.
fn expectation(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    if text.starts_with("missing field") || text.starts_with("the body ends") {
        return text.into();
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if error.is_data() => "the value is not allowed".into(),
        None => "the JSON is broken".into(),
    }
}
