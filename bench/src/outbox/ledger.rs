//! When each event was committed and when it was published.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// More events than any round records.
const CAPACITY: usize = 1 << 20;

/// Written by producers and relay at once. Times are nanoseconds since the ledger was made; 0 is
/// never.
pub(crate) struct Ledger {
    start: Instant,
    next: AtomicU64,
    committed: Box<[AtomicU64]>,
    published: Box<[AtomicU64]>,
    duplicates: AtomicU64,
}

/// What a stretch of time came to.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Events per second that were committed in it.
    pub(crate) recorded: f64,
    /// Events per second that were published in it.
    pub(crate) published: f64,
    /// From commit to publishing, of the events that were committed in it.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// How many of these were still waiting when this was computed, which counts as their latency.
    pub(crate) waiting: u64,
    /// Events that were published twice, in the ledger's whole time.
    pub(crate) duplicates: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let times = || (0..CAPACITY).map(|_| AtomicU64::new(0)).collect();
        Self {
            start: Instant::now(),
            next: AtomicU64::new(0),
            committed: times(),
            published: times(),
            duplicates: AtomicU64::new(0),
        }
    }

    /// Numbers for `count` new events.
    pub(crate) fn take(&self, count: u64) -> Range<u64> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        assert!(first + count <= CAPACITY as u64, "a round records fewer events");
        first..first + count
    }

    /// The transaction with these events has committed, as its producer knows by now.
    pub(crate) fn commit(&self, events: Range<u64>) {
        let now = self.now();
        for event in events {
            self.committed[event as usize].store(now, Ordering::Relaxed);
        }
    }

    /// The relay has handed over an event.
    pub(crate) fn publish(&self, event: u64) {
        let before = self.published[event as usize].swap(self.now(), Ordering::Relaxed);
        if before != 0 {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The time, as this ledger counts it.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// How many events were committed and not yet published.
    pub(crate) fn waiting(&self) -> u64 {
        self.times().filter(|(committed, published)| *committed != 0 && *published == 0).count()
            as u64
    }

    /// What the time `window` came to, seen from now.
    pub(crate) fn figures(&self, window: Range<u64>) -> Figures {
        let now = self.now();
        let mut latencies = Histogram::<u64>::new(3).expect("3 digits are allowed");
        let (mut recorded, mut published, mut waiting) = (0_u64, 0_u64, 0_u64);
        for (commit, publish) in self.times() {
            published += u64::from(window.contains(&publish));
            if !window.contains(&commit) {
                continue;
            }
            recorded += 1;
            waiting += u64::from(publish == 0);
            let until = if publish == 0 { now } else { publish };
            // The relay can be faster than the news of the commit.
            let microseconds = until.saturating_sub(commit) / 1_000;
            latencies.record(microseconds).expect("the histogram grows");
        }
        let seconds = Duration::from_nanos(window.end - window.start).as_secs_f64();
        let quantile = |quantile| Duration::from_micros(latencies.value_at_quantile(quantile));
        Figures {
            recorded: recorded as f64 / seconds,
            published: published as f64 / seconds,
            p50: quantile(0.5),
            p99: quantile(0.99),
            waiting,
            duplicates: self.duplicates.load(Ordering::Relaxed),
        }
    }

    fn times(&self) -> impl Iterator<Item = (u64, u64)> {
        let used = self.next.load(Ordering::Relaxed) as usize;
        let pairs = self.committed[..used].iter().zip(&self.published[..used]);
        pairs.map(|(committed, published)| {
            (committed.load(Ordering::Relaxed), published.load(Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_still_waits_counts_with_the_time_that_it_has_waited() {
        let ledger = Ledger::new();
        let window = ledger.now();
        ledger.commit(ledger.take(4));
        for event in [0, 1, 1] {
            ledger.publish(event);
        }
        let window = window..ledger.now() + 1;
        std::thread::sleep(Duration::from_millis(20));
        let figures = ledger.figures(window);
        assert_eq!((figures.waiting, ledger.waiting(), figures.duplicates), (2, 2, 1));
        assert!(
            figures.p50 < Duration::from_millis(20) && figures.p99 >= Duration::from_millis(20)
        );
        assert!((figures.recorded / figures.published - 2.0).abs() < 1e-9);
    }
}
