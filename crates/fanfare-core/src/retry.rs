//! How often a delivery is tried, and when it comes again.

use std::time::Duration;

use crate::Backoff;

/// Tries of a delivery before it is given up; with the default delays some eight minutes.
const MAX_ATTEMPTS: u32 = 10;

/// When a delivery that failed comes again, and how often it is tried before it goes to the
/// dead-letter queue with its last error.
///
/// By default it comes again after one second, doubling up to 15 minutes, and is tried 10 times.
/// What counts is how often it was received: on a FIFO queue also behind an earlier one that
/// failed, so that one which waited behind it may have no more than its first try left. A queue's own
/// redrive policy counts too, and knows no reason: the queues that fanfare makes carry a message off
/// after 50 receives, so more than 50 attempts come to 50. [`HandlerError::retry_after`](crate::HandlerError::retry_after) says when for one
/// failure.
///
/// ```
/// # use std::time::Duration;
/// # use fanfare_core::Retry;
/// let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// let patient = Retry::exponential(second, hour).max_attempts(50);
/// let steady = Retry::fixed(Duration::from_secs(30)).until_redrive();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    delay: Delay,
    /// None: for ever, as far as we go.
    max_attempts: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    Fixed(Duration),
    Growing(Backoff),
}

impl Retry {
    /// Again after `delay`, always, 10 times at most. SQS allows up to 12 hours.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Retry { delay: Delay::Fixed(delay), max_attempts: Some(MAX_ATTEMPTS) }
    }

    /// Again after `first`, then after twice that and so on, never after more than `longest`, 10
    /// times at most. Each delay is cut by up to half at random, so that what failed together does
    /// not come together. SQS allows up to 12 hours.
    #[must_use]
    pub const fn exponential(first: Duration, longest: Duration) -> Self {
        let delay = Delay::Growing(Backoff::new(first, longest));
        Retry { delay, max_attempts: Some(MAX_ATTEMPTS) }
    }

    /// How often a delivery is tried, the first time included; 1 is no retry at all. On a queue of
    /// fanfare's 50 is the most, as its redrive policy ends it then.
    #[must_use]
    pub const fn max_attempts(self, attempts: u32) -> Self {
        Retry { max_attempts: Some(attempts), ..self }
    }

    /// Never given up by the consumer: the queue's own redrive policy ends it, after 50 receives where
    /// fanfare made the queue, and its dead-letter queue gets the message without a reason; on a FIFO queue those
    /// behind it too, as their receives count with it. A stream has no such policy, and there the event is
    /// tried for as long as the stream keeps it.
    #[must_use]
    pub const fn until_redrive(self) -> Self {
        Retry { max_attempts: None, ..self }
    }

    /// How long a delivery waits after its `attempt`-th try failed, counted from 1.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        match self.delay {
            Delay::Fixed(delay) => delay,
            Delay::Growing(backoff) => backoff.delay(attempt),
        }
    }

    /// Whether the `attempt`-th try was the last.
    pub(crate) fn ends_at(&self, attempt: u32) -> bool {
        self.max_attempts.is_some_and(|most| attempt >= most)
    }
}

/// One second, doubling up to 15 minutes, 10 times.
impl Default for Retry {
    fn default() -> Self {
        Retry { delay: Delay::Growing(Backoff::default()), max_attempts: Some(MAX_ATTEMPTS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_delay_is_the_same_each_time_and_a_growing_one_is_the_back_offs() {
        let (one, four) = (Duration::from_secs(1), Duration::from_secs(4));
        assert!((1..20).all(|attempt| Retry::fixed(four).delay(attempt) == four));
        let growing = Retry::exponential(one, four);
        assert!(
            growing.delay(1) <= one && growing.delay(9) >= four / 2 && growing.delay(9) <= four
        );
    }

    #[test]
    fn attempts_end_at_the_tenth_at_another_or_never() {
        let retry = Retry::fixed(Duration::ZERO);
        assert!(!retry.ends_at(9) && retry.ends_at(10) && retry.ends_at(11));
        assert!(!retry.max_attempts(3).ends_at(2) && retry.max_attempts(3).ends_at(3));
        assert!(!retry.until_redrive().ends_at(u32::MAX));
    }
}
