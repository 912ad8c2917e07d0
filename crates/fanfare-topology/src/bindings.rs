//! From logical names to names on AWS.

use std::collections::{BTreeMap, BTreeSet};

/// What carries a topic, and so whether order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// Unordered, unlimited throughput: an SNS topic and SQS queues.
    #[default]
    Standard,
    /// Ordered per key and deduplicated for 5 minutes: a FIFO topic and FIFO queues.
    Fifo,
}

impl Kind {
    /// How names of this kind end on AWS.
    const fn suffix(self) -> &'static str {
        match self {
            Kind::Standard => "",
            Kind::Fifo => ".fifo",
        }
    }
}

/// The names on AWS and the kinds behind the logical names: all that a running service has to
/// know of the topology. What is not declared is [`Kind::Standard`].
///
/// Comes from [`Topology::bindings`](crate::Topology::bindings), or is written by hand where a
/// service does not share the topology's code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    prefix: String,
    topics: BTreeMap<String, Kind>,
    fifo_only: BTreeSet<String>,
}

impl Bindings {
    /// Names that begin with `system` and a hyphen: `shop-orders`. Several systems, or stages of
    /// one, share an account this way.
    #[must_use]
    pub fn new(system: &str) -> Self {
        Bindings { prefix: format!("{system}-"), ..Bindings::default() }
    }

    /// Declares what carries `topic`.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>, kind: Kind) -> Self {
        self.topics.insert(topic.into(), kind);
        self
    }

    /// Declares that `service` has no standard queue: tasks for it go to its FIFO queue.
    #[must_use]
    pub fn fifo_service(mut self, service: impl Into<String>) -> Self {
        self.fifo_only.insert(service.into());
        self
    }

    /// What carries `topic`.
    #[must_use]
    pub fn topic_kind(&self, topic: &str) -> Kind {
        self.topics.get(topic).copied().unwrap_or_default()
    }

    /// What kind of queue takes tasks for `service`.
    #[must_use]
    pub fn task_kind(&self, service: &str) -> Kind {
        if self.fifo_only.contains(service) { Kind::Fifo } else { Kind::Standard }
    }

    /// The name of a topic: `shop-orders`, `shop-orders.fifo`.
    #[must_use]
    pub fn topic_name(&self, topic: &str) -> String {
        format!("{}{topic}{}", self.prefix, self.topic_kind(topic).suffix())
    }

    /// The name of a service's queue: `shop-products`, `shop-products.fifo`.
    #[must_use]
    pub fn queue_name(&self, service: &str, kind: Kind) -> String {
        format!("{}{service}{}", self.prefix, kind.suffix())
    }

    /// The name of its dead-letter queue: `shop-products-dlq`, `shop-products-dlq.fifo`.
    #[must_use]
    pub fn dead_letter_queue_name(&self, service: &str, kind: Kind) -> String {
        format!("{}{service}-dlq{}", self.prefix, kind.suffix())
    }

    pub(crate) fn declared(&self) -> &BTreeMap<String, Kind> {
        &self.topics
    }
}
