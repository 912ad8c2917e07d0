//! SendMessage and SendMessageBatch, and the way in that SNS takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::attributes::QueueAttributes;
use super::message::{Message, State};
use super::open;
use crate::clock::seconds;
use crate::engine::batch::{self, BatchResult, Entry};
use crate::engine::content::{
    Attribute, AttributeValue, Attributes, Content, attributes_md5, check_attributes, check_body,
    check_fifo_id, size,
};
use crate::engine::limits::{MAX_DELAY_SECONDS, SQS_MAX_MESSAGE_BYTES};
use crate::engine::{Engine, sequence_number};
use crate::error::AwsError;
use crate::wire::{Context, Service};

/// A message as a caller sends it: by itself, with the queue's URL, or in a batch, with an id.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SendMessage {
    queue_url: String,
    id: String,
    message_body: String,
    delay_seconds: Option<i64>,
    message_attributes: BTreeMap<String, WireAttribute>,
    message_system_attributes: BTreeMap<String, WireAttribute>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SendMessageBatch {
    queue_url: String,
    entries: Vec<SendMessage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireAttribute {
    data_type: String,
    string_value: Option<String>,
    binary_value: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Sent {
    /// Of a batch's entry.
    #[serde(rename = "Id", skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(rename = "MessageId")]
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    body_md5: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    system_attributes_md5: Option<String>,
    #[serde(rename = "SequenceNumber", skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
}

/// A message that passed all checks and goes into a queue.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub(crate) content: Arc<Content>,
    pub(crate) trace_header: Option<String>,
    pub(crate) sender: String,
    pub(crate) group: Option<String>,
    pub(crate) dedup: Option<String>,
    /// Seconds; the queue's own if none.
    pub(crate) delay: Option<u32>,
}

impl Entry for SendMessage {
    fn id(&self) -> &str {
        &self.id
    }
}

pub(super) fn send_message(
    engine: &mut Engine,
    ctx: &Context,
    request: SendMessage,
) -> Result<Sent, AwsError> {
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "SendMessage")?;
    let arn = queue.arn.clone();
    send(engine, ctx, &arn, request)
}

pub(super) fn send_message_batch(
    engine: &mut Engine,
    ctx: &Context,
    request: SendMessageBatch,
) -> Result<BatchResult<Sent>, AwsError> {
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "SendMessage")?;
    let (arn, fifo) = (queue.arn.clone(), queue.attributes.fifo);
    batch::check(Service::Sqs, &request.entries, "SendMessageBatchRequestEntry")?;
    if fifo
        && request.entries.iter().any(|m| m.message_group_id.as_ref().is_none_or(String::is_empty))
    {
        return Err(AwsError::missing_parameter("MessageGroupId"));
    }
    let mut sum = 0;
    for message in &request.entries {
        // What is malformed counts with its body and fails by itself.
        let attributes = attributes(&message.message_attributes).unwrap_or_default();
        sum += size(&message.message_body, &attributes);
    }
    if sum > SQS_MAX_MESSAGE_BYTES {
        return Err(batch::too_long(Service::Sqs, SQS_MAX_MESSAGE_BYTES, sum));
    }
    Ok(batch::run(engine, ctx, request.entries, |engine, entry| send(engine, ctx, &arn, entry)))
}

fn send(
    engine: &mut Engine,
    ctx: &Context,
    arn: &str,
    mut message: SendMessage,
) -> Result<Sent, AwsError> {
    let id = std::mem::take(&mut message.id);
    let queue = engine.queues.get(arn).ok_or_else(super::queue_does_not_exist)?;
    let system = attributes(&message.message_system_attributes)?;
    let trace_header = trace_header(&system)?;
    let message = check(&queue.attributes, message, trace_header, ctx)?;
    let content = Arc::clone(&message.content);
    let (message_id, sequence) =
        engine.enqueue(arn, message).ok_or_else(super::queue_does_not_exist)?;
    Ok(Sent {
        id,
        message_id,
        body_md5: content.body_md5.clone(),
        attributes_md5: content.attributes_md5.clone(),
        system_attributes_md5: attributes_md5(system.iter()),
        sequence,
    })
}

/// All that SQS asks of a message before it takes it.
fn check(
    queue: &QueueAttributes,
    message: SendMessage,
    trace_header: Option<String>,
    ctx: &Context,
) -> Result<NewMessage, AwsError> {
    let body = message.message_body;
    if body.is_empty() {
        return Err(AwsError::missing_parameter("MessageBody"));
    }
    let attributes = attributes(&message.message_attributes)?;
    if size(&body, &attributes) > queue.max_message_bytes as usize {
        return Err(AwsError::invalid_parameter_value(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            queue.max_message_bytes
        )));
    }
    check_body(&body)?;
    check_attributes(&attributes)?;
    let (group, dedup) = (message.message_group_id, message.message_deduplication_id);
    group.as_deref().map(|id| check_fifo_id(id, "MessageGroupId")).transpose()?;
    dedup.as_deref().map(|id| check_fifo_id(id, "MessageDeduplicationId")).transpose()?;
    let delay = delay(queue, message.delay_seconds)?;
    if queue.fifo && group.is_none() {
        return Err(AwsError::missing_parameter("MessageGroupId"));
    }
    if queue.fifo && dedup.is_none() && !queue.content_dedup {
        return Err(AwsError::invalid_parameter_value(
            "The queue should either have ContentBasedDeduplication enabled or \
             MessageDeduplicationId provided explicitly",
        ));
    }
    if let Some(dedup) = dedup.as_ref().filter(|_| !queue.fifo) {
        return Err(AwsError::invalid_value(
            dedup,
            "MessageDeduplicationId",
            "The request includes a parameter that is not valid for this queue type.",
        ));
    }
    Ok(NewMessage {
        content: Arc::new(Content::new(body, attributes)),
        trace_header,
        sender: ctx.caller.account.clone(),
        group,
        dedup,
        delay,
    })
}

fn delay(queue: &QueueAttributes, given: Option<i64>) -> Result<Option<u32>, AwsError> {
    let Some(delay) = given else { return Ok(None) };
    if !(0..=MAX_DELAY_SECONDS).contains(&delay) {
        let reason = format!("DelaySeconds must be >= 0 and <= {MAX_DELAY_SECONDS}.");
        return Err(AwsError::invalid_value(delay, "DelaySeconds", &reason));
    }
    if !queue.fifo {
        return Ok(Some(delay as u32));
    }
    if delay == 0 {
        return Ok(None);
    }
    Err(AwsError::invalid_value(
        delay,
        "DelaySeconds",
        "The request include parameter that is not valid for this queue type.",
    ))
}

/// The one system attribute that can be sent.
fn trace_header(system: &Attributes) -> Result<Option<String>, AwsError> {
    let mut header = None;
    for (name, attribute) in system {
        match (name.as_str(), attribute.data_type.as_str(), &attribute.value) {
            ("AWSTraceHeader", "String", AttributeValue::String(text)) => {
                header = Some(text.clone());
            }
            _ => {
                return Err(AwsError::invalid_parameter_value(format!(
                    "Message system attribute name '{name}' is invalid."
                )));
            }
        }
    }
    Ok(header)
}

fn attributes(wire: &BTreeMap<String, WireAttribute>) -> Result<Attributes, AwsError> {
    let convert = |(name, attribute): (&String, &WireAttribute)| {
        let data_type = attribute.data_type.clone();
        let value = match (&attribute.string_value, &attribute.binary_value) {
            (Some(text), None) => AttributeValue::String(text.clone()),
            (None, Some(base64)) => {
                AttributeValue::Binary(aws_smithy_types::base64::decode(base64).map_err(
                    |error| AwsError::sender("SerializationException", error.to_string()),
                )?)
            }
            _ => {
                return Err(AwsError::invalid_parameter_value(format!(
                    "The message attribute '{name}' must contain non-empty message attribute value \
                     for message attribute type '{data_type}'."
                )));
            }
        };
        Ok((name.clone(), Attribute { data_type, value }))
    };
    wire.iter().map(convert).collect()
}

impl Engine {
    /// Puts a message into a queue, unless a FIFO queue has seen it: then the answer is that of
    /// the first. `None` if there is no such queue.
    pub(crate) fn enqueue(
        &mut self,
        arn: &str,
        message: NewMessage,
    ) -> Option<(String, Option<String>)> {
        let now = Instant::now();
        let (id, key) = (self.uuid(), self.next_serial());
        let queue = self.queues.get_mut(arn)?;
        let (mut sequence, mut dedup) = (None, None);
        if queue.attributes.fifo {
            let dedup_id = message
                .dedup
                .unwrap_or_else(|| hex::encode(Sha256::digest(message.content.body.as_bytes())));
            let remembered = match &message.group {
                Some(group) if queue.attributes.dedup_per_group => format!("{group} {dedup_id}"),
                _ => dedup_id.clone(),
            };
            if let Some((id, sequence)) = queue.dedup.answer(now, &remembered) {
                return Some((id, Some(sequence)));
            }
            let number = sequence_number(key);
            queue.dedup.remember(now, remembered, (id.clone(), number.clone()));
            (sequence, dedup) = (Some(number), Some(dedup_id));
        }
        let delay = message.delay.unwrap_or(queue.attributes.delay);
        let state = if delay == 0 { State::Visible } else { State::Delayed(now + seconds(delay)) };
        let stored = Message {
            id: id.clone(),
            content: message.content,
            trace_header: message.trace_header,
            sender: message.sender,
            group: message.group.map(Arc::from),
            dedup,
            sequence: sequence.clone(),
            sent: now,
            first_received: None,
            last_received: None,
            receives: 0,
            receives_here: 0,
            dead_letter_source: None,
            state,
            receipt: 0,
        };
        queue.insert(key, stored);
        self.note_change();
        Some((id, sequence))
    }
}
