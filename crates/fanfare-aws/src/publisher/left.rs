//! A message of a call that is not done, and what its failures mean.

use fanfare_core::{Message, PublishError};
use tokio::time::Instant;

use super::{ATTEMPTS, PATIENCE};
use crate::failure::{Class, Failure};

/// A message that is not done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Left {
    /// Its place in the call's batch.
    pub(super) index: usize,
    pub(super) attempts: u32,
    first_failure: Option<Instant>,
    /// To be sent in a request of its own: the one that it was in was refused as a whole.
    pub(super) alone: bool,
}

impl Left {
    pub(super) fn new(index: usize) -> Self {
        Left { index, attempts: 0, first_failure: None, alone: false }
    }

    /// Takes a failure of a request in which the message was `alone` or not; `None`: to be sent
    /// again. `resource` is where it was sent to.
    pub(super) fn fail(
        &mut self,
        failure: Failure,
        message: &Message,
        resource: &str,
        alone: bool,
    ) -> Option<PublishError> {
        let (destination, tag) = (message.destination.clone(), message.tag.clone());
        tracing::debug!(%destination, event.id = %message.id, %failure, "not accepted");
        Some(match failure.class {
            Class::Transient => {
                self.attempts += 1;
                let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
                if self.attempts < ATTEMPTS && first_failure.elapsed() < PATIENCE {
                    return None;
                }
                let (attempts, last) = (self.attempts, failure.to_string());
                PublishError::Unavailable { destination, tag, attempts, last }
            }
            // One entry may have spoiled it for all: each gets its own verdict.
            Class::Refused if !alone => {
                self.alone = true;
                return None;
            }
            Class::Refused => PublishError::Refused { destination, tag, code: failure.code },
            Class::NotFound => PublishError::NotFound { destination, resource: resource.into() },
            Class::Denied => PublishError::Denied { destination, code: failure.code },
        })
    }
}
