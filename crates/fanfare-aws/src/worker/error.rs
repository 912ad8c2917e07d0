//! Why a worker ends by itself.

use fanfare_core::ConsumerError;

use crate::failure::{Class, Failure};

/// Why a worker ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The consumer cannot work as it was put together; nothing was received.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The queue does not exist.
    #[error("queue `{queue}` does not exist: provision it first")]
    NoQueue {
        /// Its name on AWS.
        queue: String,
    },
    /// The credentials do not allow receiving from the queue.
    #[error("receiving from queue `{queue}` is denied: {reason}")]
    Denied {
        /// Its name on AWS.
        queue: String,
        /// What AWS said.
        reason: String,
    },
    /// AWS refuses the request itself, which trying again would not mend.
    #[error("receiving from queue `{queue}` is refused: {reason}")]
    Refused {
        /// Its name on AWS.
        queue: String,
        /// What AWS said.
        reason: String,
    },
}

impl WorkerError {
    /// What a failure means that does not pass.
    pub(super) fn of(failure: &Failure, queue: String) -> Self {
        let reason = failure.to_string();
        match failure.class {
            Class::NotFound => WorkerError::NoQueue { queue },
            Class::Denied => WorkerError::Denied { queue, reason },
            Class::Refused | Class::Transient => WorkerError::Refused { queue, reason },
        }
    }
}
