//! What a handler fails with.

use std::{fmt, time::Duration};

use crate::BoxError;

/// Why a handler did not do its work, and what to do with the delivery. `?` on any error means:
/// try again later.
///
/// ```
/// # use std::time::Duration;
/// # use fanfare_core::HandlerError;
/// fn reserve(stock: &str) -> Result<u32, HandlerError> {
///     let left: u32 = stock.parse()?;                                   // try again, later and later
///     if left == 0 {
///         return Err(HandlerError::reject("sold out"));                 // to the dead-letter queue
///     }
///     if left == 1 {
///         return Err(HandlerError::retry_after(Duration::from_secs(60), "being counted"));
///     }
///     Ok(left)
/// }
/// ```
pub struct HandlerError {
    pub(crate) verdict: Verdict,
    pub(crate) source: BoxError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry(Option<Duration>),
    Reject,
}

impl HandlerError {
    /// Try again later, until the attempts are used up: when and how often says the handler's
    /// [`Retry`](crate::Retry), by default after a delay that grows with each attempt, 10 times.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        HandlerError { verdict: Verdict::Retry(None), source: error.into() }
    }

    /// Try again after `delay`; SQS allows up to 12 hours.
    pub fn retry_after(delay: Duration, error: impl Into<BoxError>) -> Self {
        HandlerError { verdict: Verdict::Retry(Some(delay)), source: error.into() }
    }

    /// Never try again: to the dead-letter queue with it, unless
    /// [`Router::rejected`](crate::Router::rejected) says otherwise. The error's text becomes the
    /// reason that is stored there, so keep payloads out of it.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        HandlerError { verdict: Verdict::Reject, source: error.into() }
    }

    /// Whether it asks for another try.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.verdict != Verdict::Reject
    }
}

// HandlerError is no `Error` itself, so that `?` can take every error there is.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        HandlerError::retry(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.verdict, self.source)
    }
}

/// What a handler fails with that panicked.
#[derive(Debug, thiserror::Error)]
#[error("its handler panicked")]
struct Panicked;

/// A [`HandlerError`] on its way through layers, which want errors that are `Error`.
#[derive(Debug)]
struct Travelling(HandlerError);

impl fmt::Display for Travelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Travelling {}

impl From<HandlerError> for BoxError {
    fn from(error: HandlerError) -> Self {
        Box::new(Travelling(error))
    }
}

impl HandlerError {
    pub(crate) fn panicked() -> Self {
        HandlerError::retry(Panicked)
    }

    /// What telemetry calls it.
    pub(crate) fn error_type(&self) -> &'static str {
        if self.source.is::<Panicked>() { "panic" } else { "handler" }
    }

    /// What a layer answered: the handler's own error if it passed it on, else the layer's, which
    /// is a retry (a time-out, say).
    pub(crate) fn from_layer(error: BoxError) -> Self {
        match error.downcast::<Travelling>() {
            Ok(travelling) => travelling.0,
            Err(error) => HandlerError::retry(error),
        }
    }
}
