//! Dead letters of a stream: they say where they come from, and always fit into SQS.

use std::borrow::Cow;

use aws_smithy_types::base64;
use fanfare_core::{
    Attribute, DeadLetter, DeadLetterError, DeadLetters, GROUP_ATTRIBUTE, RawDelivery,
};
use serde_json::json;

use super::Stream;
use crate::{
    dead_letters::{DeadLetterQueue, SEQUENCE_NUMBER, SHARD, STREAM, not_accepted},
    failure::Class,
    limits::{SQS_BYTES, is_allowed},
};

/// Says `base64` where the body is not the data itself.
pub(super) const ENCODING: &str = "dead-letter-encoding";

/// Says what is wrong with an aggregate.
pub(super) const PROBLEM: &str = "dead-letter-problem";

/// Bytes that are kept for the attributes of a letter.
const ATTRIBUTES_BYTES: usize = 8_192;

/// The dead letters of one stream.
#[derive(Debug)]
pub(super) struct Letters {
    queue: DeadLetterQueue,
    stream: String,
}

impl Letters {
    pub(super) fn new(stream: &Stream) -> Self {
        Letters { queue: stream.dead_letters.clone(), stream: stream.name().into() }
    }
}

impl DeadLetters for Letters {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        let put = async |whole| {
            let delivery = addressed(&self.stream, letter.delivery, whole);
            self.queue.put(DeadLetter::new(&delivery, letter.reason, letter.event_id)).await
        };
        let mut sent = put(true).await;
        // The queue takes less than SQS does, say.
        if sent.as_ref().is_err_and(|failure| failure.class == Class::Refused) {
            sent = put(false).await;
        }
        sent.map_err(|failure| not_accepted(&failure))
    }
}

/// The service's dead-letter queue; a letter says where in the stream it comes from.
impl DeadLetters for Stream {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        Letters::new(self).put(letter).await
    }
}

/// With where it comes from, and with its body only if it should be `whole` and SQS takes that: a
/// letter that can never be sent would hold its key for ever.
fn addressed(stream: &str, delivery: &RawDelivery, whole: bool) -> RawDelivery {
    let message_id = &delivery.metadata.message_id;
    let mut parts = message_id.split('/');
    let shard = parts.next().unwrap_or_default();
    let sequence_number = parts.next().unwrap_or_default();
    let mut attributes = delivery.attributes.clone();
    let mut body = Cow::Borrowed(&*delivery.body);
    if !body.chars().all(is_allowed) {
        body = base64::encode(&*body).into();
        attributes.insert(ENCODING.into(), Attribute::text("base64"));
    }
    if !whole || body.is_empty() || body.len() > SQS_BYTES - ATTRIBUTES_BYTES {
        let bytes = delivery.body.len();
        tracing::warn!(%message_id, bytes, "a dead letter says only where its data is");
        attributes.remove(ENCODING);
        let place = json!({
            "stream": stream,
            "shardId": shard,
            "sequenceNumber": sequence_number,
            "subSequenceNumber": parts.next(),
        });
        body = place.to_string().into();
    }
    for (name, value) in [(STREAM, stream), (SHARD, shard), (SEQUENCE_NUMBER, sequence_number)] {
        attributes.insert(name.into(), Attribute::text(value));
    }
    if let Some(key) = delivery.metadata.group.as_deref().filter(|key| key.chars().all(is_allowed))
    {
        attributes.insert(GROUP_ATTRIBUTE.into(), Attribute::text(key));
    }
    let mut addressed = RawDelivery::new(body, delivery.metadata.clone());
    addressed.attributes = attributes;
    addressed
}

#[cfg(test)]
mod tests {
    use fanfare_core::Metadata;

    use super::*;

    fn letter(body: impl Into<String>) -> RawDelivery {
        let metadata = Metadata::new("shardId-0/495/3", 1).in_group("key-1");
        addressed("orders", &RawDelivery::new(body, metadata), true)
    }

    fn attribute<'a>(letter: &'a RawDelivery, name: &str) -> Option<&'a str> {
        letter.attributes.get(name).and_then(Attribute::as_str)
    }

    #[test]
    fn a_letter_says_where_it_comes_from_and_is_untouched_where_sqs_takes_it() {
        let letter = letter("{}");
        assert_eq!(letter.body, "{}");
        let names = [STREAM, SHARD, SEQUENCE_NUMBER, GROUP_ATTRIBUTE];
        let place = names.map(|name| attribute(&letter, name));
        assert_eq!(place, [Some("orders"), Some("shardId-0"), Some("495"), Some("key-1")]);
        assert_eq!(attribute(&letter, ENCODING), None);
    }

    #[test]
    fn what_sqs_refuses_in_a_body_goes_as_base64() {
        let letter = letter("\u{FFFF}");
        assert_eq!(letter.body, "77+/");
        assert_eq!(attribute(&letter, ENCODING), Some("base64"));
    }

    #[test]
    fn what_is_empty_or_too_large_is_named_instead() {
        let place = r#"{"sequenceNumber":"495","shardId":"shardId-0","stream":"orders","subSequenceNumber":"3"}"#;
        for body in [String::new(), "x".repeat(SQS_BYTES), "\0".repeat(SQS_BYTES * 3 / 4)] {
            let letter = letter(body);
            assert_eq!(letter.body, place);
            assert_eq!(attribute(&letter, ENCODING), None);
        }
        assert_eq!(
            letter("x".repeat(SQS_BYTES - ATTRIBUTES_BYTES)).body.len(),
            SQS_BYTES - ATTRIBUTES_BYTES
        );
    }
}
