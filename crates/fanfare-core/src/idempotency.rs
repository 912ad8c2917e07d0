//! The port that lets effects outside a database happen once, nearly.

use std::{any::Any, fmt};

use sha2::{Digest, Sha256};

use crate::{BoxError, BoxFuture, InboxKey, Message};

mod memory;

pub use memory::MemoryIdempotencyStore;

/// Remembers which events a consumer has handled, for handlers whose effect is not in an SQL
/// database: a call of another service, a file, a document store.
///
/// It is weaker than an [`Inbox`](crate::Inbox), which commits with the effect itself: a crash
/// between a handler's effect and [`complete`](Self::complete) runs the handler again, and so does
/// a handler that takes longer than its claim lasts. Make such effects idempotent where you can,
/// by handing on the event's id, and use [`Router::on_tx`](crate::Router::on_tx) where the effect
/// is in a database.
///
/// Contract:
/// - of several [`begin`](Self::begin)s for one key only one gets a [`Claim`]; the others get
///   [`Admission::InProgress`] until it is completed or given up;
/// - a claim that is dropped without `complete` is given up, as soon as the store can; a claim of
///   a process that died frees itself after a time that the store documents, longer than any
///   handler takes;
/// - completing a claim that has freed itself is an error: another may have the event by now;
/// - a completed key stays [`Admission::Duplicate`] for as long as the store documents; that must
///   exceed the time in which a message can come again (queue retention and redrive);
/// - a key that is in progress or completed with another [`PayloadHash`] is
///   [`Admission::OtherPayload`].
pub trait IdempotencyStore: Send + Sync {
    /// Asks to handle the event `key`, whose data has this hash.
    fn begin(
        &self,
        key: InboxKey,
        payload: PayloadHash,
    ) -> impl Future<Output = Result<Admission, IdempotencyError>> + Send;

    /// Records that the event of `claim` has been handled, together with the events that
    /// followed: a duplicate gets them back, so that a crash before their publication loses none.
    fn complete(
        &self,
        claim: Claim,
        followed: &[Message],
    ) -> impl Future<Output = Result<(), IdempotencyError>> + Send;
}

/// [`IdempotencyStore`] as an object.
pub trait DynIdempotencyStore: Send + Sync {
    /// [`IdempotencyStore::begin`], boxed.
    fn begin_boxed(
        &self,
        key: InboxKey,
        payload: PayloadHash,
    ) -> BoxFuture<'_, Result<Admission, IdempotencyError>>;

    /// [`IdempotencyStore::complete`], boxed.
    fn complete_boxed<'a>(
        &'a self,
        claim: Claim,
        followed: &'a [Message],
    ) -> BoxFuture<'a, Result<(), IdempotencyError>>;
}

impl<I: IdempotencyStore> DynIdempotencyStore for I {
    fn begin_boxed(
        &self,
        key: InboxKey,
        payload: PayloadHash,
    ) -> BoxFuture<'_, Result<Admission, IdempotencyError>> {
        Box::pin(self.begin(key, payload))
    }

    fn complete_boxed<'a>(
        &'a self,
        claim: Claim,
        followed: &'a [Message],
    ) -> BoxFuture<'a, Result<(), IdempotencyError>> {
        Box::pin(self.complete(claim, followed))
    }
}

/// SHA-256 of an event's data, byte for byte: two events with one source and id are told apart by
/// it. The envelope is left out, because a handler that is run again seals its events anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadHash([u8; 32]);

impl PayloadHash {
    /// The hash of `data`, JSON text as it came.
    #[must_use]
    pub fn of(data: &str) -> Self {
        PayloadHash(Sha256::digest(data).into())
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadHash({self})")
    }
}

/// The answer to [`IdempotencyStore::begin`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Admission {
    /// Nobody has handled it: handle it, and complete the claim.
    New(Claim),
    /// Another delivery of it is being handled right now.
    InProgress,
    /// It has been handled; these events followed, and may not have been published yet.
    Duplicate(Vec<Message>),
    /// An event with its source and id, but with other data, has been handled or is just being.
    OtherPayload,
}

/// The right to handle one event. Dropping it gives it up.
pub struct Claim {
    key: InboxKey,
    guard: Box<dyn Any + Send>,
}

impl Claim {
    /// A claim on `key`; `guard` is whatever the store wants dropped with it.
    pub fn new(key: InboxKey, guard: impl Any + Send) -> Self {
        Claim { key, guard: Box::new(guard) }
    }

    /// What is claimed.
    #[must_use]
    pub fn key(&self) -> &InboxKey {
        &self.key
    }

    /// What the store gave to [`new`](Self::new), if it was a `G`: a store knows its claims by it.
    #[must_use]
    pub fn guard<G: Any>(&mut self) -> Option<&mut G> {
        self.guard.downcast_mut()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The store failed, or a claim came too late; the delivery is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The store failed.
    #[error("the idempotency store failed: {0}")]
    Store(#[from] BoxError),
    /// The handler took longer than its claim lasts, and another delivery may be handled by now.
    #[error(
        "handled, but not within the time that a claim lasts: let claims last longer than handlers take"
    )]
    ClaimExpired,
}
