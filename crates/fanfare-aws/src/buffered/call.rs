//! One call of a caller, and the outcomes that it waits for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfare_core::{Destination, Message, PublishError};
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Call {
    state: Mutex<State>,
    done: Notify,
}

#[derive(Debug)]
struct State {
    outcomes: Vec<Result<(), PublishError>>,
    /// How many of them are not known yet.
    unknown: usize,
    /// Where order is kept: the keys of which a message failed.
    failed: Vec<(Destination, String)>,
}

impl Call {
    /// A call with so many messages, at least one.
    pub(super) fn new(messages: usize) -> Self {
        let outcomes = vec![Err(PublishError::Blocked); messages];
        let state = State { outcomes, unknown: messages, failed: Vec::new() };
        Call { state: Mutex::new(state), done: Notify::new() }
    }

    pub(super) fn settle(&self, index: usize, outcome: Result<(), PublishError>) {
        let mut state = self.state();
        state.outcomes[index] = outcome;
        state.unknown -= 1;
        if state.unknown == 0 {
            self.done.notify_one();
        }
    }

    /// What follows `message` in this call, of its key and to its destination, is not to be sent.
    pub(super) fn fail(&self, message: &Message) {
        self.state().failed.push((message.destination.clone(), message.key.clone()));
    }

    /// Whether an earlier message of this one's key failed.
    pub(super) fn blocks(&self, message: &Message) -> bool {
        let of_it = |(destination, key): &(Destination, String)| {
            *key == message.key && *destination == message.destination
        };
        self.state().failed.iter().any(of_it)
    }

    /// The outcomes, once all are known.
    pub(super) async fn outcomes(&self) -> Vec<Result<(), PublishError>> {
        self.done.notified().await;
        std::mem::take(&mut self.state().outcomes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
