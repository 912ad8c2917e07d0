//! What a worker holds, and the calls that keep it.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_core::{Backoff, Lease, LeaseError, LeaseGroup, LeaseStore, Renewal};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Held, Settings, lineage::Lineage, plan::Mine};

/// Between tries to reach a store that does not answer.
pub(super) const BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// All that the parts of one coordinator share.
pub(super) struct Keeper<S> {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) group: LeaseGroup,
    pub(super) shards: S,
    pub(super) settings: Settings,
    /// Resolves when the worker is to stop.
    pub(super) stop: CancellationToken,
    pub(super) lineage: tokio::sync::Mutex<Lineage>,
    /// There is something to see before the next look is due.
    pub(super) look: Notify,
    /// Taken by who gives leases up.
    releasing: tokio::sync::Mutex<()>,
    /// Whether the store has ever answered.
    works: AtomicBool,
    /// By shard. A lease is in here for as long as anybody may consume its shard.
    held: Mutex<BTreeMap<String, Held>>,
}

impl<S> Keeper<S> {
    pub(super) fn new(
        store: Arc<dyn LeaseStore>,
        group: LeaseGroup,
        shards: S,
        settings: Settings,
        stop: CancellationToken,
    ) -> Self {
        Keeper {
            store,
            group,
            shards,
            settings,
            stop,
            lineage: tokio::sync::Mutex::default(),
            look: Notify::new(),
            releasing: tokio::sync::Mutex::default(),
            works: AtomicBool::new(false),
            held: Mutex::default(),
        }
    }

    /// Between two renewals, and the longest time that a call may take: so there are two tries
    /// before a lease ends.
    pub(super) fn beat(&self) -> Duration {
        self.settings.lease / 3
    }

    /// A call to the store that is given up after a while. It may have an effect even then.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, LeaseError>>,
    ) -> Result<T, LeaseError> {
        let answer = timeout(self.beat(), call).await;
        let answer = answer.unwrap_or_else(|_| Err(LeaseError::retryable("no answer in time")))?;
        self.works.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    /// Whether the store can never have worked.
    pub(super) fn is_fatal(&self, error: &LeaseError) -> bool {
        !error.is_retryable() && !self.works.load(Ordering::Relaxed)
    }

    /// Takes a lease, if it still is as it was seen.
    pub(super) async fn take(&self, seen: &Lease) -> Result<Option<Held>, LeaseError> {
        // Whoever sees the lease as it is from now on sees it after this.
        let asked = Instant::now();
        let taken = self.store.take(&self.group, seen, &self.settings.owner);
        let held = self
            .call(taken)
            .await?
            .map(|lease| Held::new(lease, asked + self.settings.lease, self.stop.child_token()));
        if let Some(held) = &held {
            self.held().insert(held.lease().key.clone(), held.clone());
        }
        Ok(held)
    }

    /// What is done with each lease.
    pub(super) fn mine(&self) -> HashMap<String, Mine> {
        let is_leaving = |held: &Held| held.is_wanted() || !held.is_valid();
        let state = |held| if is_leaving(held) { Mine::Leaving } else { Mine::Consumed };
        self.held().iter().map(|(key, held)| (key.clone(), state(held))).collect()
    }

    /// Lets the consumer of a shard know that it is wanted.
    pub(super) fn want(&self, lease: &Lease) {
        if let Some(held) = self.held().get(&lease.key) {
            held.want();
        }
    }

    /// Nobody consumes the shard any more.
    pub(super) fn forget(&self, held: &Held) {
        held.end();
        self.held().remove(&held.lease().key);
    }

    /// Renews everything that is held, for ever.
    pub(super) async fn renewals(&self) -> Infallible {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            match self.renew().await {
                Ok(()) => {
                    failures = 0;
                    sleep_until(begun + self.beat()).await;
                }
                Err(error) => {
                    failures += 1;
                    let pause = BACKOFF.delay(failures).min(self.beat() / 3);
                    tracing::warn!(group = %self.group, %error, ?pause, "leases were not renewed");
                    sleep(pause).await;
                }
            }
        }
    }

    async fn renew(&self) -> Result<(), LeaseError> {
        let held: Vec<Held> = self.held().values().cloned().collect();
        let renewing = |held: Held| held.renewal().map(|renewal| (held, renewal));
        let (held, renewals): (Vec<Held>, Vec<Renewal>) =
            held.into_iter().filter_map(renewing).unzip();
        if renewals.is_empty() {
            return Ok(());
        }
        // The lease is counted from before the call: others count from when they see its effect.
        let until = Instant::now() + self.settings.lease;
        let renewed = self.store.renew(&self.group, &self.settings.owner, &renewals);
        let renewed = self.call(renewed).await?;
        let renewed: HashMap<&str, _> = renewed.iter().map(|one| (&*one.key, one)).collect();
        for (held, renewal) in held.iter().zip(&renewals) {
            match renewed.get(&*renewal.key) {
                Some(renewed) => {
                    if held.renewed(renewal, renewed, until) {
                        self.look.notify_one();
                    }
                }
                None => held.end(),
            }
        }
        Ok(())
    }

    /// Gives a lease up. Where many are, one call does for all that wait for the one before it.
    pub(super) async fn release(&self, held: &Held, at_end: bool) {
        held.close(at_end);
        let mut failures = 0;
        while !held.is_released() {
            if let Err(error) = self.release_with(held).await {
                failures += 1;
                tracing::warn!(group = %self.group, %error, "leases were not given up");
                sleep(BACKOFF.delay(failures)).await;
            }
        }
    }

    async fn release_with(&self, one: &Held) -> Result<(), LeaseError> {
        let _one_at_a_time = self.releasing.lock().await;
        let key = &one.lease().key;
        let others: Vec<Held> = self
            .held()
            .iter()
            .filter(|(other, _)| *other != key)
            .map(|(_, held)| held.clone())
            .collect();
        self.send_releases(others.into_iter().chain([one.clone()])).await
    }

    /// Gives up those that are closed.
    async fn send_releases(&self, held: impl Iterator<Item = Held>) -> Result<(), LeaseError> {
        let releasing = |held: Held| held.release().map(|release| (held, release));
        let (held, releases): (Vec<Held>, Vec<Renewal>) = held.filter_map(releasing).unzip();
        if !releases.is_empty() {
            let released = self.store.release(&self.group, &self.settings.owner, &releases);
            self.call(released).await?;
            held.iter().for_each(Held::released);
        }
        Ok(())
    }

    /// Forgets all leases, and gives them up when `ended` has: until then who consumes their shards
    /// may still be at it.
    pub(super) async fn release_all(&self, ended: impl Future<Output = ()>) {
        let left: Vec<Held> = std::mem::take(&mut *self.held()).into_values().collect();
        let until = left.iter().map(Held::until).max();
        left.iter().for_each(|held| held.close(false));
        ended.await;
        let mut failures = 0;
        // After that they have ended by themselves.
        while until.is_some_and(|until| Instant::now() < until) {
            let Err(error) = self.send_releases(left.iter().cloned()).await else { return };
            failures += 1;
            tracing::warn!(group = %self.group, %error, "leases were not given up");
            sleep(BACKOFF.delay(failures)).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
