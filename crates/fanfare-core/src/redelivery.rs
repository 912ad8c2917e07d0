//! The port for when what failed comes again.

use std::time::Duration;

use crate::BoxFuture;

/// A message that was not handled, and when it is to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenBack {
    /// What its queue knows this receive of it by.
    pub receipt: String,
    /// How long it stays invisible from now; zero for at once.
    pub after: Duration,
}

impl GivenBack {
    /// A message to come again after this time.
    #[must_use]
    pub fn new(receipt: impl Into<String>, after: Duration) -> Self {
        GivenBack { receipt: receipt.into(), after }
    }
}

/// Tells a queue when messages are to come again, for hosts that do not own their receives: Lambda
/// receives and deletes by itself, and knows of failed messages only that they failed.
///
/// Best effort: what is not accepted is logged, and comes again at the queue's visibility time-out.
pub trait Redelivery: Send + Sync {
    /// Gives messages of one queue back.
    fn give_back(&self, messages: Vec<GivenBack>) -> impl Future<Output = ()> + Send;
}

/// [`Redelivery`] as an object.
pub trait DynRedelivery: Send + Sync {
    /// [`Redelivery::give_back`], boxed.
    fn give_back_boxed(&self, messages: Vec<GivenBack>) -> BoxFuture<'_, ()>;
}

impl<R: Redelivery> DynRedelivery for R {
    fn give_back_boxed(&self, messages: Vec<GivenBack>) -> BoxFuture<'_, ()> {
        Box::pin(self.give_back(messages))
    }
}
