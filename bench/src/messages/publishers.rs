//! What publishes events to the topic.

mod by_hand;
mod fanfare;
mod ruststream;

use std::sync::Arc;

use ::fanfare::Message;
use anyhow::Result;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;

pub(crate) use by_hand::{BATCHES, ONES};
pub(crate) use fanfare::DIRECT;

pub(crate) const ALL: &[Entry] =
    &[ONES, ruststream::RUSTSTREAM, BATCHES, DIRECT, fanfare::BUFFERED];

/// Publishes events to the topic, which is there.
pub(crate) trait Publishes: Send + Sync {
    /// Returns when all of them are accepted.
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>>;
}

/// A publisher, and how it is called: so that at most 40 events are in requests at a time.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// How it is set up, for the reader of the table.
    pub(crate) notes: &'static str,
    /// Tasks that call it, each as soon as its last call has returned.
    pub(crate) callers: usize,
    /// Events that it is given by a call.
    pub(crate) call: usize,
    pub(crate) set_up: fn(SdkConfig) -> BoxFuture<'static, Result<Arc<dyn Publishes>>>,
}
