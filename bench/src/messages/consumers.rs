//! What reads the queue.

mod by_hand;
mod fanfare;
mod omniqueue;
mod ruststream;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::seen::Seen;

pub(crate) use by_hand::{BATCHES, INFORMED, ONES};
pub(crate) use fanfare::FANFARE;

pub(crate) const ALL: &[Entry] = &[
    ONES,
    BATCHES,
    INFORMED,
    omniqueue::OMNIQUEUE,
    ruststream::RUSTSTREAM,
    ruststream::BATCHES,
    FANFARE,
];

/// Events that a consumer may handle at a time.
pub(crate) const AT_ONCE: usize = 40;

/// Tasks of those that receive ten messages each.
const TASKS: usize = 4;

/// What a consumer finds.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) config: SdkConfig,
    pub(crate) queue_url: String,
    pub(crate) stop: CancellationToken,
    pub(crate) handler: Handler,
}

/// What everyone does with an event.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) seen: Arc<Seen>,
    pub(crate) takes: Duration,
}

impl Handler {
    pub(crate) async fn handle(&self, order: &Placed) {
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        self.seen.note(order.event);
    }
}

/// What others than fanfare want to know of an envelope.
#[derive(Deserialize)]
pub(crate) struct Envelope {
    r#type: String,
    data: Placed,
}

/// A consumer that can be run.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// How it is set up, for the reader of the table.
    pub(crate) notes: &'static str,
    /// Handles and deletes all that is in the queue, and ends when it is told to.
    pub(crate) run: fn(Work) -> BoxFuture<'static, Result<()>>,
}
