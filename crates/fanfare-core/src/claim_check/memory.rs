//! A claim check in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{ClaimCheck, ClaimCheckError, Pointer};

/// A claim check in memory, for tests: one bucket, from which alone is read. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryClaimCheck {
    bucket: Arc<str>,
    payloads: Arc<Mutex<BTreeMap<String, String>>>,
}

impl MemoryClaimCheck {
    /// An empty one whose bucket has this name.
    pub fn new(bucket: impl Into<Arc<str>>) -> Self {
        MemoryClaimCheck { bucket: bucket.into(), payloads: Arc::default() }
    }

    /// The payloads that are kept, by their keys.
    #[must_use]
    pub fn payloads(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    /// Removes all payloads, as if they had expired.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimCheck for MemoryClaimCheck {
    async fn put(&self, key: &str, payload: &str) -> Result<Pointer, ClaimCheckError> {
        self.lock().insert(key.into(), payload.into());
        Ok(Pointer::new(&*self.bucket, key))
    }

    async fn get(&self, pointer: &Pointer) -> Result<String, ClaimCheckError> {
        if *pointer.bucket != *self.bucket {
            return Err(ClaimCheckError::NotAllowed { bucket: pointer.bucket.clone() });
        }
        let gone = || ClaimCheckError::Gone { pointer: pointer.clone() };
        self.lock().get(&pointer.key).cloned().ok_or_else(gone)
    }
}
