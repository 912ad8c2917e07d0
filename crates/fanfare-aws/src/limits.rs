//! What SNS, SQS and Kinesis accept, checked before anything is sent.

use std::borrow::Cow;

use fanfare_core::{Message, PublishError};
use sha2::{Digest, Sha256};

/// Entries in one batch request, of SNS and SQS alike.
/// <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>
pub(crate) const BATCH_ENTRIES: usize = 10;

/// Bytes of an SNS message with its attributes, and of a whole `PublishBatch`. A topic's
/// `MaximumMessageSize` may raise it; this is the default.
/// <https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html>
pub(crate) const SNS_BYTES: usize = 262_144;

/// Bytes of an SQS message with its attributes, and of a whole `SendMessageBatch`.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(crate) const SQS_BYTES: usize = 1_048_576;

/// Message attributes; with raw delivery SNS *discards* a message that has more, and says so to
/// nobody. <https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html>
pub(crate) const ATTRIBUTES: usize = 10;

/// Seconds for which a message can be invisible, counted from its receive.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
pub(crate) const VISIBILITY_SECONDS: u64 = 43_200;

/// Seconds that a message of a standard queue can be delayed by.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatchRequestEntry.html>
pub(crate) const DELAY_SECONDS: u64 = 900;

/// Messages of a queue that can be in flight.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(crate) const IN_FLIGHT: usize = 120_000;

/// Records in one `PutRecords`.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
pub(crate) const STREAM_RECORDS: usize = 500;

/// Bytes of one `PutRecords`: the records' data and partition keys.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
pub(crate) const STREAM_REQUEST_BYTES: usize = 10_485_760;

/// Bytes of a record with its partition key. A stream's `MaxRecordSizeInKiB` may raise it; this is
/// the default. <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
pub(crate) const RECORD_BYTES: usize = 1_048_576;

/// Characters of a partition key.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>
const PARTITION_KEY_CHARACTERS: usize = 256;

/// Records that a shard takes in a second.
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
pub(crate) const SHARD_RECORDS_PER_SECOND: usize = 1_000;

/// Bytes, partition keys among them, that a shard takes in a second.
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
pub(crate) const SHARD_BYTES_PER_SECOND: usize = 1_048_576;

/// Bytes of an aggregate of events: what the Kinesis Producer Library has by default
/// (`AggregationMaxSize`), so that consumers get what they are used to. No limit of AWS.
/// <https://github.com/awslabs/amazon-kinesis-producer/blob/master/java/amazon-kinesis-producer-sample/default_config.properties>
pub(crate) const AGGREGATE_BYTES: usize = 51_200;

/// Characters of a message group or deduplication id.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const ID_CHARACTERS: usize = 128;

/// Characters of an attribute name.
const NAME_CHARACTERS: usize = 256;

/// Refuses what the service would refuse, or silently drop; `bytes` is its limit.
pub(crate) fn check(message: &Message, bytes: usize) -> Result<(), PublishError> {
    let tag = || message.tag.clone();
    let over = |what, actual, limit, unit| PublishError::OverLimit {
        tag: tag(),
        what,
        actual,
        limit,
        unit,
    };
    let malformed = |problem: String| Err(PublishError::Malformed { tag: tag(), problem });
    let count = message.attributes.len() + usize::from(message.offloaded.is_some());
    if count > ATTRIBUTES {
        return Err(over("the number of its message attributes", count, ATTRIBUTES, "attributes"));
    }
    for (name, value) in &message.attributes {
        if !is_attribute_name(name) {
            return malformed(format!(
                "`{name}` is no attribute name: letters, digits, `_`, `-` and single dots, at most {NAME_CHARACTERS}"
            ));
        }
        if value.is_empty() {
            return malformed(format!(
                "its attribute `{name}` is empty, which SNS and SQS refuse: do not filter by fields that can be empty"
            ));
        }
        if let Some(c) = first_illegal(value) {
            return malformed(format!(
                "its attribute `{name}` has the character U+{:04X}, which SNS and SQS refuse",
                c as u32
            ));
        }
    }
    if message.body.is_empty() {
        return malformed("its body is empty".into());
    }
    if let Some(c) = first_illegal(&message.body) {
        return malformed(format!(
            "its body has the character U+{:04X}, which SNS and SQS refuse",
            c as u32
        ));
    }
    let size = message.size();
    if size > bytes {
        return Err(over("its size with attributes", size, bytes, "bytes"));
    }
    Ok(())
}

/// Refuses a message that is too large for a record with this partition key.
pub(crate) fn check_record(message: &Message, partition_key: &str) -> Result<(), PublishError> {
    let size = message.body.len() + partition_key.len();
    if size <= RECORD_BYTES {
        return Ok(());
    }
    Err(PublishError::OverLimit {
        tag: message.tag.clone(),
        what: "its size with partition key",
        actual: size,
        limit: RECORD_BYTES,
        unit: "bytes",
    })
}

/// The characters of XML 1.0, which is what both services take.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub(crate) fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// The first character that is not [allowed](is_allowed).
fn first_illegal(text: &str) -> Option<char> {
    // Hardly any text has the bytes that such a character has or begins with, and a loop without a way
    // out is one that the compiler does many bytes at a time.
    let suspicious = text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == 0xEF));
    if suspicious { text.chars().find(|c| !is_allowed(*c)) } else { None }
}

fn is_attribute_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    (1..=NAME_CHARACTERS).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

/// A message group or deduplication id for `text`: itself where it is legal, else a hash of it.
/// The envelope keeps the original.
pub(crate) fn legal_id(text: &str) -> String {
    let legal =
        (1..=ID_CHARACTERS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if legal { text.into() } else { hashed(text) }
}

/// The partition key of a message: its key where that is legal, else a hash of it; its id if it has
/// none, as nothing has to be in order with it. The envelope keeps the original.
pub(crate) fn partition_key(message: &Message) -> Cow<'_, str> {
    let key = if message.key.is_empty() { &message.id } else { &message.key };
    // In UTF-16, as Java counts: never fewer than the characters that are meant.
    let legal = (1..=PARTITION_KEY_CHARACTERS).contains(&key.encode_utf16().count());
    if legal { Cow::Borrowed(key) } else { Cow::Owned(hashed(key)) }
}

fn hashed(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_illegal_group_id_is_hashed_and_a_legal_one_kept() {
        assert_eq!(legal_id("order-1!~"), "order-1!~");
        assert_eq!(legal_id(&"x".repeat(128)).len(), 128);
        for illegal in ["", "with space", "schlüssel", &"x".repeat(129)] {
            let hashed = legal_id(illegal);
            assert!(hashed.starts_with("sha256:") && hashed.len() == 71, "{illegal}: {hashed}");
        }
        assert_ne!(legal_id("with space"), legal_id("with  space"));
    }

    #[test]
    fn a_partition_key_is_the_key_or_a_hash_of_it_or_the_id() {
        let destination = fanfare_core::Destination::Topic("orders".into());
        let message = |key: &str| Message::new(destination.clone(), "id-1", "t", key, vec![], "{}");
        for legal in ["o 1", "schlüssel", &"ü".repeat(256), &"🔑".repeat(128)] {
            assert_eq!(partition_key(&message(legal)), legal);
        }
        for long in ["x".repeat(257), "🔑".repeat(129)] {
            assert!(partition_key(&message(&long)).starts_with("sha256:"));
        }
        assert_eq!(partition_key(&message("")), "id-1");
    }

    #[test]
    fn attribute_names_follow_the_services_rules() {
        for good in ["type", "a.b", "A-1_2"] {
            assert!(is_attribute_name(good), "{good}");
        }
        for bad in ["", ".a", "a.", "a..b", "AWS.x", "amazon.x", "a b", "ä"] {
            assert!(!is_attribute_name(bad), "{bad}");
        }
    }

    #[test]
    fn characters_outside_of_xml_are_found() {
        for bad in ['\0', '\u{8}', '\u{FFFE}', '\u{FFFF}'] {
            assert!(!is_allowed(bad), "{bad:?}");
        }
        for good in ['\t', '\n', '\r', ' ', 'é', '\u{FFFD}', '😀'] {
            assert!(is_allowed(good), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn the_first_of_them_is_found_wherever_it_is(
            text in prop::collection::vec(
                prop_oneof![
                    20 => any::<char>(),
                    1 => prop::sample::select(vec!['\0', '\u{1F}', '\u{FFFE}', '\u{FFFF}', '\n']),
                    1 => prop::char::range('\u{F000}', '\u{FFFD}'),
                ],
                0..100,
            ),
        ) {
            let text: String = text.into_iter().collect();
            prop_assert_eq!(first_illegal(&text), text.chars().find(|c| !is_allowed(*c)));
        }
    }
}
