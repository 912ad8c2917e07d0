//! What stands in where a function was given no dead letters.

use fanfare_core::{BoxError, DeadLetter, DeadLetterError, DeadLetters};

/// Keeps nothing: what is put here is reported as failed.
pub(crate) struct Reported;

impl DeadLetters for Reported {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        let reason = letter.reason;
        let problem = format!(
            "{reason}; the function has none of its own and reports it as failed, so that its source gives it up at last"
        );
        Err(BoxError::from(problem).into())
    }
}
