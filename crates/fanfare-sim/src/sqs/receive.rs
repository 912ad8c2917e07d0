//! ReceiveMessage: short and long polls, and what a received message looks like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, sleep_until};

use super::message::{Key, Message, Receipt, State};
use super::queue::{Queue, Taken};
use super::{attributes, open, redrive};
use crate::clock::{Clock, seconds};
use crate::engine::Engine;
use crate::engine::content::{Attribute, AttributeValue, Content, attributes_md5};
use crate::engine::limits::{MAX_IN_FLIGHT, MAX_RECEIVE, MAX_VISIBILITY_SECONDS, MAX_WAIT_SECONDS};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ReceiveMessage {
    queue_url: String,
    /// The older name of `message_system_attribute_names`.
    attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    message_attribute_names: Vec<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Received {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<ReceivedMessage>,
}

#[derive(Debug, Serialize)]
struct ReceivedMessage {
    #[serde(rename = "MessageId")]
    id: String,
    #[serde(rename = "ReceiptHandle")]
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    body_md5: String,
    #[serde(rename = "Body", serialize_with = "body")]
    content: Arc<Content>,
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    system: BTreeMap<&'static str, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
    #[serde(rename = "MessageAttributes", skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, ReceivedAttribute>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReceivedAttribute {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    data_type: String,
}

/// System attributes that can be asked for.
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

/// One look at the queue.
enum Attempt {
    Done(Received),
    /// Nothing there: wait for the queue's wake-up, for what happens by itself, or for the end of
    /// the poll, counted from its start.
    Empty {
        woken: OwnedNotified,
        next_event: Option<Instant>,
        wait: Duration,
    },
}

/// Receives at once, or waits for a message as long as the poll lasts. Dropping the future while
/// it waits leaves the queue as it is.
pub(super) async fn receive(
    sim: &Shared,
    ctx: &Context,
    request: ReceiveMessage,
) -> Result<Received, AwsError> {
    check(&request)?;
    let start = Instant::now();
    let drained = sim.drain.notified();
    tokio::pin!(drained);
    loop {
        let attempt = attempt(&mut sim.lock(), ctx, &request)?;
        let (woken, next_event, wait) = match attempt {
            Attempt::Done(received) => return Ok(received),
            Attempt::Empty { woken, next_event, wait } => (woken, next_event, wait),
        };
        let end = start + wait;
        if Instant::now() >= end {
            return Ok(Received::default());
        }
        tokio::select! {
            () = woken => {}
            () = sleep_until(next_event.map_or(end, |event| event.min(end))) => {}
            () = &mut drained => return Ok(Received::default()),
        }
    }
}

fn check(request: &ReceiveMessage) -> Result<(), AwsError> {
    let range = |name: &str, value: Option<i64>, min: i64, max: i64, reason: &str| match value {
        Some(value) if !(min..=max).contains(&value) => {
            Err(AwsError::invalid_value(value, name, reason))
        }
        _ => Ok(()),
    };
    range(
        "MaxNumberOfMessages",
        request.max_number_of_messages,
        1,
        MAX_RECEIVE,
        "Must be between 1 and 10, if provided.",
    )?;
    range(
        "WaitTimeSeconds",
        request.wait_time_seconds,
        0,
        MAX_WAIT_SECONDS,
        "Must be >= 0 and <= 20, if provided.",
    )?;
    range(
        "VisibilityTimeout",
        request.visibility_timeout,
        0,
        i64::from(MAX_VISIBILITY_SECONDS),
        "Must be between 0 and 43200, if provided.",
    )?;
    let names = request.attribute_names.iter().chain(&request.message_system_attribute_names);
    match names.into_iter().find(|name| !SYSTEM_ATTRIBUTES.contains(&name.as_str())) {
        Some(name) => Err(attributes::unknown(name)),
        None => Ok(()),
    }
}

fn attempt(
    engine: &mut Engine,
    ctx: &Context,
    request: &ReceiveMessage,
) -> Result<Attempt, AwsError> {
    let now = Instant::now();
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "ReceiveMessage")?;
    let (arn, fifo) = (queue.arn.clone(), queue.attributes.fifo);
    let room = MAX_IN_FLIGHT.saturating_sub(queue.in_flight_count());
    if room == 0 && !fifo {
        let message = "The maximum number of in flight messages is reached.";
        return Err(AwsError::sender("OverLimit", message).with_status(403));
    }
    let redrive = queue.attributes.redrive.clone();
    let target = redrive.as_ref().map(|redrive| redrive.target.as_str());
    // Where the dead-letter queue is gone, messages stay and are received on.
    let max_receives = redrive
        .as_ref()
        .filter(|redrive| engine.queues.contains_key(&redrive.target))
        .map(|redrive| redrive.max_receives);

    let Engine { queues, faults, .. } = &mut *engine;
    let queue = queues.get_mut(&arn).ok_or_else(super::queue_does_not_exist)?;
    let visibility = request.visibility_timeout.map_or(queue.attributes.visibility, |v| v as u32);
    let max = (request.max_number_of_messages.unwrap_or(1) as usize).min(room);
    let Taken { handed, dead } =
        queue.take(max, now, seconds(visibility), max_receives, || faults.reorder());
    let duplicated = (!fifo && !handed.is_empty() && faults.duplicates()).then(|| handed[0]);

    let changed = !handed.is_empty() || !dead.is_empty();
    if let Some(target) = target {
        redrive::bury(engine, &arn, target, dead);
    }
    let messages: Vec<ReceivedMessage> = handed
        .into_iter()
        .filter_map(|key| hand_out(engine, &arn, key, duplicated == Some(key), request))
        .collect();
    if changed {
        engine.note_change();
    }
    if !messages.is_empty() {
        return Ok(Attempt::Done(Received { messages }));
    }
    let queue = engine.queues.get(&arn).ok_or_else(super::queue_does_not_exist)?;
    let wait = request.wait_time_seconds.map_or(queue.attributes.wait, |w| w as u32);
    Ok(Attempt::Empty {
        // Made under the lock, so that no arrival falls between the look and the wait.
        woken: Arc::clone(&queue.wake).notified_owned(),
        next_event: queue.next_event(),
        wait: seconds(wait),
    })
}

/// Gives a received message its handle. A duplicated one stays visible, and the handle is that of
/// a copy that the queue knows nothing of.
fn hand_out(
    engine: &mut Engine,
    arn: &str,
    key: Key,
    duplicated: bool,
    request: &ReceiveMessage,
) -> Option<ReceivedMessage> {
    let (receipt, clock) = (engine.next_serial(), engine.clock.clone());
    let queue: &mut Queue = engine.queues.get_mut(arn)?;
    let handle = Receipt { queue: queue.serial, key, receipt };
    if duplicated {
        queue.set_state(key, State::Visible);
    } else {
        queue.message_mut(key)?.receipt = receipt;
    }
    Some(describe(queue.message(key)?, handle, request, &clock))
}

fn describe(
    message: &Message,
    handle: Receipt,
    request: &ReceiveMessage,
    clock: &Clock,
) -> ReceivedMessage {
    let content = &message.content;
    let wanted = |name: &str| is_wanted(name, &request.message_attribute_names);
    let attributes: Vec<(&String, &Attribute)> =
        content.attributes.iter().filter(|(name, _)| wanted(name)).collect();
    // The sum is over what is handed out, which is usually everything or nothing.
    let attributes_md5 = if attributes.len() == content.attributes.len() {
        content.attributes_md5.clone()
    } else {
        attributes_md5(attributes.iter().copied())
    };
    ReceivedMessage {
        id: message.id.clone(),
        receipt_handle: handle.encode(),
        body_md5: content.body_md5.clone(),
        content: Arc::clone(content),
        system: system_attributes(message, request, clock),
        attributes_md5,
        attributes: attributes
            .into_iter()
            .map(|(name, attribute)| (name.clone(), attribute.into()))
            .collect(),
    }
}

fn system_attributes(
    message: &Message,
    request: &ReceiveMessage,
    clock: &Clock,
) -> BTreeMap<&'static str, String> {
    let names = || request.attribute_names.iter().chain(&request.message_system_attribute_names);
    if names().next().is_none() {
        return BTreeMap::new();
    }
    let millis = |at: Instant| clock.unix_millis(at).to_string();
    [
        ("ApproximateFirstReceiveTimestamp", message.first_received.map(millis)),
        ("ApproximateReceiveCount", Some(message.receives.to_string())),
        ("AWSTraceHeader", message.trace_header.clone()),
        ("DeadLetterQueueSourceArn", message.dead_letter_source.clone()),
        ("MessageDeduplicationId", message.dedup.clone()),
        ("MessageGroupId", message.group.as_deref().map(str::to_owned)),
        ("SenderId", Some(message.sender.clone())),
        ("SentTimestamp", Some(millis(message.sent))),
        ("SequenceNumber", message.sequence.clone()),
    ]
    .into_iter()
    .filter(|(name, _)| names().any(|wanted| wanted == "All" || wanted == name))
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// Whether a message attribute was asked for: by name, by prefix (`shop.*`), or with all.
fn is_wanted(name: &str, names: &[String]) -> bool {
    names.iter().any(|wanted| match wanted.strip_suffix(".*") {
        Some(prefix) => name.starts_with(prefix),
        None => wanted == "All" || wanted == name,
    })
}

impl From<&Attribute> for ReceivedAttribute {
    fn from(attribute: &Attribute) -> Self {
        let (string_value, binary_value) = match &attribute.value {
            AttributeValue::String(text) => (Some(text.clone()), None),
            AttributeValue::Binary(bytes) => (None, Some(aws_smithy_types::base64::encode(bytes))),
        };
        Self { string_value, binary_value, data_type: attribute.data_type.clone() }
    }
}

fn body<S: Serializer>(content: &Arc<Content>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&content.body)
}
