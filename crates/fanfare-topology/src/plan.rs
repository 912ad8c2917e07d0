//! What has to exist on AWS.

use serde_json::json;

use crate::Kind;

/// Everything that a topology needs, in the order in which it can be created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The topics, by name.
    pub topics: Vec<PlannedTopic>,
    /// The queues with their dead-letter queues, by name.
    pub queues: Vec<PlannedQueue>,
    /// Who gets what.
    pub subscriptions: Vec<PlannedSubscription>,
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
