//! What became of all deliveries, counted as it happens.

use std::time::Duration;

use anyhow::bail;
use fanfare::{Outcome, RawDelivery};
use tokio::{sync::watch, time::timeout};

use crate::journeys::Journeys;

/// Counts of outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub delivered: usize,
    /// Had their effect.
    pub handled: usize,
    /// Had their effect before.
    pub duplicates: usize,
    /// Failed, and come again.
    pub retried: usize,
    /// Went to a dead-letter queue.
    pub rejected: usize,
    /// Not begun: behind one that failed, or because the service was stopping.
    pub held_back: usize,
    /// Of no interest to the service: a stream brings everything.
    pub passed_over: usize,
}

/// Counts that can be waited for, and the order in which things were handled.
#[derive(Clone)]
pub struct Tally {
    counts: watch::Sender<Counts>,
    pub(crate) journeys: Journeys,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { counts: watch::Sender::new(Counts::default()), journeys: Journeys::default() }
    }
}

impl Tally {
    /// Counts a delivery to `service`.
    pub fn note(&self, service: &str, delivery: &RawDelivery, outcome: &Outcome) {
        self.journeys.note(service, delivery, outcome);
        self.counts.send_modify(|counts| {
            counts.delivered += 1;
            match outcome {
                Outcome::Handled { .. } => counts.handled += 1,
                Outcome::Duplicate => counts.duplicates += 1,
                Outcome::DeadLettered(_) => counts.rejected += 1,
                Outcome::Failed { .. } => counts.retried += 1,
                Outcome::Ignored(_) => counts.passed_over += 1,
                Outcome::Blocked { .. } | Outcome::Released => counts.held_back += 1,
                _ => {}
            }
        });
    }

    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as `done` wants them; fails after a minute.
    pub async fn until(&self, what: &str, done: impl FnMut(&Counts) -> bool) -> anyhow::Result<()> {
        let mut receiver = self.counts.subscribe();
        let waited = timeout(Duration::from_secs(60), receiver.wait_for(done)).await;
        match waited {
            Ok(_) => Ok(()),
            Err(_) => bail!("{what}: not after a minute, with {:?}", self.counts()),
        }
    }
}
