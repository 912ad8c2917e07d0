//! A message as a queue keeps it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::content::Content;

/// Identifies a stored message within the engine; a later arrival has a greater key.
pub(crate) type Key = u64;

/// A stored message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) content: Arc<Content>,
    pub(crate) trace_header: Option<String>,
    /// Who sent it: an account, or the SNS service's own id.
    pub(crate) sender: String,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) dedup: Option<String>,
    pub(crate) sequence: Option<String>,
    /// When it was enqueued; on standard queues the move to a dead-letter queue keeps this.
    pub(crate) sent: Instant,
    pub(crate) first_received: Option<Instant>,
    pub(crate) last_received: Option<Instant>,
    /// Receives across all queues, as `ApproximateReceiveCount` reports them.
    pub(crate) receives: u32,
    /// Receives in this queue, as the redrive policy counts them.
    pub(crate) receives_here: u32,
    /// ARN of the queue whose redrive policy moved it here.
    pub(crate) dead_letter_source: Option<String>,
    pub(crate) state: State,
    /// The number in the newest receipt handle.
    pub(crate) receipt: u64,
}

/// The one place where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits out its delay.
    Delayed(Instant),
    /// Can be received (on a FIFO queue: when its group's turn comes).
    Visible,
    /// Received; visible again at this instant.
    InFlight(Instant),
}

/// A receipt handle taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The queue's serial, so that another queue's handles are told apart.
    pub(crate) queue: u64,
    pub(crate) key: Key,
    pub(crate) receipt: u64,
}

impl Receipt {
    /// The opaque text that callers get.
    pub(crate) fn encode(self) -> String {
        let fields = [self.queue, self.key, self.receipt];
        let mut bytes: Vec<u8> = fields.into_iter().flat_map(u64::to_be_bytes).collect();
        bytes.extend(self.seal().to_be_bytes());
        aws_smithy_types::base64::encode(bytes)
    }

    /// `None` if the text is no handle of this simulator.
    pub(crate) fn decode(handle: &str) -> Option<Self> {
        let bytes = aws_smithy_types::base64::decode(handle).ok()?;
        let mut fields = bytes.chunks_exact(8);
        let mut next = || fields.next()?.try_into().ok().map(u64::from_be_bytes);
        let receipt = Self { queue: next()?, key: next()?, receipt: next()? };
        (next()? == receipt.seal() && bytes.len() == 32).then_some(receipt)
    }

    /// Spots handles that were made up or damaged; no secret.
    fn seal(self) -> u64 {
        [self.queue, self.key, self.receipt].into_iter().fold(0xFA17_FA4E, |seal: u64, field| {
            (seal ^ field).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        })
    }
}
