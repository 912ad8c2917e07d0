//! What became of all deliveries, counted as it happens.

use std::time::Duration;

use anyhow::bail;
use fanfare::Outcome;
use tokio::{sync::watch, time::timeout};

/// Counts of outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub delivered: usize,
    pub handled: usize,
    pub duplicates: usize,
    pub retried: usize,
    pub rejected: usize,
}

/// Counts that can be waited for.
#[derive(Clone)]
pub struct Tally(watch::Sender<Counts>);

impl Default for Tally {
    fn default() -> Self {
        Tally(watch::Sender::new(Counts::default()))
    }
}

impl Tally {
    pub fn count(&self, outcome: &Outcome) {
        self.0.send_modify(|counts| {
            counts.delivered += 1;
            match outcome {
                Outcome::Handled { .. } => counts.handled += 1,
                Outcome::Duplicate => counts.duplicates += 1,
                Outcome::DeadLettered(_) => counts.rejected += 1,
                Outcome::Failed { .. } => counts.retried += 1,
                _ => {}
            }
        });
    }

    pub fn counts(&self) -> Counts {
        *self.0.borrow()
    }

    /// Waits until the counts are as `done` wants them; fails after a minute.
    pub async fn until(&self, what: &str, done: impl FnMut(&Counts) -> bool) -> anyhow::Result<()> {
        let mut receiver = self.0.subscribe();
        let waited = timeout(Duration::from_secs(60), receiver.wait_for(done)).await;
        match waited {
            Ok(_) => Ok(()),
            Err(_) => bail!("{what}: not after a minute, with {:?}", self.counts()),
        }
    }
}
