//! Messages that are under way together.

use std::sync::Arc;

use fanfare_core::{Destination, Message, PublishError, Publisher};
use tokio::runtime::Handle;

use super::{
    buffer::Buffer,
    lane::{Entry, Ticket},
};

/// One call of the publisher below. It lands when it is dropped, at the latest: neither a publisher that
/// panics nor a runtime that ends leaves anybody waiting.
pub(super) struct Flight<P: Publisher + 'static> {
    buffer: Arc<Buffer<P>>,
    runtime: Handle,
    destination: Destination,
    messages: Vec<Message>,
    tickets: Vec<Ticket>,
}

impl<P: Publisher + 'static> Flight<P> {
    pub(super) fn new(
        buffer: &Arc<Buffer<P>>,
        runtime: &Handle,
        destination: &Destination,
        entries: Vec<Entry>,
    ) -> Self {
        let (messages, tickets) =
            entries.into_iter().map(|entry| (entry.message, entry.ticket)).unzip();
        Flight {
            buffer: Arc::clone(buffer),
            runtime: runtime.clone(),
            destination: destination.clone(),
            messages,
            tickets,
        }
    }

    /// Sets it going in a task of its own.
    pub(super) fn depart(mut self) {
        let runtime = self.runtime.clone();
        drop(runtime.spawn(async move {
            let report = self.buffer.publisher.publish(&self.messages).await;
            self.land(report.outcomes());
        }));
    }

    /// Gives each message its outcome.
    fn land(&mut self, outcomes: &[Result<(), PublishError>]) {
        let unknown = |message: &Message| PublishError::Unavailable {
            destination: message.destination.clone(),
            tag: message.tag.clone(),
            attempts: 1,
            last: "the task that published it ended early".into(),
        };
        let messages = std::mem::take(&mut self.messages).into_iter();
        let tickets = std::mem::take(&mut self.tickets);
        let landed = messages.zip(tickets).enumerate().map(|(i, (message, ticket))| {
            let outcome = outcomes.get(i).cloned().unwrap_or_else(|| Err(unknown(&message)));
            (Entry { message, ticket }, outcome)
        });
        self.buffer.land(&self.runtime, &self.destination, landed);
    }
}

impl<P: Publisher + 'static> Drop for Flight<P> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            self.land(&[]);
        }
    }
}
