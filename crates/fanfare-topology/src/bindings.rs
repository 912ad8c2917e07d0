//! From logical names to names on AWS.

use std::collections::{BTreeMap, BTreeSet};

/// What carries a topic, and so whether order is kept. Domain code is the same on all of them.
///
/// | | order | a service that listens has | good for |
/// |---|---|---|---|
/// | [`Kind::Standard`] | none | a queue | few events, or any number of them now and then |
/// | [`Kind::Fifo`] | per key | a FIFO queue | order, at up to some thousand events a second |
/// | [`Kinesis`] | per key | a position in the stream, and a dead-letter queue | order and history, many events, many services |
///
/// A system may have all three: a service has a queue for the topics on SNS, reads the streams of the
/// others, and handles both with one router.
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
///
/// Every service that listens reads all of it, and skips what it does not handle: no filter, no queue,
/// nothing more to create for one more service. What a service cannot handle goes to its standard
/// dead-letter queue, which all its streams, and its standard queue if it has one, share.
///
/// # Tasks
/// A task ([`Task`](fanfare_core::Task)) is sent to one service's queue, and a service that handles only
/// what is on streams has none: sending it one ends in
/// [`PublishError::NotFound`](fanfare_core::PublishError::NotFound). Who the receiver is, is known at run
/// time only, so a topology cannot refuse it. Bind the topic of the tasks' event type to SNS: who
/// handles it has a queue then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinesis {
    shards: Option<u32>,
    aggregated: bool,
    retention_hours: u32,
}

impl Kinesis {
    /// A stream whose shards AWS adds by itself as they are needed, billed per hour and byte. A new one
    /// takes 4 MiB or 4,000 records a second.
    #[must_use]
    pub const fn on_demand() -> Self {
        Kinesis { shards: None, aggregated: false, retention_hours: 24 }
    }

    /// A stream of so many shards, at least 1, billed per shard and hour, and per record. Each takes
    /// 1 MiB or 1,000 records a second, and gives 2 MiB a second to all readers together.
    ///
    /// It is created with so many; later this number changes nothing: whoever operates the stream
    /// splits and merges its shards.
    /// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
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

    /// For how long records are kept, in hours: from 24, the default, to 8,760 (365 days); what is
    /// outside is taken as the nearer of the two. A service that is away for longer loses events. Hours
    /// beyond 24 are billed.
    /// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html>
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

/// Whose events a queue is to treat alike: one tenant's backlog does not hold up the others.
///
/// SQS hands out the messages of tenants that have few of them in flight before those of one that has
/// many. Each message carries its tenant as `MessageGroupId`, which a standard topic passes on to the
/// standard queues behind it. It promises no order. On FIFO the group is the event's key, for order,
/// and streams have none: fair is what is standard.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html>
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tenant {
    /// The event's key.
    Key,
    /// The value of this field, which the event type declares as one to filter by
    /// (`#[event(…, filter(customer))]`). An event without it has no tenant.
    Field(String),
}

impl Tenant {
    /// The value of a field that the event type declares as one to filter by.
    pub fn field(name: impl Into<String>) -> Self {
        Tenant::Field(name.into())
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
    fair_topics: BTreeMap<String, Tenant>,
    fair_tasks: BTreeMap<String, Tenant>,
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

    /// Makes the queues behind `topic`, a [`Kind::Standard`] one, fair between the tenants of its
    /// events.
    #[must_use]
    pub fn fair_topic(mut self, topic: impl Into<String>, tenant: Tenant) -> Self {
        self.fair_topics.insert(topic.into(), tenant);
        self
    }

    /// Makes the standard queue of `service` fair between the tenants of the tasks that are sent to
    /// it.
    #[must_use]
    pub fn fair_tasks(mut self, service: impl Into<String>, tenant: Tenant) -> Self {
        self.fair_tasks.insert(service.into(), tenant);
        self
    }

    /// What the tenant of a topic's events is; none unless it is fair.
    #[must_use]
    pub fn topic_tenant(&self, topic: &str) -> Option<&Tenant> {
        self.fair_topics.get(topic)
    }

    /// What the tenant of a service's tasks is; none unless they are fair.
    #[must_use]
    pub fn task_tenant(&self, service: &str) -> Option<&Tenant> {
        self.fair_tasks.get(service)
    }

    /// What carries `topic`.
    #[must_use]
    pub fn binding(&self, topic: &str) -> Binding {
        self.topics.get(topic).copied().unwrap_or_default()
    }

    /// What kind of queue takes tasks for `service`. Whether it has one is not known here
    /// ([`Kinesis`](Kinesis#tasks)).
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

    /// The name of its dead-letter queue: `shop-products-dlq`, `shop-products-dlq.fifo`. What it cannot
    /// handle of streams goes to the standard one.
    #[must_use]
    pub fn dead_letter_queue_name(&self, service: &str, kind: Kind) -> String {
        format!("{}{service}-dlq{}", self.prefix, kind.suffix())
    }

    /// The name of the function that runs a service's handlers: `shop-products`.
    #[must_use]
    pub fn function_name(&self, service: &str) -> String {
        format!("{}{service}", self.prefix)
    }

    /// The name of the function that publishes a service's outbox: `shop-orders-relay`.
    #[must_use]
    pub fn relay_function_name(&self, service: &str) -> String {
        format!("{}{service}-relay", self.prefix)
    }

    /// The name of the function that makes the tables of all services: `shop-migrations`.
    #[must_use]
    pub fn migrations_function_name(&self) -> String {
        format!("{}migrations", self.prefix)
    }

    /// The name of the DynamoDB table that remembers which messages were handled:
    /// `shop-idempotency`.
    #[must_use]
    pub fn idempotency_table_name(&self) -> String {
        format!("{}idempotency", self.prefix)
    }

    /// The name of the S3 bucket that keeps payloads which are too large for a message, in this account
    /// and Region, as names of buckets are the world's: `shop-payloads-123456789012-eu-central-1`.
    #[must_use]
    pub fn payloads_bucket_name(&self, account: &str, region: &str) -> String {
        format!("{}payloads-{account}-{region}", self.prefix)
    }

    /// What begins all names, without the hyphen.
    pub(crate) fn system(&self) -> &str {
        self.prefix.strip_suffix('-').unwrap_or(&self.prefix)
    }

    /// The topics and the services whose queues are to be fair.
    pub(crate) fn fair(&self) -> (impl Iterator<Item = &String>, impl Iterator<Item = &String>) {
        (self.fair_topics.keys(), self.fair_tasks.keys())
    }

    pub(crate) fn declared(&self) -> &BTreeMap<String, Binding> {
        &self.topics
    }
}
