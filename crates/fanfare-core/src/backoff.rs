//! Delays that grow.

use std::time::Duration;

/// Exponential back-off with jitter: attempt `n` waits between half and all of `base * 2^(n-1)`,
/// never more than `max`. The jitter keeps many workers that failed together from returning
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    /// Delays from `base` up to `max`.
    #[must_use]
    pub const fn new(base: Duration, max: Duration) -> Self {
        Backoff { base, max }
    }

    /// The delay after the `attempt`-th try failed, counted from 1.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
        let full = self.base.saturating_mul(doubled).min(self.max);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// One second, doubling up to 15 minutes.
impl Default for Backoff {
    fn default() -> Self {
        Backoff::new(Duration::from_secs(1), Duration::from_secs(900))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_within_their_jitter_and_stop_at_the_maximum() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for (attempt, full) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            let full = Duration::from_secs(full);
            let delay = backoff.delay(attempt);
            assert!(full / 2 <= delay && delay <= full, "attempt {attempt}: {delay:?} of {full:?}");
        }
    }
}
