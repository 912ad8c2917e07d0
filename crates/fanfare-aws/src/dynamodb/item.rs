//! How an event that was handled is kept as an item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use fanfare_core::InboxKey;
use sha2::{Digest, Sha256};

use super::DynamoError;

/// The partition key: consumer, source and event id.
pub(super) const ID: &str = "id";
/// Hash of the event's data.
pub(super) const PAYLOAD: &str = "payload";
/// Whose claim it is, or was.
pub(super) const CLAIM: &str = "claim";
/// Until when the item counts, in milliseconds since 1970.
pub(super) const UNTIL: &str = "until";
/// The same in seconds and not earlier, for DynamoDB's time to live.
pub(super) const EXPIRES_AT: &str = "expires_at";
/// What followed, as JSON; absent while the event is being handled.
pub(super) const FOLLOWED: &str = "followed";

/// The longest partition key, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const KEY_BYTES: usize = 2_048;

/// The largest item, names of attributes among it.
const ITEM_BYTES: usize = 400 * 1_024;

/// What an item has beside key and followed messages, generously.
const REST_BYTES: usize = 512;

pub(super) type Item = HashMap<String, AttributeValue>;

/// An item as far as it matters.
pub(super) struct Stored {
    pub(super) payload: String,
    pub(super) claim: String,
    pub(super) followed: Option<String>,
}

impl Stored {
    /// None if somebody else wrote it.
    pub(super) fn read(item: &Item) -> Option<Self> {
        let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        Some(Stored { payload: text(PAYLOAD)?, claim: text(CLAIM)?, followed: text(FOLLOWED) })
    }
}

/// The partition key of an event: a JSON list, which no two of them share; its hash if it is too long.
pub(super) fn id(key: &InboxKey) -> String {
    let parts = [&*key.consumer, &key.source, &key.id].map(serde_json::Value::from);
    let id = serde_json::Value::from(parts.to_vec()).to_string();
    if id.len() <= KEY_BYTES { id } else { format!("sha256:{}", hex::encode(Sha256::digest(id))) }
}

/// Whether an item with this fits.
pub(super) fn check_size(id: &str, followed: &str) -> Result<(), DynamoError> {
    let limit = ITEM_BYTES - REST_BYTES - id.len();
    match followed.len() {
        bytes if bytes > limit => Err(DynamoError::TooLarge { bytes, limit }),
        _ => Ok(()),
    }
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_events_share_a_key() {
        let ids = [("a", "b", "c"), ("a", "b\",\"c", ""), ("a\",\"b", "c", ""), ("a", "bc", "")];
        let ids = ids.map(|(consumer, source, event)| id(&InboxKey::new(consumer, source, event)));
        assert_eq!(ids[0], r#"["a","b","c"]"#);
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_key_that_is_too_long_becomes_its_hash() {
        let of = |length| id(&InboxKey::new("c", "s", "e".repeat(length)));
        let room = KEY_BYTES - r#"["c","s",""]"#.len();
        assert_eq!(of(room).len(), KEY_BYTES);
        assert!(of(room + 1).starts_with("sha256:") && of(room + 1) != of(room + 2));
    }
}
