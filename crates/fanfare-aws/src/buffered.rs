//! Filling requests across concurrent callers.
//!
//! Each destination has a [`Lane`](lane::Lane) of messages that wait. What is to leave together leaves as
//! a [`Flight`](flight::Flight), one call of the publisher below, in a task of its own. Three things set
//! messages going: one that fills a request, a flight that lands, and the task that tends a lane
//! in which something waits for less than a full request.

mod buffer;
mod call;
mod flight;
mod lane;
mod room;

use std::{sync::Arc, time::Duration};

use fanfare_core::{Destination, Message, PublishReport, Publisher, RequestLimits};

use buffer::Buffer;
use call::Call;

/// How long a message waits for others, unless told otherwise.
const LINGER: Duration = Duration::from_millis(5);

/// Messages in the buffer, unless told otherwise.
const MESSAGES: usize = 1_000;

/// Bytes in the buffer, unless told otherwise.
const BYTES: usize = 8 << 20;

/// Publishes what several callers have at the same time in common requests: a thousand callers that
/// publish one event each cost a hundred requests of ten, where each by itself would cost a thousand.
///
/// For services that publish single events from many tasks. Who has many events at once needs none: one
/// call of [`Emitter::emit_all`](fanfare_core::Emitter::emit_all) fills its requests itself. Each call
/// waits for the outcomes of its own messages, which are those of the publisher below.
///
/// ```no_run
/// # use fanfare_aws::{Aws, AwsPublisher, BufferedPublisher};
/// # use fanfare_topology::Bindings;
/// # fn example(aws: Aws, bindings: Bindings) {
/// use fanfare_core::Emitter;
///
/// let publisher = BufferedPublisher::new(AwsPublisher::new(aws, bindings));
/// let orders = Emitter::new("orders", publisher);
/// # }
/// ```
///
/// - *When messages leave.* By destination: as soon as they fill a request (10 messages, 500 on a
///   stream, or its bytes); at once where no request is under way, which a caller who publishes by
///   himself does not wait for; else when the first has waited for the [linger](Self::linger). While
///   requests are under way the next ones fill by themselves. At most 16 are under way at once, to one
///   destination.
/// - *Bounds.* At most 1,000 messages with 8 MiB are in the buffer, those under way among them
///   ([`capacity`](Self::capacity)). Who publishes more waits for room. Calls go in one after another,
///   in the order in which they were made: behind one that waits for room, others wait too.
/// - *Order.* Where a destination keeps order, messages of one key leave in the order in which they came
///   in, one request after another: none overtakes one that is tried again. A message that fails
///   blocks what follows it in the same call, as everywhere; it does not block other calls'.
/// - *Outcomes.* What is tried again is so by the publisher below, and the other messages of its
///   request get their outcomes with it.
/// - *Dropping* a call does not take back what is in the buffer: those messages are sent, and what is
///   not in yet is not. When the last clone is dropped, what is in the buffer is still sent, while the
///   runtime lives: see [`flush`](Self::flush).
///
/// Clones share the buffer. It needs a tokio runtime.
pub struct BufferedPublisher<P> {
    buffer: Arc<Buffer<P>>,
}

impl<P: Publisher + 'static> BufferedPublisher<P> {
    /// A buffer in front of `publisher`.
    #[must_use]
    pub fn new(publisher: P) -> Self {
        Self::with(Arc::new(publisher), LINGER, MESSAGES, BYTES)
    }

    /// How long a message waits for others while requests are under way; by default 5 ms. With zero it
    /// waits for nothing but a place among the requests.
    ///
    /// Begins a buffer of its own: clones made before keep theirs.
    #[must_use]
    pub fn linger(self, linger: Duration) -> Self {
        let Buffer { publisher, room, .. } = &*self.buffer;
        Self::with(Arc::clone(publisher), linger, room.messages(), room.bytes())
    }

    /// How many messages, and bytes of their bodies, attributes and keys, may be in the buffer; by
    /// default 1,000 and 8 MiB. A message that is larger than the buffer has it to itself.
    ///
    /// Begins a buffer of its own: clones made before keep theirs.
    #[must_use]
    pub fn capacity(self, messages: usize, bytes: usize) -> Self {
        let Buffer { publisher, linger, .. } = &*self.buffer;
        Self::with(Arc::clone(publisher), *linger, messages, bytes)
    }

    fn with(publisher: Arc<P>, linger: Duration, messages: usize, bytes: usize) -> Self {
        BufferedPublisher { buffer: Arc::new(Buffer::new(publisher, linger, messages, bytes)) }
    }

    /// Sends at once what is in the buffer, and waits until all of it has its outcome. Who publishes
    /// meanwhile waits until then. For the end of a process whose publishing tasks were dropped: whoever
    /// awaited his calls has nothing in the buffer.
    pub async fn flush(&self) {
        self.buffer.flush().await;
    }
}

impl<P: Publisher + 'static> Publisher for BufferedPublisher<P> {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        if batch.is_empty() {
            return PublishReport::new(Vec::new());
        }
        let call = Arc::new(Call::new(batch.len()));
        self.buffer.put(batch, &call).await;
        PublishReport::new(call.outcomes().await)
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        self.buffer.publisher.keeps_order(destination)
    }

    fn request_limits(&self, destination: &Destination) -> RequestLimits {
        self.buffer.publisher.request_limits(destination)
    }
}

impl<P> Clone for BufferedPublisher<P> {
    fn clone(&self) -> Self {
        BufferedPublisher { buffer: Arc::clone(&self.buffer) }
    }
}

impl<P> std::fmt::Debug for BufferedPublisher<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferedPublisher").finish_non_exhaustive()
    }
}
