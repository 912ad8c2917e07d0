//! An idempotency store in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Admission, Claim, IdempotencyError, IdempotencyStore, PayloadHash};
use crate::{InboxKey, Message};

/// How long a claim lasts that nobody drops.
const CLAIM: Duration = Duration::from_secs(5 * 60);

/// How long a handled event is remembered: what a queue keeps at most, and a day.
const RETENTION: Duration = Duration::from_secs(15 * 24 * 60 * 60);

/// A store in memory: for tests, and for effects that are in memory too. It knows the last
/// [`capacity`](Self::with_capacity) events for 15 days, until the process ends. A claim lasts 5
/// minutes, and ends at once when it is dropped. Clones share the store.
#[derive(Debug, Clone)]
pub struct MemoryIdempotencyStore {
    store: Arc<Mutex<Store>>,
    claim: Duration,
    retention: Duration,
}

#[derive(Debug)]
struct Store {
    capacity: usize,
    entries: HashMap<InboxKey, Entry>,
    /// Completed keys and until when they are remembered, oldest first.
    completed: VecDeque<(InboxKey, Instant)>,
    claims: u64,
}

#[derive(Debug)]
struct Entry {
    payload: PayloadHash,
    state: State,
}

#[derive(Debug)]
enum State {
    Claimed { number: u64, until: Instant },
    Completed(Vec<Message>),
}

impl MemoryIdempotencyStore {
    /// A store that remembers the last `capacity` handled events.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let (entries, completed) = (HashMap::new(), VecDeque::new());
        let store = Store { capacity, entries, completed, claims: 0 };
        MemoryIdempotencyStore {
            store: Arc::new(Mutex::new(store)),
            claim: CLAIM,
            retention: RETENTION,
        }
    }

    /// How long a claim lasts, 5 minutes by default: longer than any handler takes.
    #[must_use]
    pub fn claims_last(self, time: Duration) -> Self {
        MemoryIdempotencyStore { claim: time, ..self }
    }

    /// How long a handled event is remembered, 15 days by default.
    #[must_use]
    pub fn retention(self, time: Duration) -> Self {
        MemoryIdempotencyStore { retention: time, ..self }
    }
}

/// The last 100,000 events.
impl Default for MemoryIdempotencyStore {
    fn default() -> Self {
        MemoryIdempotencyStore::with_capacity(100_000)
    }
}

impl IdempotencyStore for MemoryIdempotencyStore {
    async fn begin(
        &self,
        key: InboxKey,
        payload: PayloadHash,
    ) -> Result<Admission, IdempotencyError> {
        let now = Instant::now();
        let mut store = lock(&self.store);
        store.forget(now);
        match store.entries.get(&key) {
            Some(Entry { state: State::Claimed { until, .. }, .. }) if *until <= now => {}
            Some(entry) if entry.payload != payload => return Ok(Admission::OtherPayload),
            Some(Entry { state: State::Claimed { .. }, .. }) => return Ok(Admission::InProgress),
            Some(Entry { state: State::Completed(followed), .. }) => {
                return Ok(Admission::Duplicate(followed.clone()));
            }
            None => {}
        }
        store.claims += 1;
        let number = store.claims;
        let state = State::Claimed { number, until: now + self.claim };
        store.entries.insert(key.clone(), Entry { payload, state });
        let guard = GiveUp { store: Arc::clone(&self.store), key: key.clone(), number };
        Ok(Admission::New(Claim::new(key, guard)))
    }

    async fn complete(
        &self,
        mut claim: Claim,
        followed: &[Message],
    ) -> Result<(), IdempotencyError> {
        let claimed = claim.guard::<GiveUp>().map(|guard| guard.number);
        let now = Instant::now();
        let mut store = lock(&self.store);
        let entry = store.entries.get_mut(claim.key());
        let Some(entry) = entry.filter(|entry| entry.is_claim(claimed, now)) else {
            // The claim's guard takes the lock too.
            drop(store);
            return Err(IdempotencyError::ClaimExpired);
        };
        entry.state = State::Completed(followed.to_vec());
        store.completed.push_back((claim.key().clone(), now + self.retention));
        store.forget(now);
        drop(store);
        Ok(())
    }
}

impl Entry {
    /// Whether this is the claim of that number, and still lasts.
    fn is_claim(&self, claimed: Option<u64>, now: Instant) -> bool {
        match self.state {
            State::Claimed { number, until } => Some(number) == claimed && now < until,
            State::Completed(_) => false,
        }
    }
}

impl Store {
    /// Forgets completed keys that are too many or too old.
    fn forget(&mut self, now: Instant) {
        while let Some((_, until)) = self.completed.front()
            && (self.completed.len() > self.capacity || *until <= now)
            && let Some((oldest, _)) = self.completed.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

/// Removes a claim that was not completed.
struct GiveUp {
    store: Arc<Mutex<Store>>,
    key: InboxKey,
    number: u64,
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        let mut store = lock(&self.store);
        if let Some(Entry { state: State::Claimed { number, .. }, .. }) =
            store.entries.get(&self.key)
            && *number == self.number
        {
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

    #[tokio::test]
    async fn memory_is_bounded_and_forgets_the_oldest_first() {
        let store = MemoryIdempotencyStore::with_capacity(2);
        let key = |id: &str| InboxKey::new("products", "orders", id);
        let payload = PayloadHash::of("{}");
        for id in ["1", "2", "3"] {
            let Ok(Admission::New(claim)) = store.begin(key(id), payload).await else {
                panic!("{id} is not new");
            };
            store.complete(claim, &[]).await.unwrap();
        }
        assert!(matches!(store.begin(key("1"), payload).await, Ok(Admission::New(_))));
        assert!(matches!(store.begin(key("3"), payload).await, Ok(Admission::Duplicate(_))));
    }
}
