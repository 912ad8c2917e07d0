//! What tests may look at beside the services' own answers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::engine::content::{Attribute, AttributeValue};
use crate::kinesis::{self, Stream};
use crate::sqs::Queue;

/// How many messages a queue holds, exactly, now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Can be received (on FIFO queues: in their group's turn).
    pub visible: usize,
    /// Received, neither deleted nor visible again.
    pub in_flight: usize,
    /// Wait out their delay.
    pub delayed: usize,
}

impl QueueStats {
    /// All messages of the queue.
    pub fn total(&self) -> usize {
        self.visible + self.in_flight + self.delayed
    }

    pub(crate) fn of(queue: &Queue) -> Self {
        Self {
            visible: queue.visible_count(),
            in_flight: queue.in_flight_count(),
            delayed: queue.delayed_count(),
        }
    }
}

/// A message in a queue, visible or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The id that SQS gave it.
    pub message_id: String,
    /// The body.
    pub body: String,
    /// The message attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// The message group, if it has one.
    pub group_id: Option<String>,
    /// The deduplication id, on FIFO queues.
    pub deduplication_id: Option<String>,
    /// How often it was received, across all queues that it was in.
    pub receive_count: u32,
    /// The ARN of the queue whose redrive policy moved it here.
    pub dead_letter_source: Option<String>,
}

impl StoredMessage {
    /// The value of a `String` or `Number` attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match &self.attributes.get(name)?.value {
            AttributeValue::String(text) => Some(text),
            AttributeValue::Binary(_) => None,
        }
    }

    pub(crate) fn all_of(queue: &Queue) -> Vec<Self> {
        let describe = |message: &crate::sqs::Message| Self {
            message_id: message.id.clone(),
            body: message.content.body.clone(),
            attributes: message.content.attributes.clone(),
            group_id: message.group.as_deref().map(str::to_owned),
            deduplication_id: message.dedup.clone(),
            receive_count: message.receives,
            dead_letter_source: message.dead_letter_source.clone(),
        };
        queue.messages().into_iter().map(describe).collect()
    }
}

/// A record in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The shard that it is in.
    pub shard_id: String,
    /// Its sequence number. In a shard they grow, and a child's are greater than its parents'; as
    /// texts of equal length they compare like numbers.
    pub sequence_number: String,
    /// Its partition key.
    pub partition_key: String,
    /// Its data.
    pub data: Bytes,
    /// When it arrived, to the millisecond.
    pub arrival: SystemTime,
}

impl StoredRecord {
    pub(crate) fn all_of(stream: &Stream) -> Vec<Self> {
        let describe = |record: &kinesis::Record| Self {
            shard_id: kinesis::shard_id(record.sequence.shard),
            sequence_number: record.sequence.to_string(),
            partition_key: record.partition_key.to_string(),
            data: record.data.clone(),
            arrival: SystemTime::UNIX_EPOCH + Duration::from_millis(record.arrival),
        };
        stream
            .shards
            .values()
            .flat_map(|shard| shard.records_from(0))
            .map(|record| describe(record))
            .collect()
    }
}
