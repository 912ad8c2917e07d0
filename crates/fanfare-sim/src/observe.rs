//! What tests may look at beside the services' own answers.

use std::collections::BTreeMap;

use crate::engine::content::{Attribute, AttributeValue};
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
