//! How fast a shard may be used: token buckets that hold what one second allows, and refill evenly.
//!
//! AWS says "per second" and no more. A bucket lets a burst of one second's worth through at once
//! and after that no more than the rate.

use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// One token bucket, kept as the instant at which it would be full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    full_at: Instant,
}

impl Pace {
    /// A full one.
    pub(crate) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether what costs that much of a second is allowed now.
    pub(crate) fn allows(&self, now: Instant, cost: Duration) -> bool {
        self.full_at.max(now) + cost <= now + SECOND
    }

    /// Takes what was allowed.
    pub(crate) fn take(&mut self, now: Instant, cost: Duration) {
        self.full_at = self.full_at.max(now) + cost;
    }

    /// Takes it if it is allowed.
    pub(crate) fn try_take(&mut self, now: Instant, cost: Duration) -> bool {
        let allowed = self.allows(now, cost);
        if allowed {
            self.take(now, cost);
        }
        allowed
    }
}

/// The share of a second that `amount` takes at `per_second`.
pub(crate) fn share(amount: usize, per_second: u64) -> Duration {
    let nanos = amount as u128 * SECOND.as_nanos() / u128::from(per_second);
    Duration::from_nanos(nanos as u64)
}
