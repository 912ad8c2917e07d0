//! What puts events into the stream.

mod by_hand;
mod fanfare;
mod ruststream;

use std::sync::Arc;

use ::fanfare::Message;
use anyhow::Result;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;

pub(crate) use by_hand::{PUT_RECORD, PUT_RECORDS};
pub(crate) use fanfare::{AGGREGATED, FANFARE};
pub(crate) use ruststream::RUSTSTREAM;

/// Puts events into the stream, which is there.
pub(crate) trait Producer: Send + Sync {
    /// Returns when all of them are accepted.
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>>;
}

/// A producer that can be set up, again and again.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// How it is set up, for the reader of the table.
    pub(crate) notes: &'static str,
    /// For a stream of so many shards.
    pub(crate) set_up: fn(SdkConfig, u32) -> BoxFuture<'static, Result<Arc<dyn Producer>>>,
}
