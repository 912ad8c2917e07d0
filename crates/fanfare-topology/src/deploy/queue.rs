//! How a service's queues keep their messages.

use std::time::Duration;

use super::function::{Function, seconds};

/// Seconds for which a received message is invisible, where no function asks for more: what a worker
/// expects.
const VISIBILITY: u64 = 60;

/// Receives after which SQS moves a message to the dead-letter queue. The consumer itself gives up after 10
/// attempts, and says why; this is for what kills the process. It is far above, because throttled
/// invocations and the tail of a FIFO group count as received without having been tried.
const MAX_RECEIVES: u64 = 50;

/// Seconds for which a queue keeps a message: 4 days.
const RETENTION: u64 = 345_600;

/// Seconds for which a dead-letter queue keeps one: 14 days, the most there is.
const DEAD_LETTER_RETENTION: u64 = 1_209_600;

/// What is to be different about the queues of a service. Whatever is not said follows from the function
/// that consumes them, or is as provisioning makes it.
///
/// Provisioning a system that is deployed by a template as well would set
/// [`max_receives`](QueueSettings::max_receives) back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueSettings {
    visibility: Option<Duration>,
    max_receives: Option<u32>,
    retention: Option<Duration>,
    dead_letter_retention: Option<Duration>,
}

impl QueueSettings {
    /// Nothing different.
    #[must_use]
    pub fn new() -> Self {
        QueueSettings::default()
    }

    /// For how long a received message is invisible: up to 12 hours. By default 6 times the function's
    /// time-out and its window, at least a minute.
    #[must_use]
    pub fn visibility(self, time: Duration) -> Self {
        QueueSettings { visibility: Some(time), ..self }
    }

    /// After how many receives SQS itself moves a message to the dead-letter queue, without a reason: 5 to
    /// 1,000, by default 50.
    #[must_use]
    pub fn max_receives(self, receives: u32) -> Self {
        QueueSettings { max_receives: Some(receives), ..self }
    }

    /// For how long a message is kept: a minute to 14 days, by default 4 days.
    #[must_use]
    pub fn retention(self, time: Duration) -> Self {
        QueueSettings { retention: Some(time), ..self }
    }

    /// For how long a dead letter is kept: longer than the queue keeps a message, because it brings the time
    /// of its first enqueuing along; by default 14 days, the most there is.
    #[must_use]
    pub fn dead_letter_retention(self, time: Duration) -> Self {
        QueueSettings { dead_letter_retention: Some(time), ..self }
    }

    /// With `function`, if one consumes the queues.
    pub(super) fn settled(&self, function: Option<&Function>) -> Settled {
        let least = function.map_or(0, Function::least_visibility);
        Settled {
            visibility: self.visibility.map_or(least.max(VISIBILITY), seconds),
            max_receives: self.max_receives.map_or(MAX_RECEIVES, u64::from),
            retention: self.retention.map_or(RETENTION, seconds),
            dead_letter_retention: self
                .dead_letter_retention
                .map_or(DEAD_LETTER_RETENTION, seconds),
        }
    }
}

/// A queue's settings, times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) visibility: u64,
    pub(super) max_receives: u64,
    pub(super) retention: u64,
    pub(super) dead_letter_retention: u64,
}
