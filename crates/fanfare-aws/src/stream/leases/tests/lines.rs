//! The way from a worker to the store, with everything that can happen on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{
    BoxFuture, Lease, LeaseError, LeaseGroup, LeaseStore, MemoryLeaseStore, NewLease, Renewal,
    Renewed,
};
use fastrand::Rng;
use tokio::{sync::watch, time::sleep};

/// The store as one worker reaches it. Clones share the line.
#[derive(Clone)]
pub(super) struct Line {
    store: MemoryLeaseStore,
    state: Arc<watch::Sender<State>>,
    rng: Arc<Mutex<Rng>>,
    calls: Arc<Mutex<HashMap<&'static str, usize>>>,
}

/// What a line is like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// What is sent arrives when this is over, whether or not somebody still waits for the answer,
    /// and in any order.
    pub(super) hangs: bool,
    /// Nothing is sent at all.
    pub(super) fails: bool,
    /// At most so long until a call has its effect.
    pub(super) before: Duration,
    /// At most so long until the answer is there.
    pub(super) after: Duration,
    /// How many answers in a hundred are lost.
    pub(super) lost: u32,
}

impl Line {
    pub(super) fn new(store: &MemoryLeaseStore) -> Line {
        Line {
            store: store.clone(),
            state: Arc::default(),
            rng: Arc::new(Mutex::new(Rng::new())),
            calls: Arc::default(),
        }
    }

    pub(super) fn be(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// How many calls of that name were made.
    pub(super) fn calls(&self, name: &str) -> usize {
        self.calls.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// Up to that long; always that long where it is in whole seconds, which is what tests name.
    async fn take_time(&self, most: Duration) {
        if !most.is_zero() {
            let share = self.rng.lock().unwrap().f64();
            let is_exact = most.subsec_nanos() == 0;
            sleep(if is_exact { most } else { most.mul_f64(share) }).await;
        }
    }

    async fn pass<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, LeaseError>> + Send + 'static,
    ) -> Result<T, LeaseError> {
        let state = *self.state.borrow();
        if state.fails {
            return Err(LeaseError::retryable("the line is cut"));
        }
        let line = self.clone();
        // On its own: who no longer waits for the answer does not keep it from having an effect.
        let called = tokio::spawn(async move {
            line.take_time(state.before).await;
            if state.hangs {
                line.state.subscribe().wait_for(|state| !state.hangs).await.unwrap();
                // What was held back arrives in any order.
                line.take_time(Duration::from_millis(50)).await;
            }
            call.await
        });
        let answer = called.await.unwrap();
        self.take_time(state.after).await;
        if self.rng.lock().unwrap().u32(0..100) < state.lost {
            return Err(LeaseError::retryable("the answer is lost"));
        }
        answer
    }
}

/// Has an owned call pass.
macro_rules! pass {
    ($line:ident, |$store:ident $(, $arg:ident)*| $call:expr) => {{
        let $store = $line.store.clone();
        $(let $arg = $arg.to_owned();)*
        Box::pin($line.pass(async move { $call.await }))
    }};
}

impl LeaseStore for Line {
    fn leases<'a>(
        &'a self,
        group: &'a LeaseGroup,
    ) -> BoxFuture<'a, Result<Vec<Lease>, LeaseError>> {
        pass!(self, |store, group| store.leases(&group))
    }

    fn begin<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        pass!(self, |store, group, leases| store.begin(&group, &leases))
    }

    fn add<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        pass!(self, |store, group, leases| store.add(&group, &leases))
    }

    fn take<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Option<Lease>, LeaseError>> {
        pass!(self, |store, group, seen, owner| store.take(&group, &seen, &owner))
    }

    fn ask<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        successor: &'a str,
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        pass!(self, |store, group, seen, successor| store.ask(&group, &seen, &successor))
    }

    fn renew<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<Vec<Renewed>, LeaseError>> {
        *self.calls.lock().unwrap().entry("renew").or_default() += 1;
        pass!(self, |store, group, owner, renewals| LeaseStore::renew(
            &store, &group, &owner, &renewals
        ))
    }

    fn release<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        *self.calls.lock().unwrap().entry("release").or_default() += 1;
        pass!(self, |store, group, owner, renewals| store.release(&group, &owner, &renewals))
    }

    fn remove<'a>(
        &'a self,
        group: &'a LeaseGroup,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        pass!(self, |store, group, keys| store.remove(&group, &keys))
    }
}
