//! What reads the stream.

mod by_hand;
mod fanfare;
mod ruststream;

use std::sync::Arc;

use anyhow::Result;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::seen::Seen;

pub(crate) use by_hand::{BY_HAND, BY_HAND_OPENING};
pub(crate) use fanfare::FANFARE;
pub(crate) use ruststream::{RUSTSTREAM, RUSTSTREAM_BATCHES};

/// A consumer that can be run, again and again.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// How it is set up, for the reader of the table.
    pub(crate) notes: &'static str,
    /// Reads the stream from its oldest record on, notes every event, and ends when it is told to.
    pub(crate) run: fn(SdkConfig, Arc<Seen>, CancellationToken) -> BoxFuture<'static, Result<()>>,
}
