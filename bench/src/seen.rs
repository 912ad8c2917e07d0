//! Which events have been handled.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

/// A bit for each event that is expected.
pub(crate) struct Seen {
    events: u64,
    bits: Vec<AtomicU64>,
    count: AtomicU64,
    twice: AtomicU64,
    first: OnceLock<Instant>,
    all: Notify,
}

impl Seen {
    /// Of events from 0 on.
    pub(crate) fn new(events: u64) -> Self {
        let words = events.div_ceil(64);
        Self {
            events,
            bits: (0..words).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            twice: AtomicU64::new(0),
            first: OnceLock::new(),
            all: Notify::new(),
        }
    }

    /// An event was handled.
    pub(crate) fn note(&self, event: u64) {
        let bit = 1 << (event % 64);
        if self.bits[(event / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            self.twice.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.count.fetch_add(1, Ordering::Relaxed) + 1 {
            1 => drop(self.first.set(Instant::now())),
            count if count == self.events => self.all.notify_one(),
            _ => {}
        }
    }

    /// Resolves when each has been handled.
    pub(crate) async fn all(&self) {
        self.all.notified().await;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How often one came again.
    pub(crate) fn twice(&self) -> u64 {
        self.twice.load(Ordering::Relaxed)
    }

    /// When the first was handled.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_counts_once() {
        let seen = Seen::new(65);
        for event in [64, 64, 3] {
            seen.note(event);
        }
        assert_eq!((seen.count(), seen.twice()), (2, 1));
        (0..65).for_each(|event| seen.note(event));
        seen.all().await;
        assert_eq!((seen.count(), seen.twice()), (65, 3));
    }
}
