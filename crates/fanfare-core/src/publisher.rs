//! The port that events leave by.

use crate::{BoxFuture, ClaimCheckError, Destination, Message, translate::TranslateError};

/// Publishes encoded events.
///
/// Contract:
/// - one outcome per message, in the order of the batch;
/// - what failed for now is retried by the publisher, alone, a bounded number of times; a
///   message is reported failed only after that;
/// - where the destination keeps order per key, a message is sent only after all earlier ones of
///   its key in the batch were accepted: behind a failed one they are [`PublishError::Blocked`];
/// - what the destination would refuse or silently drop is refused before anything is sent;
/// - sending a message again with the same id is safe.
pub trait Publisher: Send + Sync {
    /// Publishes `batch`, of any length.
    fn publish(&self, batch: &[Message]) -> impl Future<Output = PublishReport> + Send;

    /// Whether `destination` keeps order per key, as the contract above says: several events of one
    /// key may then go into one batch. By default no destination does.
    fn keeps_order(&self, destination: &Destination) -> bool {
        let _ = destination;
        false
    }

    /// What one request to `destination` takes, for who collects messages from several callers. By
    /// default what SNS takes: 10 messages with 256 KiB, one of each key.
    fn request_limits(&self, destination: &Destination) -> RequestLimits {
        let _ = destination;
        RequestLimits::new(10, 262_144)
    }
}

/// What a destination takes in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLimits {
    /// The most messages.
    pub messages: usize,
    /// The most bytes of their bodies and attributes together.
    pub bytes: usize,
    /// Whether several messages of one key can go in it although order is kept.
    pub repeats_keys: bool,
}

impl RequestLimits {
    /// So many messages and bytes; where order is kept, one message of each key.
    #[must_use]
    pub const fn new(messages: usize, bytes: usize) -> Self {
        RequestLimits { messages, bytes, repeats_keys: false }
    }

    /// Several messages of one key may be in a request although order is kept.
    #[must_use]
    pub const fn repeating_keys(self) -> Self {
        RequestLimits { repeats_keys: true, ..self }
    }
}

/// [`Publisher`] as an object, for where bindings are chosen at run time.
pub trait DynPublisher: Send + Sync {
    /// [`Publisher::publish`], boxed.
    fn publish_boxed<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, PublishReport>;

    /// [`Publisher::keeps_order`].
    fn keeps_order_dyn(&self, destination: &Destination) -> bool;
}

impl<P: Publisher> DynPublisher for P {
    fn publish_boxed<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, PublishReport> {
        Box::pin(self.publish(batch))
    }

    fn keeps_order_dyn(&self, destination: &Destination) -> bool {
        self.keeps_order(destination)
    }
}

/// What became of a batch: one outcome per message, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a batch can fail in part: look at each outcome, or turn the report into a result"]
pub struct PublishReport {
    outcomes: Vec<Result<(), PublishError>>,
}

impl PublishReport {
    /// A report of these outcomes, one per message.
    pub fn new(outcomes: Vec<Result<(), PublishError>>) -> Self {
        PublishReport { outcomes }
    }

    /// The outcomes, in the order of the batch.
    pub fn outcomes(&self) -> &[Result<(), PublishError>] {
        &self.outcomes
    }

    /// Index and error of each message that was not published.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &PublishError)> {
        self.outcomes.iter().enumerate().filter_map(|(i, o)| o.as_ref().err().map(|e| (i, e)))
    }

    /// How many messages were accepted.
    #[must_use]
    pub fn published(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.is_ok()).count()
    }

    /// Everything or the first error, for callers to whom a partial success is a failure.
    ///
    /// # Errors
    /// The first error that is not [`PublishError::Blocked`], if any message failed.
    pub fn into_result(self) -> Result<(), PublishError> {
        let mut errors = self.outcomes.into_iter().filter_map(Result::err);
        match errors.next() {
            None => Ok(()),
            Some(first) if first == PublishError::Blocked => {
                Err(errors.find(|e| *e != PublishError::Blocked).unwrap_or(first))
            }
            Some(first) => Err(first),
        }
    }
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It is over a limit of its destination; nothing was sent.
    #[error(
        "{tag} is not sent: {what} is {actual}, over the limit of {limit} {unit}{}",
        advice(unit)
    )]
    OverLimit {
        /// The event's type tag.
        tag: String,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
        /// What both are counted in.
        unit: &'static str,
    },
    /// It holds something that its destination refuses; nothing was sent.
    #[error("{tag} is not sent: {problem}")]
    Malformed {
        /// The event's type tag.
        tag: String,
        /// What is wrong, without the value.
        problem: String,
    },
    /// Its destination cannot delay it, or not for so long; nothing was sent.
    #[error("{tag} is not sent: {problem}")]
    Undelayable {
        /// The event's type tag.
        tag: String,
        /// Why, and what to do instead.
        problem: String,
    },
    /// It cannot be said in the format of its destination; nothing was sent.
    #[error("not sent: {0}")]
    Untranslatable(#[from] TranslateError),
    /// The topic or queue does not exist.
    #[error(
        "{destination} does not exist (as {resource}): declare it in the topology and provision it"
    )]
    NotFound {
        /// Where the message was to go.
        destination: Destination,
        /// The name that the adapter computed for it.
        resource: String,
    },
    /// The credentials do not allow it.
    #[error(
        "publishing to {destination} is denied ({code}): check the credentials and their rights"
    )]
    Denied {
        /// Where the message was to go.
        destination: Destination,
        /// The service's error code.
        code: String,
    },
    /// The destination refused the message for good.
    #[error("{destination} refused {tag}: {code}")]
    Refused {
        /// Where the message was to go.
        destination: Destination,
        /// The event's type tag.
        tag: String,
        /// The service's error code.
        code: String,
    },
    /// It was not accepted in the attempts allowed; trying later may help.
    #[error("{destination} did not accept {tag} in {attempts} attempts, last: {last}")]
    Unavailable {
        /// Where the message was to go.
        destination: Destination,
        /// The event's type tag.
        tag: String,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong last.
        last: String,
    },
    /// Its payload, too large for a message, could not be stored; nothing was sent.
    #[error("{tag} is not sent, because its payload is not stored: {error}")]
    NotStored {
        /// The event's type tag.
        tag: String,
        /// Why not.
        error: ClaimCheckError,
    },
    /// It was held back, because an earlier one of its key was not published.
    #[error("held back, because an earlier event of its key was not published")]
    Blocked,
}

impl PublishError {
    /// Its class, as [telemetry](crate::telemetry) names it: one word from a closed set.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::OverLimit { .. } => "over_limit",
            Self::Malformed { .. } => "malformed",
            Self::Untranslatable(_) => "untranslatable",
            Self::Undelayable { .. } => "undelayable",
            Self::NotStored { .. } => "not_stored",
            Self::NotFound { .. } => "not_found",
            Self::Denied { .. } => "denied",
            Self::Refused { .. } => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::Blocked => "blocked",
        }
    }

    /// Whether publishing the same message later may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::OverLimit { .. } | Self::Malformed { .. } => false,
            Self::Undelayable { .. } | Self::Refused { .. } => false,
            Self::NotStored { error, .. } => error.is_retryable(),
            Self::Untranslatable(_) => false,
            // Somebody can create the topic or grant the right: the event need not change.
            Self::NotFound { .. } | Self::Denied { .. } => true,
            Self::Unavailable { .. } | Self::Blocked => true,
        }
    }
}

/// What to do about too many of `unit`.
fn advice(unit: &str) -> &'static str {
    match unit {
        "bytes" => ": give the publisher a claim check (ClaimCheckPublisher)",
        _ => "",
    }
}
