//! A message as a publisher sends it, and what SNS asks of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::lenient;
use super::topic_attributes::TopicAttributes;
use crate::engine::batch::Entry;
use crate::engine::content::{
    Attribute, AttributeValue, Attributes, check_fifo_id, is_number, size,
};
use crate::engine::limits::{MAX_ATTRIBUTE_NAME, MAX_SUBJECT};
use crate::error::AwsError;

/// `Publish`, or an entry of `PublishBatch`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Publish {
    pub(super) id: String,
    pub(super) topic_arn: Option<String>,
    pub(super) target_arn: Option<String>,
    pub(super) message: String,
    subject: Option<String>,
    message_structure: Option<String>,
    #[serde(deserialize_with = "lenient")]
    message_attributes: BTreeMap<String, WireAttribute>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireAttribute {
    data_type: Option<String>,
    string_value: Option<String>,
    binary_value: Option<String>,
}

/// A message that passed all checks.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What SQS subscribers get.
    pub(super) body: String,
    pub(super) subject: Option<String>,
    pub(super) attributes: Attributes,
    /// Attributes are not delivered with a message that has a body per protocol.
    pub(super) per_protocol: bool,
    pub(super) group: Option<String>,
    pub(super) dedup: Option<String>,
}

impl Entry for Publish {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Publish {
    /// The attributes, checked.
    pub(super) fn attributes(&self) -> Result<Attributes, AwsError> {
        let convert = |(name, wire): (&String, &WireAttribute)| {
            Ok((name.clone(), attribute(name, wire).map_err(invalid_value)?))
        };
        self.message_attributes.iter().map(convert).collect()
    }

    /// Whether a FIFO topic asks for something that this message lacks.
    pub(super) fn check_fifo_ids(&self, topic: &TopicAttributes) -> Result<(), AwsError> {
        if topic.fifo && self.message_group_id.as_ref().is_none_or(String::is_empty) {
            return Err(AwsError::invalid_parameter(
                "The MessageGroupId parameter is required for FIFO topics",
            ));
        }
        if topic.fifo && self.message_deduplication_id.is_none() && !topic.content_dedup {
            return Err(AwsError::invalid_parameter(
                "The topic should either have ContentBasedDeduplication enabled or \
                 MessageDeduplicationId provided explicitly",
            ));
        }
        Ok(())
    }

    /// Everything else that SNS asks of a message.
    pub(super) fn check(
        self,
        topic: &TopicAttributes,
        attributes: Attributes,
    ) -> Result<Outgoing, AwsError> {
        if self.message.is_empty() {
            return Err(AwsError::invalid_parameter("Empty message"));
        }
        if self.subject.as_deref().is_some_and(|subject| !is_subject(subject)) {
            return Err(AwsError::invalid_parameter("Subject"));
        }
        if size(&self.message, &attributes) > topic.max_message_bytes {
            return Err(AwsError::invalid_parameter("Message too long"));
        }
        self.check_fifo_ids(topic)?;
        if self.message_deduplication_id.is_some() && !topic.fifo {
            return Err(AwsError::invalid_parameter(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId \
                 parameter that is not valid for this topic type",
            ));
        }
        check_id(self.message_group_id.as_deref(), "MessageGroupId")?;
        check_id(self.message_deduplication_id.as_deref(), "MessageDeduplicationId")?;
        let per_protocol = match self.message_structure.as_deref() {
            None | Some("") => false,
            Some("json") => true,
            Some(_) => return Err(AwsError::invalid_parameter("MessageStructure")),
        };
        Ok(Outgoing {
            body: if per_protocol { sqs_body(&self.message)? } else { self.message },
            subject: self.subject,
            attributes,
            per_protocol,
            group: self.message_group_id,
            dedup: self.message_deduplication_id,
        })
    }
}

fn check_id(id: Option<&str>, parameter: &str) -> Result<(), AwsError> {
    let Some(id) = id else { return Ok(()) };
    check_fifo_id(id, parameter).map_err(|error| {
        AwsError::invalid_parameter(format!("{parameter} Reason: {}", error.message))
    })
}

/// ASCII text that begins with a letter, digit or punctuation mark, without line breaks.
fn is_subject(subject: &str) -> bool {
    (1..=MAX_SUBJECT).contains(&subject.len())
        && subject.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && !subject.starts_with(' ')
}

/// The body for SQS out of one with a body per protocol.
fn sqs_body(message: &str) -> Result<String, AwsError> {
    let Ok(Value::Object(mut bodies)) = serde_json::from_str(message) else {
        return Err(AwsError::invalid_parameter(
            "Message Structure - JSON message body failed to parse",
        ));
    };
    // What is not a string is ignored.
    bodies.retain(|_, body| body.is_string());
    let Some(default) = bodies.remove("default") else {
        return Err(AwsError::invalid_parameter(
            "Message Structure - No default entry in JSON message body",
        ));
    };
    match bodies.remove("sqs").unwrap_or(default) {
        Value::String(body) => Ok(body),
        _ => Err(AwsError::internal()),
    }
}

fn attribute(name: &str, wire: &WireAttribute) -> Result<Attribute, String> {
    check_name(name)?;
    let data_type = wire.data_type.clone().filter(|data_type| !data_type.is_empty());
    let data_type = data_type.ok_or_else(|| {
        format!("The message attribute '{name}' must contain a message attribute type.")
    })?;
    let (base, label) = match data_type.split_once('.') {
        Some((base, label)) => (base, Some(label)),
        None => (data_type.as_str(), None),
    };
    if !["String", "Number", "Binary"].contains(&base) || label == Some("") {
        return Err(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of \
             supported type prefixes is Binary, Number, and String."
        ));
    }
    let empty = || {
        format!(
            "The message attribute '{name}' must contain non-empty message attribute value for \
             message attribute type '{data_type}'."
        )
    };
    let value = match (base, &wire.string_value, &wire.binary_value) {
        ("Binary", None, Some(base64)) => {
            AttributeValue::Binary(aws_smithy_types::base64::decode(base64).map_err(|_| empty())?)
        }
        ("String" | "Number", Some(text), None) => AttributeValue::String(text.clone()),
        (_, None, None) => return Err(empty()),
        _ => {
            let field = if base == "Binary" { "Binary" } else { "String" };
            return Err(format!(
                "The message attribute '{name}' with type '{data_type}' must use field '{field}'."
            ));
        }
    };
    match &value {
        AttributeValue::String(text) if text.is_empty() => Err(empty()),
        AttributeValue::Binary(bytes) if bytes.is_empty() => Err(empty()),
        AttributeValue::String(text) if base == "Number" && !is_number(text) => {
            Err(format!("Could not cast message attribute '{name}' value to number."))
        }
        _ => Ok(Attribute { data_type, value }),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
    if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME {
        Err("Length of message attribute name must be less than 256 bytes.".to_owned())
    } else if name.starts_with('.') {
        Err("Invalid message attribute name starting with character '.' was found.".to_owned())
    } else if name.ends_with('.') {
        Err("Invalid message attribute name ending with character '.' was found.".to_owned())
    } else if let Some(illegal) = name.chars().find(|c| !legal(c)) {
        Err(format!(
            "Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. \
             Can only include alphanumeric characters, hyphens, underscores, or dots.",
            u32::from(illegal)
        ))
    } else if name.contains("..") {
        Err("Message attribute name can not have successive '.' character.".to_owned())
    } else {
        Ok(())
    }
}

fn invalid_value(message: String) -> AwsError {
    AwsError::sender("ParameterValueInvalid", message)
}
