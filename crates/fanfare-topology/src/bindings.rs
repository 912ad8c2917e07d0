//! From logical names to names on AWS.

use std::collections::{BTreeMap, BTreeSet};

/// What carries a topic, and so whether order is kept.
///
/// ```
/// # use fanfare_topology::{Binding, Kind, Kinesis, Topology};
/// let shop = Topology::new("shop")
///     .topic("orders", Kinesis::on_demand().aggregated())
///     .topic("deliveries", Kind::Standard);
/// assert!(matches!(shop.bindings().binding("orders"), Binding::Kinesis(_)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// An SNS topic, fanned out to one SQS queue per consuming service.
    Sns(Kind),
    /// A Kinesis stream, which every consuming service reads from a position of its own: ordered per
    /// key, without a queue per service.
    Kinesis(Kinesis),
}

impl Default for Binding {
    fn default() -> Self {
        Binding::Sns(Kind::Standard)
    }
}

impl From<Kind> for Binding {
    fn from(kind: Kind) -> Self {
        Binding::Sns(kind)
    }
}

impl From<Kinesis> for Binding {
    fn from(stream: Kinesis) -> Self {
        Binding::Kinesis(stream)
    }
}

/// A topic's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinesis {
    shards: Option<u32>,
    aggregated: bool,
    retention_hours: u32,
}

impl Kinesis {
    /// A stream whose shards AWS adds by itself as they are needed, and bills by the hour and byte.
    #[must_use]
    pub const fn on_demand() -> Self {
        Kinesis { shards: None, aggregated: false, retention_hours: 24 }
    }

    /// A stream of so many shards, at least 1; each takes 1 MiB or 1,000 records a second, and gives
    /// twice that.
    #[must_use]
    pub const fn shards(shards: u32) -> Self {
        let shards = if shards == 0 { 1 } else { shards };
        Kinesis { shards: Some(shards), aggregated: false, retention_hours: 24 }
    }

    /// Publishers pack events that go to the same shard into one record, in the format of the Kinesis
    /// Producer Library: small events cost a fraction. Consumers that are not fanfare's have to
    /// de-aggregate.
    #[must_use]
    pub const fn aggregated(mut self) -> Self {
        self.aggregated = true;
        self
    }

    /// For how long records are kept, in hours: from 24, the default, to 8,760 (365 days).
    #[must_use]
    pub const fn retention_hours(mut self, hours: u32) -> Self {
        self.retention_hours = if hours < 24 {
            24
        } else if hours > 8_760 {
            8_760
        } else {
            hours
        };
        self
    }

    /// How many shards it has from the beginning; none: on demand.
    #[must_use]
    pub const fn shard_count(&self) -> Option<u32> {
        self.shards
    }

    /// Whether publishers aggregate.
    #[must_use]
    pub const fn is_aggregated(&self) -> bool {
        self.aggregated
    }

    /// For how many hours records are kept.
    #[must_use]
    pub const fn retention(&self) -> u32 {
        self.retention_hours
    }
}

/// Whether a queue, or a topic that feeds queues, keeps order.
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

/// The names on AWS and the bindings behind the logical names: all that a running service has to
/// know of the topology. What is not declared is on SNS, [`Kind::Standard`].
///
/// Comes from [`Topology::bindings`](crate::Topology::bindings), or is written by hand where a
/// service does not share the topology's code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    prefix: String,
    topics: BTreeMap<String, Binding>,
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
    pub fn topic(mut self, topic: impl Into<String>, binding: impl Into<Binding>) -> Self {
        self.topics.insert(topic.into(), binding.into());
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
    pub fn binding(&self, topic: &str) -> Binding {
        self.topics.get(topic).copied().unwrap_or_default()
    }

    /// What kind of queue takes tasks for `service`.
    #[must_use]
    pub fn task_kind(&self, service: &str) -> Kind {
        if self.fifo_only.contains(service) { Kind::Fifo } else { Kind::Standard }
    }

    /// The name of a topic, or of the stream that carries it: `shop-orders`, `shop-orders.fifo`.
    #[must_use]
    pub fn topic_name(&self, topic: &str) -> String {
        let suffix = match self.binding(topic) {
            Binding::Sns(kind) => kind.suffix(),
            Binding::Kinesis(_) => "",
        };
        format!("{}{topic}{suffix}", self.prefix)
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

    pub(crate) fn declared(&self) -> &BTreeMap<String, Binding> {
        &self.topics
    }
}
