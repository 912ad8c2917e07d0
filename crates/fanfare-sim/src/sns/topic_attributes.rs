//! A topic's attributes: names, ranges, defaults.

use std::collections::BTreeMap;

use crate::engine::limits::{SNS_DEFAULT_MESSAGE_BYTES, SNS_MESSAGE_BYTES_RANGE};
use crate::engine::policy::Policy;

/// The attributes that a caller can set.
#[derive(Debug, Clone)]
pub(crate) struct TopicAttributes {
    pub(crate) fifo: bool,
    pub(crate) content_dedup: bool,
    pub(crate) dedup_per_group: bool,
    /// Bytes of a message and of a batch.
    pub(crate) max_message_bytes: usize,
    pub(crate) policy: Option<Policy>,
    /// What was set, as it was set.
    pub(crate) set: BTreeMap<String, String>,
}

/// Attributes that are stored and reported, and of no consequence here.
const INERT: [&str; 6] = [
    "ArchivePolicy",
    "DeliveryPolicy",
    "DisplayName",
    "KmsMasterKeyId",
    "SignatureVersion",
    "TracingConfig",
];

impl TopicAttributes {
    pub(crate) fn create(given: &BTreeMap<String, String>) -> Result<Self, String> {
        let fifo = given.get("FifoTopic").map(|value| flag("FifoTopic", value)).transpose()?;
        let mut attributes = Self {
            fifo: fifo.unwrap_or(false),
            content_dedup: false,
            dedup_per_group: false,
            max_message_bytes: SNS_DEFAULT_MESSAGE_BYTES,
            policy: None,
            set: BTreeMap::new(),
        };
        for (name, value) in given.iter().filter(|(name, _)| *name != "FifoTopic") {
            attributes.set(name, value)?;
        }
        Ok(attributes)
    }

    /// Sets one attribute; the error is what follows `Invalid parameter: `.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "ContentBasedDeduplication" | "FifoThroughputScope" | "ArchivePolicy" if !self.fifo => {
                return Err(format!("{name} Reason: The attribute is valid for FIFO topics only"));
            }
            "ContentBasedDeduplication" => self.content_dedup = flag(name, value)?,
            "FifoThroughputScope" => match value {
                "MessageGroup" => self.dedup_per_group = true,
                // Once lifted, the topic-wide scope cannot come back.
                "Topic" if !self.dedup_per_group => {}
                _ => return Err(format!("{name} Reason: Invalid value [{value}]")),
            },
            "MaximumMessageSize" => {
                let bytes = value.parse().ok().filter(|n| SNS_MESSAGE_BYTES_RANGE.contains(n));
                self.max_message_bytes =
                    bytes.ok_or_else(|| format!("{name} Reason: Must be from 1024 to 1048576"))?;
            }
            "Policy" => {
                let policy = Policy::parse(value);
                self.policy =
                    Some(policy.ok_or_else(|| "Policy Error: failed to parse JSON.".to_owned())?);
            }
            _ if INERT.contains(&name) || is_feedback(name) => {}
            _ => return Err("AttributeName".to_owned()),
        }
        self.set.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Whether all given attributes are those of this topic.
    pub(crate) fn agree_with(&self, given: &BTreeMap<String, String>) -> bool {
        given.iter().all(|(name, value)| match name.as_str() {
            "FifoTopic" => value == if self.fifo { "true" } else { "false" },
            "ContentBasedDeduplication" => {
                value == if self.content_dedup { "true" } else { "false" }
            }
            _ => self.set.get(name) == Some(value),
        })
    }
}

/// Delivery status logging: `SQSSuccessFeedbackRoleArn` and its kin.
fn is_feedback(name: &str) -> bool {
    let protocols = ["HTTP", "Firehose", "Lambda", "Application", "SQS"];
    let kinds = ["SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn"];
    let kind = protocols.iter().find_map(|protocol| name.strip_prefix(protocol));
    kind.is_some_and(|kind| kinds.contains(&kind))
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{name} Reason: Invalid value [{value}]. Must be true or false.")),
    }
}
