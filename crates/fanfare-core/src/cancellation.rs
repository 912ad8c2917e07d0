//! How a handler is told that its work no longer counts.

use tokio_util::sync::CancellationToken;

/// Tells the handler of a delivery that the lease on it is lost: another may be handling it already,
/// and whatever this handler answers is not settled.
///
/// It is not told of a worker that stops: what runs may finish within its time to drain, and is dropped then.
///
/// A handler that works for long, or outside of what a transaction undoes, looks at it now and then, or
/// waits for it beside its work. Clones share one state, and what was cancelled stays so.
///
/// ```
/// # use std::time::Duration;
/// # use fanfare_core::{Delivery, EventType, HandlerError};
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.books.ReportWanted.v1", topic = "books")]
/// # struct ReportWanted { pages: u32 }
/// # async fn print(page: u32) {}
/// async fn report(wanted: Delivery<ReportWanted>) -> Result<(), HandlerError> {
///     for page in 0..wanted.event.pages {
///         if wanted.cancellation.is_cancelled() {
///             return Err(HandlerError::retry("another has it"));
///         }
///         print(page).await;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancellation(CancellationToken);

impl Cancellation {
    /// Tells everybody who has a clone; a host does this, and again is nothing more.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it is cancelled; never if nobody does that.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}
