//! How often records of streams have been tried: Lambda does not say.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use fanfare_core::Outcome;

/// So many failing records are remembered at most: those of one batch.
const MOST: usize = 10_000;

/// Failures by message id, for as long as the process lives. Another process begins anew, so this is how
/// often a record was tried at least.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failures: Mutex<HashMap<String, u32>>,
}

impl Attempts {
    /// The how-manieth attempt comes now.
    pub(crate) fn next(&self, message_id: &str) -> u32 {
        self.with(|failures| failures.get(message_id).copied().unwrap_or(0).saturating_add(1))
    }

    /// Notes what came of one. What was not begun was no attempt.
    pub(crate) fn settle(&self, message_id: &str, outcome: &Outcome) {
        self.with(|failures| match outcome {
            Outcome::Failed { .. } => {
                if let Some(count) = failures.get_mut(message_id) {
                    *count = count.saturating_add(1);
                } else if failures.len() < MOST {
                    failures.insert(message_id.into(), 1);
                }
            }
            Outcome::Blocked { .. } | Outcome::Released => {}
            _ => {
                failures.remove(message_id);
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, u32>) -> T) -> T {
        look(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
