//! A queue's attributes: their names, ranges and defaults, and how they are reported.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::arn::Arn;
use crate::engine::limits::{MAX_RECEIVE_COUNT, MAX_REDRIVE_SOURCES, SQS_MAX_MESSAGE_BYTES};
use crate::engine::policy::Policy;
use crate::error::AwsError;

/// The attributes that a caller can set.
#[derive(Debug, Clone)]
pub(crate) struct QueueAttributes {
    pub(crate) fifo: bool,
    /// Seconds, 0 to 900.
    pub(crate) delay: u32,
    /// Bytes, 1,024 to 1,048,576.
    pub(crate) max_message_bytes: u32,
    /// Seconds, 60 to 1,209,600.
    pub(crate) retention: u32,
    /// Seconds, 0 to 20.
    pub(crate) wait: u32,
    /// Seconds, 0 to 43,200.
    pub(crate) visibility: u32,
    pub(crate) content_dedup: bool,
    pub(crate) dedup_per_group: bool,
    pub(crate) policy: Option<Policy>,
    pub(crate) redrive: Option<Redrive>,
    pub(crate) redrive_allow: Option<RedriveAllow>,
    /// What was set, as it was set.
    set: BTreeMap<String, String>,
}

/// A redrive policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redrive {
    pub(crate) target: String,
    pub(crate) max_receives: u32,
}

/// Which queues may use this one as their dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedriveAllow {
    All,
    None,
    Sources(Vec<String>),
}

/// Attributes that are reported and cannot be set.
pub(crate) const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

const SETTABLE: [&str; 15] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

const FIFO_ONLY: [&str; 3] =
    ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];

impl QueueAttributes {
    /// The attributes of a new queue.
    pub(crate) fn create(
        fifo_name: bool,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, AwsError> {
        let fifo = given.get("FifoQueue").map(|value| flag("FifoQueue", value)).transpose()?;
        if fifo == Some(false) {
            return Err(AwsError::sender("InvalidAttributeName", "Unknown Attribute FifoQueue."));
        }
        if fifo_name && fifo.is_none() {
            return Err(AwsError::invalid_parameter_value(
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in \
                 length",
            ));
        }
        if fifo.is_some() && !fifo_name {
            return Err(AwsError::invalid_parameter_value(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
                 underscores, must end with .fifo suffix and be 1 to 80 in length.",
            ));
        }
        let mut attributes = Self {
            fifo: fifo.is_some(),
            delay: 0,
            max_message_bytes: SQS_MAX_MESSAGE_BYTES as u32,
            retention: 345_600,
            wait: 0,
            visibility: 30,
            content_dedup: false,
            dedup_per_group: false,
            policy: None,
            redrive: None,
            redrive_allow: None,
            set: BTreeMap::new(),
        };
        attributes.apply(given)?;
        Ok(attributes)
    }

    /// Sets what is given, all of it or nothing.
    pub(crate) fn update(&mut self, given: &BTreeMap<String, String>) -> Result<(), AwsError> {
        let mut updated = self.clone();
        updated.apply(given)?;
        *self = updated;
        Ok(())
    }

    /// The first given attribute that differs from this queue's.
    pub(crate) fn first_difference(&self, given: &BTreeMap<String, String>) -> Option<String> {
        let reported: BTreeMap<String, String> = self.report().into_iter().collect();
        given
            .iter()
            .find(|(name, value)| {
                let same = |own: &String| own == *value || same_json(own, value);
                !value.is_empty() && !reported.get(*name).is_some_and(same)
            })
            .map(|(name, _)| name.clone())
    }

    /// Every settable attribute that has a value, by name.
    pub(crate) fn report(&self) -> Vec<(String, String)> {
        let mut all: BTreeMap<&str, String> = BTreeMap::from([
            ("DelaySeconds", self.delay.to_string()),
            ("MaximumMessageSize", self.max_message_bytes.to_string()),
            ("MessageRetentionPeriod", self.retention.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait.to_string()),
            ("VisibilityTimeout", self.visibility.to_string()),
        ]);
        let encrypted_by_key = self.set.contains_key("KmsMasterKeyId");
        all.insert("SqsManagedSseEnabled", (!encrypted_by_key).to_string());
        if encrypted_by_key {
            all.insert("KmsDataKeyReusePeriodSeconds", "300".to_owned());
        }
        if self.fifo {
            all.insert("FifoQueue", "true".to_owned());
            all.insert("ContentBasedDeduplication", "false".to_owned());
            all.insert("DeduplicationScope", "queue".to_owned());
            all.insert("FifoThroughputLimit", "perQueue".to_owned());
        }
        all.extend(self.set.iter().map(|(name, value)| (name.as_str(), value.clone())));
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn apply(&mut self, given: &BTreeMap<String, String>) -> Result<(), AwsError> {
        for (name, value) in given {
            self.apply_one(name, value)?;
            if value.is_empty() {
                self.set.remove(name);
            } else {
                self.set.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    fn apply_one(&mut self, name: &str, value: &str) -> Result<(), AwsError> {
        if !SETTABLE.contains(&name) {
            return Err(unknown(name));
        }
        if FIFO_ONLY.contains(&name) && !self.fifo {
            return Err(AwsError::sender(
                "InvalidAttributeName",
                format!("You can specify the {name} only when FifoQueue is set to true."),
            ));
        }
        match name {
            "DelaySeconds" => self.delay = number(name, value, 0, 900)?,
            "MaximumMessageSize" => {
                self.max_message_bytes = number(name, value, 1024, SQS_MAX_MESSAGE_BYTES as u32)?;
            }
            "MessageRetentionPeriod" => self.retention = number(name, value, 60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait = number(name, value, 0, 20)?,
            "VisibilityTimeout" => self.visibility = number(name, value, 0, 43_200)?,
            "KmsDataKeyReusePeriodSeconds" => {
                number(name, value, 60, 86_400)?;
            }
            "SqsManagedSseEnabled" => {
                flag(name, value)?;
            }
            "ContentBasedDeduplication" => self.content_dedup = flag(name, value)?,
            "FifoQueue" if flag(name, value)? != self.fifo => {
                return Err(AwsError::sender(
                    "InvalidAttributeValue",
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is \
                     not supported.",
                ));
            }
            "DeduplicationScope" => {
                self.dedup_per_group = choice(name, value, "messageGroup", "queue")?;
            }
            "FifoThroughputLimit" => {
                choice(name, value, "perMessageGroupId", "perQueue")?;
            }
            "Policy" => {
                let parse = || Policy::parse(value).ok_or_else(|| invalid(name));
                self.policy = (!value.is_empty()).then(parse).transpose()?;
            }
            "RedrivePolicy" => {
                let parse = || redrive_policy(value);
                self.redrive = (!value.is_empty()).then(parse).transpose()?;
            }
            "RedriveAllowPolicy" => {
                let parse = || redrive_allow_policy(value).ok_or_else(|| invalid(name));
                self.redrive_allow = (!value.is_empty()).then(parse).transpose()?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl RedriveAllow {
    pub(crate) fn admits(&self, source: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Sources(sources) => sources.iter().any(|arn| arn == source),
        }
    }
}

/// Whether `name` may be asked for in `GetQueueAttributes`.
pub(crate) fn is_known(name: &str) -> bool {
    name == "All" || SETTABLE.contains(&name) || READ_ONLY.contains(&name)
}

pub(crate) fn unknown(name: &str) -> AwsError {
    AwsError::sender("InvalidAttributeName", format!("Unknown Attribute {name}."))
}

fn invalid(name: &str) -> AwsError {
    AwsError::sender("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

fn number(name: &str, value: &str, min: u32, max: u32) -> Result<u32, AwsError> {
    value.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| invalid(name))
}

fn flag(name: &str, value: &str) -> Result<bool, AwsError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(name)),
    }
}

/// Whether the value is the first of two choices.
fn choice(name: &str, value: &str, first: &str, second: &str) -> Result<bool, AwsError> {
    match value {
        _ if value == first => Ok(true),
        _ if value == second => Ok(false),
        _ => Err(invalid(name)),
    }
}

fn redrive_policy(value: &str) -> Result<Redrive, AwsError> {
    let refuse = |reason: &str| Err(AwsError::invalid_value(value, "RedrivePolicy", reason));
    let Ok(Value::Object(policy)) = serde_json::from_str(value) else {
        return refuse("Redrive policy is not a valid JSON map.");
    };
    let Some(target) = policy.get("deadLetterTargetArn").and_then(Value::as_str) else {
        return refuse("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.");
    };
    if Arn::parse(target).is_none_or(|arn| arn.service != "sqs") {
        return refuse("Invalid value for deadLetterTargetArn.");
    }
    // AWS takes the count as a number and as a string.
    let count = match policy.get("maxReceiveCount") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
        None => {
            return refuse("Redrive policy does not contain mandatory attribute: maxReceiveCount.");
        }
    };
    match count {
        Some(count @ 1..=MAX_RECEIVE_COUNT) => {
            Ok(Redrive { target: target.to_owned(), max_receives: count as u32 })
        }
        _ => refuse(
            "Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive.",
        ),
    }
}

fn redrive_allow_policy(value: &str) -> Option<RedriveAllow> {
    let policy: Value = serde_json::from_str(value).ok()?;
    let sources = policy.get("sourceQueueArns");
    match policy.get("redrivePermission")?.as_str()? {
        "allowAll" if sources.is_none() => Some(RedriveAllow::All),
        "denyAll" if sources.is_none() => Some(RedriveAllow::None),
        "byQueue" => {
            let sources = sources?.as_array()?;
            let texts = sources.iter().map(|arn| arn.as_str().map(str::to_owned));
            let texts: Vec<String> = texts.collect::<Option<_>>()?;
            (1..=MAX_REDRIVE_SOURCES).contains(&texts.len()).then_some(RedriveAllow::Sources(texts))
        }
        _ => None,
    }
}

/// Whether two texts are the same JSON document (policies are compared so).
fn same_json(a: &str, b: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    parse(a).is_some_and(|a| Some(a) == parse(b))
}
