//! Why a message was not translated.

use crate::DecodeError;

/// Longest foreign tag in bytes that a reason repeats: whoever sends it chooses it.
const TAG_BYTES: usize = 256;

/// Why a message was not translated. Messages name fields and types, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// Its foreign type tag is not on the allow-list.
    #[error("{format}: `{tag}` is mapped to no event type: add it to the translation")]
    UnknownTag {
        /// Name of the format.
        format: &'static str,
        /// The tag, cut where it is long.
        tag: String,
    },
    /// It is of the format, and a part of it is missing or has another form.
    #[error("{format}: `{field}` {problem}")]
    Malformed {
        /// Name of the format.
        format: &'static str,
        /// Name of the part; `.` is the whole.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The data does not fit the type that the conversion asks for.
    #[error(
        "{format}: the data of `{tag}` does not fit its conversion's type: at `{path}`: {problem}"
    )]
    Data {
        /// Name of the format.
        format: &'static str,
        /// The type tag that it came with.
        tag: String,
        /// Path of the field within the data; `.` is the data itself.
        path: String,
        /// What was expected there.
        problem: String,
    },
    /// The conversion refused the data.
    #[error("{format}: the data of `{tag}` was not converted: {problem}")]
    Refused {
        /// Name of the format.
        format: &'static str,
        /// The type tag that it came with.
        tag: String,
        /// What the conversion said.
        problem: String,
    },
    /// The translation has no foreign type for an event that is to go out.
    #[error("{format}: {tag} is mapped to no foreign type: add it to the translation")]
    NoForeignTag {
        /// Name of the format.
        format: &'static str,
        /// The event's type tag.
        tag: String,
    },
    /// A message that is to go out is not in fanfare's envelope: it has been translated before, or its
    /// body is kept elsewhere.
    #[error("{tag} is no event to translate: {problem}")]
    NoEvent {
        /// The event's type tag.
        tag: String,
        /// What its body lacks.
        problem: String,
    },
    /// The translator, or a conversion of it, panicked.
    #[error("its translator panicked")]
    Panicked,
}

impl TranslateError {
    /// [`UnknownTag`](Self::UnknownTag), with so much of the tag as a log can bear.
    #[must_use]
    pub fn unknown_tag(format: &'static str, tag: &str) -> Self {
        TranslateError::UnknownTag { format, tag: shown(tag) }
    }

    /// [`Malformed`](Self::Malformed).
    #[must_use]
    pub fn malformed(
        format: &'static str,
        field: &'static str,
        problem: impl Into<String>,
    ) -> Self {
        TranslateError::Malformed { format, field, problem: problem.into() }
    }

    /// What is wrong with a CloudEvents body.
    pub(super) fn of_cloud_event(format: &'static str, error: DecodeError) -> Self {
        match error {
            DecodeError::Attribute { attribute, problem } => {
                TranslateError::malformed(format, attribute, problem)
            }
            DecodeError::Data { problem, .. } => TranslateError::malformed(format, "data", problem),
            other => TranslateError::malformed(format, ".", other.to_string()),
        }
    }
}

/// A foreign tag, as far as it fits a line of a log.
pub(super) fn shown(tag: &str) -> String {
    let end = tag.floor_char_boundary(TAG_BYTES);
    let plain = tag[..end].chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c });
    plain.chain((end < tag.len()).then_some('…')).collect()
}
