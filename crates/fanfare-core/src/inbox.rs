//! The port that makes effects happen once.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{BoxError, BoxFuture, Message};

/// What an inbox remembers an event by: who handled it, and its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// Remembers which events a consumer has handled, so that a second delivery has no second effect.
///
/// Contract:
/// - of several [`begin`](Self::begin)s for one key only one gets a [`Claim`]; the others get
///   [`Admission::InProgress`] until it is completed or given up;
/// - a claim that is dropped without [`complete`](Self::complete) is given up, at once or after
///   a time that the store documents: the next delivery handles the event;
/// - a completed key stays [`Admission::Duplicate`] for as long as the store documents; that must
///   exceed the time in which a message can come again (queue retention and redrive).
///
/// A crash between a handler's effect and `complete` runs the handler again. Where the effect is
/// in a database, record the key in the same transaction instead.
pub trait Inbox: Send + Sync {
    /// Asks to handle the event `key`.
    fn begin(&self, key: InboxKey) -> impl Future<Output = Result<Admission, InboxError>> + Send;

    /// Records that the event of `claim` has been handled, together with the events that
    /// followed: a duplicate gets them back, so that a crash before their publication loses none.
    fn complete(
        &self,
        claim: Claim,
        followed: &[Message],
    ) -> impl Future<Output = Result<(), InboxError>> + Send;
}

/// [`Inbox`] as an object.
pub trait DynInbox: Send + Sync {
    /// [`Inbox::begin`], boxed.
    fn begin_boxed(&self, key: InboxKey) -> BoxFuture<'_, Result<Admission, InboxError>>;

    /// [`Inbox::complete`], boxed.
    fn complete_boxed<'a>(
        &'a self,
        claim: Claim,
        followed: &'a [Message],
    ) -> BoxFuture<'a, Result<(), InboxError>>;
}

impl<I: Inbox> DynInbox for I {
    fn begin_boxed(&self, key: InboxKey) -> BoxFuture<'_, Result<Admission, InboxError>> {
        Box::pin(self.begin(key))
    }

    fn complete_boxed<'a>(
        &'a self,
        claim: Claim,
        followed: &'a [Message],
    ) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(self.complete(claim, followed))
    }
}

/// The answer to [`Inbox::begin`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Admission {
    /// Nobody has handled it: handle it, and complete the claim.
    New(Claim),
    /// Another delivery of it is being handled right now.
    InProgress,
    /// It has been handled; these events followed, and may not have been published yet.
    Duplicate(Vec<Message>),
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
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.guard;
        f.debug_struct("Claim").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The inbox's store failed; the delivery is tried again.
#[derive(Debug, thiserror::Error)]
#[error("the inbox failed: {source}")]
pub struct InboxError {
    #[from]
    source: BoxError,
}

/// An inbox in memory: for tests, and for effects that are in memory too. It knows the last
/// [`capacity`](Self::with_capacity) events, until the process ends. Clones share the store.
#[derive(Debug, Clone)]
pub struct MemoryInbox {
    store: Arc<Mutex<Store>>,
}

#[derive(Debug)]
struct Store {
    capacity: usize,
    entries: HashMap<InboxKey, Entry>,
    /// Completed keys, oldest first.
    completed: VecDeque<InboxKey>,
}

#[derive(Debug)]
enum Entry {
    Claimed,
    Completed(Vec<Message>),
}

impl MemoryInbox {
    /// An inbox that remembers the last `capacity` handled events.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let store = Store { capacity, entries: HashMap::new(), completed: VecDeque::new() };
        MemoryInbox { store: Arc::new(Mutex::new(store)) }
    }
}

/// The last 100,000 events.
impl Default for MemoryInbox {
    fn default() -> Self {
        MemoryInbox::with_capacity(100_000)
    }
}

impl Inbox for MemoryInbox {
    async fn begin(&self, key: InboxKey) -> Result<Admission, InboxError> {
        let mut store = lock(&self.store);
        match store.entries.get(&key) {
            Some(Entry::Claimed) => Ok(Admission::InProgress),
            Some(Entry::Completed(followed)) => Ok(Admission::Duplicate(followed.clone())),
            None => {
                store.entries.insert(key.clone(), Entry::Claimed);
                let guard = GiveUp { store: Arc::clone(&self.store), key: key.clone() };
                Ok(Admission::New(Claim::new(key, guard)))
            }
        }
    }

    async fn complete(&self, claim: Claim, followed: &[Message]) -> Result<(), InboxError> {
        let mut store = lock(&self.store);
        store.entries.insert(claim.key.clone(), Entry::Completed(followed.to_vec()));
        store.completed.push_back(claim.key.clone());
        while store.completed.len() > store.capacity {
            if let Some(oldest) = store.completed.pop_front() {
                store.entries.remove(&oldest);
            }
        }
        // The claim's guard takes the lock too.
        drop(store);
        Ok(())
    }
}

/// Removes a claim that was not completed.
struct GiveUp {
    store: Arc<Mutex<Store>>,
    key: InboxKey,
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        let mut store = lock(&self.store);
        if let Some(Entry::Claimed) = store.entries.get(&self.key) {
            store.entries.remove(&self.key);
        }
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> InboxKey {
        InboxKey::new("products", "orders", id)
    }

    async fn claim(inbox: &MemoryInbox, id: &str) -> Claim {
        match inbox.begin(key(id)).await {
            Ok(Admission::New(claim)) => claim,
            other => panic!("{id}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_second_delivery_waits_for_the_first_and_then_is_a_duplicate() {
        let inbox = MemoryInbox::default();
        let first = claim(&inbox, "1").await;
        assert!(matches!(inbox.begin(key("1")).await, Ok(Admission::InProgress)));
        inbox.complete(first, &[]).await.unwrap();
        assert!(matches!(inbox.begin(key("1")).await, Ok(Admission::Duplicate(_))));
    }

    #[tokio::test]
    async fn a_dropped_claim_lets_the_next_delivery_in() {
        let inbox = MemoryInbox::default();
        drop(claim(&inbox, "1").await);
        claim(&inbox, "1").await;
    }

    #[tokio::test]
    async fn consumers_do_not_share_what_they_have_handled() {
        let inbox = MemoryInbox::default();
        let products = claim(&inbox, "1").await;
        inbox.complete(products, &[]).await.unwrap();
        let delivery = InboxKey::new("delivery", "orders", "1");
        assert!(matches!(inbox.begin(delivery).await, Ok(Admission::New(_))));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_forgets_the_oldest_first() {
        let inbox = MemoryInbox::with_capacity(2);
        for id in ["1", "2", "3"] {
            let claim = claim(&inbox, id).await;
            inbox.complete(claim, &[]).await.unwrap();
        }
        assert!(matches!(inbox.begin(key("1")).await, Ok(Admission::New(_))));
        assert!(matches!(inbox.begin(key("3")).await, Ok(Admission::Duplicate(_))));
    }
}
