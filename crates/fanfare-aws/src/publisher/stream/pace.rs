//! How fast a shard is written to.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND};

/// What a bucket holds: a burst of one second's worth goes at once.
const BURST: Duration = Duration::from_secs(1);

/// The least share of a shard that is left after it refused again and again.
const LEAST_SHARE: f64 = 1.0 / 16.0;

/// What of a shard comes back in a second in which it does not refuse.
const RECOVERED_PER_SECOND: f64 = 0.1;

/// Refusals within this time of a cut are about what was under way when it was made.
const CUT_PAUSE: Duration = Duration::from_millis(250);

/// The rate of a shard: a token bucket for its records and one for its bytes. When the shard
/// refuses all the same, because others write to it too, the rate is halved, and grows back bit by
/// bit.
///
/// Tokens are taken in advance, in the order of asking: nobody who waits is overtaken.
#[derive(Debug)]
pub(super) struct Pace {
    records: Bucket,
    bytes: Bucket,
    cut: Option<Cut>,
}

/// A token bucket, kept as the instant at which it is full again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    at: Instant,
    share: f64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let full = Bucket { full_at: now };
        Pace { records: full, bytes: full, cut: None }
    }

    /// Takes tokens for what is to be sent, and says from when on it may be.
    pub(super) fn reserve(&mut self, now: Instant, records: usize, bytes: usize) -> Instant {
        let share = self.share(now);
        let records = seconds(records, SHARD_RECORDS_PER_SECOND, share);
        let bytes = seconds(bytes, SHARD_BYTES_PER_SECOND, share);
        self.records.take(now, records).max(self.bytes.take(now, bytes))
    }

    /// The shard refused a record for its rate.
    pub(super) fn cut(&mut self, now: Instant) {
        if self.cut.is_some_and(|cut| now < cut.at + CUT_PAUSE) {
            return;
        }
        self.cut = Some(Cut { at: now, share: (self.share(now) / 2.0).max(LEAST_SHARE) });
        for bucket in [&mut self.records, &mut self.bytes] {
            bucket.full_at = bucket.full_at.max(now + BURST);
        }
    }

    /// The share of the shard's rate that is used.
    fn share(&self, now: Instant) -> f64 {
        self.cut.map_or(1.0, |Cut { at, share }| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (share + RECOVERED_PER_SECOND * since).min(1.0)
        })
    }
}

impl Bucket {
    /// What costs more than a bucket holds goes when it is full.
    fn take(&mut self, now: Instant, cost: Duration) -> Instant {
        if cost.is_zero() {
            return now;
        }
        let full_at = self.full_at.max(now);
        self.full_at = full_at + cost;
        let wanted = cost.min(BURST);
        now.max((full_at + wanted).checked_sub(BURST).unwrap_or(now))
    }
}

/// How long a rate takes for an amount; rounded up, or else a shard that counts exactly refuses.
fn seconds(amount: usize, per_second: usize, share: f64) -> Duration {
    let nanos = amount as f64 * 1e9 / (per_second as f64 * share);
    Duration::from_nanos(nanos.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(began: Instant, at: Instant) -> f64 {
        at.duration_since(began).as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_seconds_worth_goes_at_once_and_the_rest_at_the_rate() {
        let now = Instant::now();
        for (records, bytes) in [(1_000, 0), (0, 1_048_576)] {
            let mut pace = Pace::new(now);
            assert_eq!(pace.reserve(now, records, bytes), now);
            assert_eq!(after(now, pace.reserve(now, records / 2, bytes / 2)), 0.5);
            assert_eq!(after(now, pace.reserve(now, records / 8, bytes / 8)), 0.625);
            let later = now + Duration::from_secs(60);
            assert_eq!(pace.reserve(later, records, bytes), later, "no more than a second's worth");
            assert_eq!(after(later, pace.reserve(later, records / 2, bytes / 2)), 0.5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_scarcer_of_records_and_bytes_decides() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.reserve(now, 1_000, 1_000);
        assert_eq!(after(now, pace.reserve(now, 250, 0)), 0.25);
        assert_eq!(pace.reserve(now, 0, 1_000), now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_the_rate_and_it_grows_back() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.cut(now);
        pace.cut(now + CUT_PAUSE / 2);
        assert_eq!(after(now, pace.reserve(now, 100, 0)), 0.2, "half, and the bucket is empty");
        let mut now = now;
        for _ in 0..10 {
            now += CUT_PAUSE;
            pace.cut(now);
        }
        assert!((LEAST_SHARE..0.11).contains(&pace.share(now)), "{}", pace.share(now));
        now += Duration::from_secs(5);
        assert!((0.56..0.61).contains(&pace.share(now)));
        now += Duration::from_secs(5);
        assert_eq!(pace.share(now), 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_record_goes_at_the_least_rate_too() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..20 {
            now += CUT_PAUSE;
            pace.cut(now);
        }
        assert_eq!(after(now, pace.reserve(now, 1, 1_048_576)), 1.0, "when the bucket is full");
    }
}
