//! The dead-letter queue.

use std::collections::HashMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use aws_smithy_types::Blob;
use fanfare_core::{
    Attribute, Attributes, BoxError, DeadLetter, DeadLetterError, DeadLetters,
    telemetry::{AWS_SQS, Channel, OperationType},
};
use fanfare_topology::{Bindings, Kind};

use crate::{
    Aws, Queue,
    failure::Failure,
    limits::{ATTRIBUTES, BATCH_ENTRIES, SQS_BYTES, is_allowed, legal_id},
};

/// Attributes that a dead letter gets, the most telling first: where not all fit, because the
/// message brought many of its own, the last are left out.
const REASON: &str = "dead-letter-reason";
const EVENT_ID: &str = "dead-letter-event-id";
const RECEIVE_COUNT: &str = "dead-letter-receive-count";

/// Attributes of what comes from a stream: where it stands there.
pub(crate) const STREAM: &str = "dead-letter-stream";
pub(crate) const SHARD: &str = "dead-letter-shard";
pub(crate) const SEQUENCE_NUMBER: &str = "dead-letter-sequence-number";

/// Seconds for which a look into the dead-letter queue waits.
const LOOK_SECONDS: i32 = 2;

/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 1_024;

/// What SQS calls it.
const SEND: &str = "send";

/// A dead-letter queue of a service.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetterQueue {
    aws: Aws,
    kind: Kind,
    url: String,
    channel: Channel,
}

impl DeadLetterQueue {
    /// The one behind the queue of `service` of this kind, if it has such a queue.
    pub(crate) fn new(aws: Aws, bindings: &Bindings, service: &str, kind: Kind) -> Self {
        let name = bindings.dead_letter_queue_name(service, kind);
        let url = aws.queue_url(&name);
        DeadLetterQueue { aws, kind, url, channel: Channel::new(AWS_SQS, name) }
    }

    /// Keeps a letter, with reason, event id and receive count as attributes.
    pub(crate) async fn put(&self, letter: DeadLetter<'_>) -> Result<(), Failure> {
        let metadata = &letter.delivery.metadata;
        let mut request = self
            .aws
            .sqs()
            .send_message()
            .queue_url(&self.url)
            .message_body(&letter.delivery.body)
            .set_message_attributes(Some(sdk_attributes(&attributes(&letter))));
        if self.kind == Kind::Fifo {
            // With the event id alone, a second reject within 5 minutes would be swallowed.
            let event_id = letter.event_id.unwrap_or_default();
            let unique = format!("{event_id}/{}/{}", metadata.message_id, metadata.attempt);
            request = request
                .message_group_id(legal_id(metadata.group.as_deref().unwrap_or_default()))
                .message_deduplication_id(legal_id(&unique));
        }
        let operation = self.channel.begin(OperationType::Send, SEND);
        let sent = operation.run(request.send()).await;
        let sent = sent.map(drop).map_err(|error| Failure::of(&error));
        let error = sent.as_ref().err().map(|failure| &*failure.code);
        operation.end(1, error);
        self.channel.sent(SEND, 1, error);
        sent
    }

    /// Looks at up to 10 letters and leaves them there.
    pub(crate) async fn look(&self) -> Result<Vec<Parked>, DeadLetterError> {
        let request = self.aws.sqs().receive_message().queue_url(&self.url);
        let most = i32::try_from(BATCH_ENTRIES).unwrap_or(1);
        let request = request.max_number_of_messages(most).message_attribute_names("All");
        // A short poll asks only some of SQS's servers, and may find nothing where there is something.
        let request = request.visibility_timeout(0).wait_time_seconds(LOOK_SECONDS);
        let answer = request.send().await;
        let answer = answer.map_err(|error| not_accepted(&Failure::of(&error)))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(Parked::from).collect())
    }
}

/// Its dead-letter queue, with reason, event id and receive count as attributes.
impl DeadLetters for Queue {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        self.dead_letters.put(letter).await.map_err(|failure| not_accepted(&failure))
    }
}

pub(crate) fn not_accepted(failure: &Failure) -> DeadLetterError {
    BoxError::from(failure.to_string()).into()
}

/// A message in a dead-letter queue, as [`Queue::dead_letters`] and
/// [`Stream::dead_letters`](crate::Stream::dead_letters) show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parked {
    /// Why it was given up; none if SQS itself moved it, after too many receives.
    pub reason: Option<String>,
    /// The event's id, where the body could be read that far.
    pub event_id: Option<String>,
    /// How often it had been received then; from a stream, how often it had been tried by the worker
    /// that had its shard last.
    pub receive_count: Option<u32>,
    /// The shard that it comes from, if it comes from a stream.
    pub shard_id: Option<String>,
    /// The sequence number of its record, if it comes from a stream.
    pub sequence_number: Option<String>,
}

impl From<Message> for Parked {
    fn from(message: Message) -> Self {
        let attributes = message.message_attributes.unwrap_or_default();
        let text = |name| attributes.get(name).and_then(|a| a.string_value.clone());
        Parked {
            reason: text(REASON),
            event_id: text(EVENT_ID),
            receive_count: text(RECEIVE_COUNT).and_then(|count| count.parse().ok()),
            shard_id: text(SHARD),
            sequence_number: text(SEQUENCE_NUMBER),
        }
    }
}

impl Queue {
    /// Looks at up to 10 messages in this queue's dead-letter queue and leaves them there: for
    /// tests and operators, not for processing. Takes 2 seconds where there is none.
    ///
    /// # Errors
    /// [`DeadLetterError`] if they cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<Parked>, DeadLetterError> {
        self.dead_letters.look().await
    }
}

/// The message's own attributes, and as many of ours as fit.
fn attributes(letter: &DeadLetter<'_>) -> Attributes {
    let mut attributes = letter.delivery.attributes.clone();
    // A redriven letter that is rejected again brings the old ones.
    attributes.retain(|name, _| ![REASON, EVENT_ID, RECEIVE_COUNT].contains(&name.as_str()));
    let weigh = |name: &str, a: &Attribute| name.len() + a.data_type().len() + a.value_len();
    let own: usize = attributes.iter().map(|(name, attribute)| weigh(name, attribute)).sum();
    let mut room = SQS_BYTES.saturating_sub(letter.delivery.body.len() + own);
    let count = letter.delivery.metadata.attempt.to_string();
    let ours = [
        (REASON, Some(Attribute::text(plain(&letter.reason.to_string())))),
        (EVENT_ID, letter.event_id.map(|id| Attribute::text(plain(id)))),
        (RECEIVE_COUNT, Some(Attribute::Text { data_type: "Number".into(), value: count })),
    ];
    for (name, attribute) in ours {
        let Some(attribute) = attribute else { continue };
        let weight = weigh(name, &attribute);
        if attributes.len() < ATTRIBUTES && weight <= room {
            room -= weight;
            attributes.insert(name.into(), attribute);
        } else {
            let message_id = &letter.delivery.metadata.message_id;
            tracing::warn!(%message_id, reason = %letter.reason, "no room for {name} on the dead letter");
        }
    }
    attributes
}

/// Text as an attribute takes it: no control characters, not too long, not empty.
fn plain(text: &str) -> String {
    let mut plain: String =
        text.chars().map(|c| if is_allowed(c) { c } else { '\u{FFFD}' }).collect();
    plain.truncate(plain.floor_char_boundary(REASON_BYTES));
    if plain.is_empty() { "-".into() } else { plain }
}

fn sdk_attributes(attributes: &Attributes) -> HashMap<String, MessageAttributeValue> {
    let convert = |(name, attribute): (&String, &Attribute)| {
        let builder = MessageAttributeValue::builder().data_type(attribute.data_type());
        let value = match attribute {
            Attribute::Binary { value, .. } => builder.binary_value(Blob::new(value.clone())),
            other => builder.string_value(other.as_str().unwrap_or_default()),
        };
        // What it requires is the data type, which is there.
        Some((name.clone(), value.build().ok()?))
    };
    attributes.iter().filter_map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::{Metadata, RawDelivery, Reason};

    fn with_own(count: usize) -> RawDelivery {
        let mut delivery = RawDelivery::new("{}", Metadata::new("m-1", 3));
        for i in 0..count {
            delivery.attributes.insert(format!("own-{i}"), Attribute::text("x"));
        }
        delivery
    }

    fn names(delivery: &RawDelivery) -> Vec<String> {
        let reason = Reason::Rejected("sold out".into());
        let attributes = attributes(&DeadLetter::new(delivery, &reason, Some("e-1")));
        attributes.into_keys().filter(|name| !name.starts_with("own")).collect()
    }

    #[test]
    fn a_letter_says_why_which_event_and_how_often() {
        assert_eq!(names(&with_own(1)), [EVENT_ID, REASON, RECEIVE_COUNT]);
    }

    #[test]
    fn where_not_all_fit_the_reason_stays_longest() {
        assert_eq!(names(&with_own(8)), [EVENT_ID, REASON]);
        assert_eq!(names(&with_own(9)), [REASON]);
        assert!(names(&with_own(10)).is_empty());
        let full = RawDelivery::new("x".repeat(SQS_BYTES), Metadata::new("m-1", 1));
        assert!(names(&full).is_empty());
    }

    #[test]
    fn a_reason_is_made_to_fit_an_attribute() {
        assert_eq!(plain("a\u{0}b"), "a\u{FFFD}b");
        assert_eq!(plain(""), "-");
        assert!(plain(&"ü".repeat(2_000)).len() <= REASON_BYTES);
    }
}
