//! What a message carries: body and attributes, with their MD5 sums and size.
//!
//! The checks here are those of SQS, which also hold for what SNS delivers raw.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use super::limits::{MAX_ATTRIBUTE_NAME, MAX_FIFO_ID, SQS_MAX_ATTRIBUTES};
use crate::error::AwsError;

/// A message attribute: its type (`String`, `Number`, `Binary`, or one of these with a custom
/// label, `Number.int`) and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The type as it was sent.
    pub data_type: String,
    /// The value.
    pub value: AttributeValue,
}

/// The value of a message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Of the types `String` and `Number`.
    String(String),
    /// Of the type `Binary`.
    Binary(Vec<u8>),
}

impl AttributeValue {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::String(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

pub(crate) type Attributes = BTreeMap<String, Attribute>;

/// A message's content, shared by all queues that SNS delivers it to.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) body: String,
    pub(crate) body_md5: String,
    pub(crate) attributes: Attributes,
    pub(crate) attributes_md5: Option<String>,
}

impl Content {
    /// Sums up what has passed the checks of this module.
    pub(crate) fn new(body: String, attributes: Attributes) -> Self {
        Self {
            body_md5: hex::encode(Md5::digest(body.as_bytes())),
            attributes_md5: attributes_md5(attributes.iter()),
            body,
            attributes,
        }
    }
}

/// The MD5 sum over attributes that SDKs check: per attribute, in order of names, the name, the
/// type, a mark for the kind of value and the value, each but the mark with its length before it.
pub(crate) fn attributes_md5<'a>(
    attributes: impl Iterator<Item = (&'a String, &'a Attribute)>,
) -> Option<String> {
    let mut attributes = attributes.peekable();
    attributes.peek()?;
    let mut md5 = Md5::new();
    let part = |md5: &mut Md5, bytes: &[u8]| {
        md5.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        md5.update(bytes);
    };
    for (name, attribute) in attributes {
        part(&mut md5, name.as_bytes());
        part(&mut md5, attribute.data_type.as_bytes());
        md5.update([match attribute.value {
            AttributeValue::String(_) => 1,
            AttributeValue::Binary(_) => 2,
        }]);
        part(&mut md5, attribute.value.as_bytes());
    }
    Some(hex::encode(md5.finalize()))
}

/// Bytes that SQS and SNS count against their limits: body, attribute names, types and values.
pub(crate) fn size(body: &str, attributes: &Attributes) -> usize {
    let attributes = attributes.iter().map(|(name, attribute)| {
        name.len() + attribute.data_type.len() + attribute.value.as_bytes().len()
    });
    body.len() + attributes.sum::<usize>()
}

/// Characters that SQS takes: those of XML 1.0.
pub(crate) fn has_only_legal_characters(text: &str) -> bool {
    // Bytes first: text without control characters and without U+FFFE and U+FFFF is the rule.
    let suspicious = |byte: u8| (byte < 0x20 && !b"\t\n\r".contains(&byte)) || byte == 0xEF;
    !text.bytes().any(suspicious)
        || text.chars().all(|c| {
            matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
        })
}

pub(crate) fn check_body(body: &str) -> Result<(), AwsError> {
    if has_only_legal_characters(body) {
        return Ok(());
    }
    Err(AwsError::sender(
        "InvalidMessageContents",
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF \
         | #xE000 to #xFFFD | #x10000 to #x10FFFF",
    ))
}

pub(crate) fn check_attributes(attributes: &Attributes) -> Result<(), AwsError> {
    if attributes.len() > SQS_MAX_ATTRIBUTES {
        return Err(AwsError::invalid_parameter_value(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{SQS_MAX_ATTRIBUTES}].",
            attributes.len()
        )));
    }
    attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<(), AwsError> {
    let refuse = |message: String| Err(AwsError::invalid_parameter_value(message));
    if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME {
        return refuse("Message (user) attribute names must be shorter than 256 Bytes".to_owned());
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        return refuse(
            "Message (user) attributes name can only contain upper and lower score characters, \
             digits, periods, hyphens and underscores. "
                .to_owned(),
        );
    }
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    if reserved || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return refuse(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These \
             strings are reserved for internal use. Additionally, they cannot start or end with \
             '.'."
                .to_owned(),
        );
    }
    check_value(name, attribute)
}

fn check_value(name: &str, attribute: &Attribute) -> Result<(), AwsError> {
    let refuse = |message: String| Err(AwsError::invalid_parameter_value(message));
    let data_type = &attribute.data_type;
    if data_type.len() > MAX_ATTRIBUTE_NAME {
        return refuse("Message (user) attribute types must be shorter than 256 Bytes".to_owned());
    }
    let base = data_type.split('.').next().unwrap_or_default();
    if attribute.value.as_bytes().is_empty() {
        return refuse(format!(
            "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
        ));
    }
    match (base, &attribute.value) {
        ("String", AttributeValue::String(text)) if !has_only_legal_characters(text) => {
            refuse("Invalid characters found in a message attribute's value.".to_owned())
        }
        ("Number", AttributeValue::String(text)) if !is_number(text) => refuse(format!(
            "Can't cast the value of message (user) attribute '{name}' to a number."
        )),
        ("String" | "Number", AttributeValue::String(_))
        | ("Binary", AttributeValue::Binary(_)) => Ok(()),
        ("String" | "Number" | "Binary", _) => refuse(format!(
            "The message (user) attribute '{name}' with type '{data_type}' must use field \
             '{}Value'.",
            if base == "Binary" { "Binary" } else { "String" }
        )),
        _ => refuse(format!(
            "The type of message (user) attribute '{name}' is invalid. You must use only the \
             following supported type prefixes: Binary, Number, String."
        )),
    }
}

/// Whether a `Number` attribute's value is one: decimal digits, with sign, point and exponent.
pub(crate) fn is_number(text: &str) -> bool {
    // `f64` also parses "inf" and "nan", which are no numbers to AWS.
    text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) && text.parse::<f64>().is_ok()
}

/// Checks a message group or deduplication id.
pub(crate) fn check_fifo_id(id: &str, parameter: &str) -> Result<(), AwsError> {
    let legal = !id.is_empty() && id.len() <= MAX_FIFO_ID;
    if legal && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let reason = format!(
        "{parameter} can only include alphanumeric and punctuation characters. 1 to {MAX_FIFO_ID} \
         in length."
    );
    Err(AwsError::invalid_value(id, parameter, &reason))
}
