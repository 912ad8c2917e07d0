//! What the buffer has room for.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Messages and bytes that are free.
#[derive(Debug)]
pub(super) struct Room {
    messages: Semaphore,
    bytes: Semaphore,
    /// Of both together.
    capacity: (u32, u32),
}

/// What a message takes of the room.
pub(super) struct Taken<'a> {
    message: SemaphorePermit<'a>,
    bytes: SemaphorePermit<'a>,
}

impl Room {
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        let limit = |wanted: usize| u32::try_from(wanted.max(1)).unwrap_or(u32::MAX);
        let capacity = (limit(messages), limit(bytes));
        Room {
            messages: Semaphore::new(capacity.0 as usize),
            bytes: Semaphore::new(capacity.1 as usize),
            capacity,
        }
    }

    pub(super) fn messages(&self) -> usize {
        self.capacity.0 as usize
    }

    pub(super) fn bytes(&self) -> usize {
        self.capacity.1 as usize
    }

    /// Waits until there is room for a message of so many bytes; all of it for one that is larger.
    pub(super) async fn take(&self, bytes: usize) -> Option<Taken<'_>> {
        let message = take(&self.messages, 1).await?;
        Some(Taken { message, bytes: take(&self.bytes, self.cut(bytes)).await? })
    }

    /// Gives back what so many messages of so many bytes, each [cut](Self::cut), took.
    pub(super) fn give(&self, messages: usize, bytes: usize) {
        self.messages.add_permits(messages);
        self.bytes.add_permits(bytes);
    }

    /// The room that a message of so many bytes takes.
    pub(super) fn cut(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity.1)
    }

    /// Waits until all who asked before have had room and given it back.
    pub(super) async fn all(&self) {
        drop(self.messages.acquire_many(self.capacity.0).await);
    }
}

impl Taken<'_> {
    /// It is not given back by itself any more.
    pub(super) fn keep(self) {
        self.message.forget();
        self.bytes.forget();
    }
}

/// Without waiting where there are enough; those that others wait for are never to be had that way.
async fn take(permits: &Semaphore, count: u32) -> Option<SemaphorePermit<'_>> {
    match permits.try_acquire_many(count) {
        Ok(taken) => Some(taken),
        Err(_) => permits.acquire_many(count).await.ok(),
    }
}
