//! Why an invocation fails as a whole.

use fanfare_core::ConsumerError;
use lambda_runtime::Diagnostic;

/// An invocation that failed as a whole. Its name and text are what Lambda shows as error type and
/// message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvocationError {
    /// The consumer cannot work as it was put together; [`run`](crate::run) finds that before the
    /// first event.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The event comes from something that is not understood here.
    #[error(
        "the event is from {from}, and this function takes {taken}: map it to one of those, or write a function for it with `task`"
    )]
    UnknownSource {
        /// What it says it comes from.
        from: String,
        /// The sources that the function takes.
        taken: &'static str,
    },
    /// A record lacks what a failure would be reported by.
    #[error(
        "record {record} of the event has no `{field}`, so that its failure could not be reported: nothing of the event was begun"
    )]
    NoIdentifier {
        /// Its place in the event.
        record: usize,
        /// The field that is missing.
        field: &'static str,
    },
    /// Something was not handled, and its source takes no report of parts.
    #[error(
        "{failed} of {total} messages of a topic were not handled: Lambda invokes the function again, and its on-failure destination gets them at last"
    )]
    NotHandled {
        /// How many were not.
        failed: usize,
        /// How many came.
        total: usize,
    },
}

/// Its error type is the variant's name.
impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::Consumer(_) => "Consumer",
            InvocationError::UnknownSource { .. } => "UnknownSource",
            InvocationError::NoIdentifier { .. } => "NoIdentifier",
            InvocationError::NotHandled { .. } => "NotHandled",
        };
        Diagnostic { error_type: error_type.into(), error_message: error.to_string() }
    }
}
