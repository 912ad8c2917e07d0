//! The port that makes effects happen once: in the handler's own transaction.

use std::sync::Arc;

use crate::{BoxError, BoxFuture, ConnectionType, Loan, Message, RawDelivery};

/// What an event is remembered by: who handled it, and its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct InboxKey {
    /// Name of the consumer.
    pub consumer: Arc<str>,
    /// The event's source.
    pub source: String,
    /// The event's id.
    pub id: String,
}

impl InboxKey {
    /// The key of event `source`/`id` for `consumer`.
    pub fn new(
        consumer: impl Into<Arc<str>>,
        source: impl Into<String>,
        id: impl Into<String>,
    ) -> Self {
        InboxKey { consumer: consumer.into(), source: source.into(), id: id.into() }
    }
}

/// Remembers which events a consumer has handled, in the very transaction of the handler's effect:
/// either both are there, or neither is. For handlers registered with
/// [`Router::on_tx`](crate::Router::on_tx).
///
/// It is an object, because a consumer holds whichever its database has.
pub trait Inbox: Send + Sync {
    /// The connection that its units of work lend to handlers.
    fn connection_type(&self) -> ConnectionType;

    /// Whether its units of work record the events that follow in an outbox. Then nobody else
    /// publishes them, and the consumer needs no publisher for them.
    fn records_events(&self) -> bool;

    /// Begins a unit of work.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn UnitOfWork>, InboxError>>;
}

/// One transaction, for one delivery or for several, handled one after another. Dropping it rolls
/// everything back.
///
/// It is used thus: [`admit`](Self::admit) once; then, for each delivery that is new and in their
/// order, [`lend`](Self::lend), the handler, and [`keep`](Self::keep) if that succeeded or
/// [`undo`](Self::undo) if it did not; last [`commit`](Self::commit), if there is something to keep.
pub trait UnitOfWork: Send {
    /// Remembers that these events are being handled, and tells for each, in their order, whether
    /// it is new. No key comes twice.
    ///
    /// Where another transaction has remembered one and is under way, this waits until that ends:
    /// if it commits the event is a duplicate, else it is new. Keys are taken in one order whoever
    /// asks, so that two units cannot wait for each other.
    fn admit<'a>(
        &'a mut self,
        keys: &'a [InboxKey],
    ) -> BoxFuture<'a, Result<Vec<Admitted>, InboxError>>;

    /// The connection for the next handler. What happens through it can be undone by itself if
    /// `undoable`; else only the whole unit can be dropped, which saves the savepoint where a
    /// delivery is alone. The handler's end gives the connection back, however it ends.
    fn lend(&mut self, undoable: bool) -> BoxFuture<'_, Result<Loan, InboxError>>;

    /// The handler succeeded: what it did stays. An error says that the handler left the
    /// transaction unusable; what it did can still be undone.
    fn keep(&mut self) -> BoxFuture<'_, Result<(), InboxError>>;

    /// The handler failed, or was dropped: takes back what it did since [`lend`](Self::lend).
    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>>;

    /// Commits. `handled` are the deliveries that had their effect in it, in order. `followed` has
    /// the events that follow from them, in order: they are recorded in the outbox, or else stored
    /// with their keys, to be given to duplicates. The keys `withdrawn` were admitted as new and are
    /// not to be remembered.
    fn commit<'a>(
        self: Box<Self>,
        handled: &'a [&'a RawDelivery],
        followed: &'a [Followed<'a>],
        withdrawn: &'a [&'a InboxKey],
    ) -> BoxFuture<'a, Result<(), InboxError>>;
}

/// What a unit of work says of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Nobody has handled it.
    New,
    /// It has been handled; these events followed, and may not have been published yet. None
    /// where they were recorded in an outbox.
    Duplicate(Vec<Message>),
}

/// The events that follow from one that was handled.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Followed<'a> {
    /// What was handled.
    pub key: &'a InboxKey,
    /// What follows, at least one.
    pub messages: &'a [Message],
}

impl<'a> Followed<'a> {
    /// What follows from `key`.
    #[must_use]
    pub fn new(key: &'a InboxKey, messages: &'a [Message]) -> Self {
        Followed { key, messages }
    }
}

/// A unit of work failed; nothing of it is there, and its deliveries are tried again.
#[derive(Debug, thiserror::Error)]
#[error("the inbox failed: {source}")]
pub struct InboxError {
    source: BoxError,
    retryable: bool,
}

impl InboxError {
    /// A failure that passes by itself: the database could not be reached, a lock was in the way.
    pub fn retryable(source: impl Into<BoxError>) -> Self {
        InboxError { source: source.into(), retryable: true }
    }

    /// A failure that the same unit of work would meet again: a constraint is violated, a table is
    /// missing.
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        InboxError { source: source.into(), retryable: false }
    }

    /// Whether the same unit of work may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}
