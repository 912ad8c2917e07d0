//! The five minutes in which a FIFO queue or topic swallows a message that it has seen.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::limits::DEDUPLICATION_WINDOW;

/// Remembers what a deduplication id was answered with.
#[derive(Debug, Clone)]
pub(crate) struct DedupWindow<V> {
    answers: HashMap<String, V>,
    /// In order of acceptance, hence of expiry.
    expiries: VecDeque<(Instant, String)>,
}

// Not derived: that would ask for `V: Default`.
impl<V> Default for DedupWindow<V> {
    fn default() -> Self {
        Self { answers: HashMap::new(), expiries: VecDeque::new() }
    }
}

impl<V: Clone> DedupWindow<V> {
    /// The answer that the first message with this id got, if that was within the window.
    pub(crate) fn answer(&mut self, now: Instant, id: &str) -> Option<V> {
        while self.expiries.front().is_some_and(|(expiry, _)| *expiry <= now) {
            if let Some((_, id)) = self.expiries.pop_front() {
                self.answers.remove(&id);
            }
        }
        self.answers.get(id).cloned()
    }

    pub(crate) fn remember(&mut self, now: Instant, id: String, answer: V) {
        self.expiries.push_back((now + DEDUPLICATION_WINDOW, id.clone()));
        self.answers.insert(id, answer);
    }
}
