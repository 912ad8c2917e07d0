//! One long poll, and what SQS's messages are to us.

use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use fanfare_core::{
    Attribute, Attributes, Backoff, Metadata, RawDelivery, telemetry::OperationType,
};
use jiff::Timestamp;

use crate::{Queue, failure::Failure};

/// Between failed receives.
pub(super) const BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// A delivery and what settles it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) delivery: RawDelivery,
    pub(super) receipt: String,
}

/// Waits up to `wait` for up to `most` messages, at most 10, and takes them for `visibility`.
pub(super) async fn receive(
    queue: &Queue,
    most: usize,
    wait: Duration,
    visibility: Duration,
) -> Result<Vec<Received>, Failure> {
    let ordered = queue.is_fifo();
    let request = queue
        .aws
        .polling()
        .receive_message()
        .queue_url(&queue.url)
        .max_number_of_messages(i32::try_from(most).unwrap_or(1))
        .wait_time_seconds(whole_seconds(wait))
        .visibility_timeout(whole_seconds(visibility))
        .message_attribute_names("All")
        .message_system_attribute_names(System::ApproximateReceiveCount)
        .message_system_attribute_names(System::SentTimestamp);
    // What is not used is not asked for: each costs time for each message.
    let request = match ordered {
        true => request.message_system_attribute_names(System::MessageGroupId),
        false => request,
    };
    let operation = queue.channel.begin(OperationType::Receive, "receive");
    let answer = operation.run(request.send()).await.map_err(|error| Failure::of(&error));
    let messages = answer.map(|answer| answer.messages.unwrap_or_default());
    let error = messages.as_ref().err().map(|failure| &*failure.code);
    operation.end(messages.as_ref().map_or(0, Vec::len), error);
    let messages = messages?;
    queue.channel.consumed(messages.len());
    let mut received: Vec<Received> =
        messages.into_iter().map(|message| received(message, ordered)).collect();
    if ordered {
        // The messages of a group stand together.
        received.sort_by(|a, b| a.delivery.metadata.group.cmp(&b.delivery.metadata.group));
    }
    Ok(received)
}

/// Rounded up, as SQS takes whole seconds.
pub(super) fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

fn received(message: Message, ordered: bool) -> Received {
    let system = message.attributes.unwrap_or_default();
    let number = |name| system.get(&name).and_then(|value| value.parse::<i64>().ok());
    let attempt =
        number(System::ApproximateReceiveCount).and_then(|count| u32::try_from(count).ok());
    let mut metadata = Metadata::new(message.message_id.unwrap_or_default(), attempt.unwrap_or(1));
    metadata.sent_at =
        number(System::SentTimestamp).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // On a standard queue a group marks a tenant, and promises no order. On a FIFO queue a server
    // that leaves it out gets the safe reading: one group.
    metadata.group =
        ordered.then(|| system.get(&System::MessageGroupId).cloned().unwrap_or_default());
    let mut delivery = RawDelivery::new(message.body.unwrap_or_default(), metadata);
    delivery.attributes = attributes(message.message_attributes.unwrap_or_default());
    Received { delivery, receipt: message.receipt_handle.unwrap_or_default() }
}

fn attributes(attributes: impl IntoIterator<Item = (String, MessageAttributeValue)>) -> Attributes {
    let convert = |attribute: MessageAttributeValue| {
        let data_type = attribute.data_type;
        match attribute.binary_value {
            Some(bytes) => Attribute::Binary { data_type, value: bytes.into_inner() },
            None => {
                Attribute::Text { data_type, value: attribute.string_value.unwrap_or_default() }
            }
        }
    };
    attributes.into_iter().map(|(name, attribute)| (name, convert(attribute))).collect()
}
