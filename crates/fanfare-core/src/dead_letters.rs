//! The port for what can never be handled.

use crate::{BoxError, BoxFuture, RawDelivery, Reason};

/// Name of the message attribute that carries a dead letter's ordered group, where the dead-letter
/// queue keeps no order itself: one that is redriven from there is still of its group, for
/// [`Consumer::park_groups`](crate::Consumer::park_groups).
pub const GROUP_ATTRIBUTE: &str = "dead-letter-group";

/// A delivery that was given up, and why.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DeadLetter<'a> {
    /// The delivery, untouched.
    pub delivery: &'a RawDelivery,
    /// Why it was given up.
    pub reason: &'a Reason,
    /// The event's id, where the body could be read that far.
    pub event_id: Option<&'a str>,
}

impl<'a> DeadLetter<'a> {
    /// A dead letter of an event with this id, if it has one.
    #[must_use]
    pub fn new(delivery: &'a RawDelivery, reason: &'a Reason, event_id: Option<&'a str>) -> Self {
        DeadLetter { delivery, reason, event_id }
    }
}

/// Keeps what can never be handled, with its reason.
///
/// Contract: when `put` returns `Ok` the letter is kept for good; only then is its source
/// acknowledged. On an error the source is given back and comes again.
pub trait DeadLetters: Send + Sync {
    /// Keeps one letter.
    fn put(
        &self,
        letter: DeadLetter<'_>,
    ) -> impl Future<Output = Result<(), DeadLetterError>> + Send;
}

/// [`DeadLetters`] as an object.
pub trait DynDeadLetters: Send + Sync {
    /// [`DeadLetters::put`], boxed.
    fn put_boxed<'a>(
        &'a self,
        letter: DeadLetter<'a>,
    ) -> BoxFuture<'a, Result<(), DeadLetterError>>;
}

impl<D: DeadLetters> DynDeadLetters for D {
    fn put_boxed<'a>(
        &'a self,
        letter: DeadLetter<'a>,
    ) -> BoxFuture<'a, Result<(), DeadLetterError>> {
        Box::pin(self.put(letter))
    }
}

/// A dead letter was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the dead-letter queue did not accept it: {source}")]
pub struct DeadLetterError {
    #[from]
    source: BoxError,
}
