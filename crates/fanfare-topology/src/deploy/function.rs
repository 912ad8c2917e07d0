//! A function of AWS Lambda, and how it is fed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A function: its code, what it takes to run, and how events are brought to it.
///
/// Times are whole seconds on AWS: a fraction counts as one more. What AWS does not accept is refused by
/// [`Deployment::lint`](super::Deployment::lint), with the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub(super) code: String,
    pub(super) timeout: Duration,
    pub(super) memory: u32,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) database: bool,
    pub(super) idempotency_table: bool,
    pub(super) drains_outbox: bool,
    pub(super) publishes: BTreeSet<String>,
    pub(super) sends_tasks_to: BTreeSet<String>,
    pub(super) batch_size: u32,
    pub(super) batching_window: Duration,
    pub(super) max_concurrency: u32,
    pub(super) stream_batch_size: u32,
    pub(super) parallelization_factor: u32,
    pub(super) max_retries: u32,
    pub(super) max_record_age: Option<Duration>,
    pub(super) bisect: bool,
}

impl Function {
    /// A function whose code is called `code`: a zip file or folder with a `bootstrap` in it.
    #[must_use]
    pub fn new(code: impl Into<String>) -> Self {
        Function {
            code: code.into(),
            timeout: Duration::from_secs(30),
            memory: 256,
            environment: BTreeMap::new(),
            database: false,
            idempotency_table: false,
            drains_outbox: false,
            publishes: BTreeSet::new(),
            sends_tasks_to: BTreeSet::new(),
            batch_size: 10,
            batching_window: Duration::ZERO,
            max_concurrency: 10,
            stream_batch_size: 100,
            parallelization_factor: 1,
            max_retries: 20,
            max_record_age: None,
            bisect: true,
        }
    }

    /// How long one invocation may take: 1 s to 15 minutes, by default 30 s. A queue's visibility
    /// time-out follows from it.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Function { timeout, ..self }
    }

    /// Memory in MB, and with it the share of a processor: 128 to 10,240, by default 256.
    #[must_use]
    pub fn memory(self, megabytes: u32) -> Self {
        Function { memory: megabytes, ..self }
    }

    /// An environment variable; all of them together may have 4 KB.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// It gets the template's parameter `DatabaseUrl` as `DATABASE_URL`.
    #[must_use]
    pub fn database(self) -> Self {
        Function { database: true, ..self }
    }

    /// It remembers in the system's DynamoDB table which events were handled. The table is made if at
    /// least one function asks for it.
    #[must_use]
    pub fn idempotency_table(self) -> Self {
        Function { idempotency_table: true, ..self }
    }

    /// It publishes the outbox of its service itself, after each batch: so it may do what the service's relay
    /// may, and does not invoke it. The relay, by its schedule, publishes what was left.
    #[must_use]
    pub fn drains_outbox(self) -> Self {
        Function { drains_outbox: true, ..self }
    }

    /// It may publish to `topic`, beside what its service's handlers return: for a relay whose outbox is
    /// written to outside of handlers too.
    #[must_use]
    pub fn publishes(mut self, topic: impl Into<String>) -> Self {
        self.publishes.insert(topic.into());
        self
    }

    /// It may send tasks to `service`. Handlers do not say to whom they send tasks.
    #[must_use]
    pub fn sends_tasks_to(mut self, service: impl Into<String>) -> Self {
        self.sends_tasks_to.insert(service.into());
        self
    }

    /// Messages of a queue in one invocation: 1 to 10,000, by default 10. More than 10 need a
    /// [window](Function::batching_window) and a standard queue.
    #[must_use]
    pub fn batch_size(self, messages: u32) -> Self {
        Function { batch_size: messages, ..self }
    }

    /// For how long a batch is gathered if it is not full: up to 5 minutes, by default not at all. FIFO
    /// queues have none.
    #[must_use]
    pub fn batching_window(self, window: Duration) -> Self {
        Function { batching_window: window, ..self }
    }

    /// Invocations at once for each of its queues: 2 to 1,000, by default 10. Without it, a queue would
    /// start as many as the account has, and what they throttle counts as received.
    #[must_use]
    pub fn max_concurrency(self, invocations: u32) -> Self {
        Function { max_concurrency: invocations, ..self }
    }

    /// Records of a stream in one invocation: 1 to 10,000, by default 100.
    #[must_use]
    pub fn stream_batch_size(self, records: u32) -> Self {
        Function { stream_batch_size: records, ..self }
    }

    /// Invocations at once for each shard: 1, the default, to 10. Order per key is kept.
    #[must_use]
    pub fn parallelization_factor(self, invocations: u32) -> Self {
        Function { parallelization_factor: invocations, ..self }
    }

    /// How often a batch of a stream is tried again before it goes to the dead-letter queue, as a range of
    /// sequence numbers: 0 to 10,000, by default 20. Its shard waits meanwhile. There is no "for ever".
    #[must_use]
    pub fn max_retries(self, retries: u32) -> Self {
        Function { max_retries: retries, ..self }
    }

    /// How old a record of a stream may be to be tried: 1 minute to 7 days, and less than the stream keeps
    /// it. By default half of that, which leaves the other half to fetch it from the stream by its sequence
    /// number.
    #[must_use]
    pub fn max_record_age(self, age: Duration) -> Self {
        Function { max_record_age: Some(age), ..self }
    }

    /// Whether a batch of a stream that failed as a whole is tried again in halves, so that what is wrong
    /// stands alone in the end; by default it is.
    #[must_use]
    pub fn bisect(self, halves: bool) -> Self {
        Function { bisect: halves, ..self }
    }

    /// Seconds that a queue before it must keep a message invisible, at least.
    pub(super) fn least_visibility(&self) -> u64 {
        super::limits::VISIBILITY_TIMEOUTS * seconds(self.timeout) + seconds(self.batching_window)
    }
}

/// Whole seconds; a fraction counts as one more.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
