//! What has to exist on AWS.

use serde_json::json;

use crate::{Kind, Kinesis};

/// Everything that a topology needs, in the order in which it can be created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The topics on SNS, by name.
    pub topics: Vec<PlannedTopic>,
    /// The topics on Kinesis, by name.
    pub streams: Vec<PlannedStream>,
    /// The queues with their dead-letter queues, by name.
    pub queues: Vec<PlannedQueue>,
    /// The dead-letter queues of services that read streams and have no standard queue, by name.
    pub dead_letter_queues: Vec<PlannedDeadLetterQueue>,
    /// Who gets what from the topics.
    pub subscriptions: Vec<PlannedSubscription>,
    /// Who reads which stream. Nothing has to exist on AWS for that: a reader's position is in its
    /// leases, which are where the service keeps its state.
    pub readers: Vec<PlannedReader>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedTopic {
    /// Its logical name.
    pub topic: String,
    /// Its name on AWS.
    pub name: String,
    /// Standard or FIFO.
    pub kind: Kind,
}

/// A topic's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedStream {
    /// The topic's logical name.
    pub topic: String,
    /// Its name on AWS.
    pub name: String,
    /// Its shards, and its retention.
    pub settings: Kinesis,
}

/// A dead-letter queue without a queue before it: what a service cannot handle of the streams that it
/// reads goes there. It is a standard queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedDeadLetterQueue {
    /// The service.
    pub service: String,
    /// Its name on AWS.
    pub name: String,
}

/// A service that reads a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedReader {
    /// The service.
    pub service: String,
    /// The stream's name on AWS.
    pub stream_name: String,
}

/// A service's queue of one kind, and the dead-letter queue behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedQueue {
    /// The service that consumes it.
    pub service: String,
    /// Its name on AWS.
    pub name: String,
    /// Its dead-letter queue's name on AWS.
    pub dead_letter_name: String,
    /// Standard or FIFO; the dead-letter queue is of the same.
    pub kind: Kind,
}

/// A queue's subscription to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedSubscription {
    /// The topic's name on AWS.
    pub topic_name: String,
    /// The queue's name on AWS.
    pub queue_name: String,
    /// Tags without their versions that the service handles, sorted: `shop.orders.OrderPlaced.v`.
    pub families: Vec<String>,
}

impl PlannedSubscription {
    /// The SNS filter policy, on message attributes. It matches tags without their version: a new
    /// version reaches the consumers of the old one, whose router has a policy for it.
    #[must_use]
    pub fn filter_policy(&self) -> String {
        let prefixes: Vec<_> =
            self.families.iter().map(|family| json!({ "prefix": family })).collect();
        json!({ fanfare_core::TYPE_ATTRIBUTE: prefixes }).to_string()
    }
}
