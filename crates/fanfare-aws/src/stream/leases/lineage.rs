//! Which shards have leases.
//!
//! Every shard that the stream lists has one. That makes the rules simple: a listed shard without a
//! lease is new, and is read from its first record; a lease is removed only when its shard has
//! ended *and* is not listed any more, so that it cannot come back as a new one. A stream lists a
//! closed shard for as long as any of its records is kept.
//!
//! Shards have to be read after those that they were made from. A shard waits for all its parents
//! that have leases, so no shard may get one while a parent that is still to be read has none.
//! That holds because leases are made of a whole listing at a time: who knows of a shard lists them
//! *after* that, and what has been listed by then, its parents included, gets its lease with it or
//! before it. A parent that is not listed has nothing left to be read.
//!
//! Two workers who list at different times make the same leases, and what is there already is left
//! as it is. A worker that dies anywhere in between has left leases that others would have made.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fanfare_core::{Backoff, Checkpoint, LeaseError, NewLease};
use tokio::time::{Instant, sleep, timeout};

use super::{CoordinatorError, ShardInfo, Shards, keeper::Keeper, seen::Table};
use crate::failure::{Class, Failure};

/// At most this long between two listings.
const LISTING: Duration = Duration::from_secs(30);

/// The longest time that a listing may take; one of a thousand shards is one request.
const LISTING_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a shard that has ended must not have been listed before its lease is removed: a shard
/// that is left out once by mistake would be read again.
const UNLISTED: Duration = Duration::from_secs(60 * 60);

/// Between tries to list shards.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), LISTING);

/// What is known from the listings so far.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// When the last one was begun that has led to leases.
    begun: Option<Instant>,
    /// Shards that have ended, and since when they are not listed.
    unlisted: BTreeMap<String, Instant>,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the shards cannot be listed: {0}")]
    Shards(Failure),
    #[error(transparent)]
    Store(#[from] LeaseError),
}

impl<S: Shards> Keeper<S> {
    /// Has leases made for new shards, and removed for old ones, until the worker is to stop.
    pub(super) async fn follow_lineage(&self) -> Result<(), CoordinatorError> {
        let mut failures = 0;
        loop {
            let Some(listed) = self.stop.run_until_cancelled(self.list()).await else {
                return Ok(());
            };
            let pause = match listed {
                Ok(()) => {
                    failures = 0;
                    LISTING.mul_f64(0.75 + fastrand::f64() / 4.0)
                }
                Err(Trouble::Shards(failure)) if failure.class != Class::Transient => {
                    return Err(CoordinatorError::Shards(failure));
                }
                Err(Trouble::Store(error)) if self.is_fatal(&error) => {
                    return Err(CoordinatorError::Store(error));
                }
                Err(trouble) => {
                    failures += 1;
                    tracing::warn!(group = %self.group, %trouble, "new shards are not seen");
                    BACKOFF.delay(failures)
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = sleep(pause) => {}
            }
        }
    }

    /// Returns when the children of a shard that has ended have leases, as have all shards that
    /// those were made from.
    pub(super) async fn have_children_leased(&self, children: &[ShardInfo]) {
        let (ended, mut failures) = (Instant::now(), 0);
        while let Err(trouble) = self.lease_children(children, ended).await {
            failures += 1;
            tracing::warn!(group = %self.group, %trouble, "a shard has ended, and its children are not leased");
            sleep(BACKOFF.delay(failures)).await;
        }
    }

    async fn lease_children(&self, children: &[ShardInfo], ended: Instant) -> Result<(), Trouble> {
        let mut lineage = self.lineage.lock().await;
        // Where many shards end together one listing does for all that had ended before it.
        if lineage.begun.is_none_or(|begun| begun <= ended) {
            self.lease_listed(&mut lineage).await?;
        }
        let new: Vec<NewLease> =
            children.iter().map(|child| lease(child, Checkpoint::Oldest)).collect();
        Ok(self.call(self.store.add(&self.group, &new)).await?)
    }

    async fn list(&self) -> Result<(), Trouble> {
        self.lease_listed(&mut *self.lineage.lock().await).await
    }

    /// Brings the leases into line with the stream's shards.
    async fn lease_listed(&self, lineage: &mut Lineage) -> Result<(), Trouble> {
        loop {
            let begun = Instant::now();
            // In this order: what has no lease now, and is listed after, was not removed as old.
            let leases = self.call(self.store.leases(&self.group)).await?;
            let shards = timeout(LISTING_TIMEOUT, self.shards.list()).await;
            let shards = shards
                .unwrap_or_else(|_| Err(Failure::transient("no answer in time", "")))
                .map_err(Trouble::Shards)?;
            if leases.is_empty() {
                let start = |shard| lease(shard, self.settings.start.clone());
                let new: Vec<NewLease> = shards.iter().map(start).collect();
                if self.call(self.store.begin(&self.group, &new)).await? {
                    tracing::info!(group = %self.group, shards = new.len(), "begun");
                    lineage.begun = Some(begun);
                    self.look.notify_one();
                    return Ok(());
                }
                // Another has begun, maybe with fewer shards than there are now.
                continue;
            }
            let table = Table::new(&leases);
            let new = shards.iter().filter(|shard| table.get(&shard.id).is_none());
            let new: Vec<NewLease> = new.map(|shard| lease(shard, Checkpoint::Oldest)).collect();
            if !new.is_empty() {
                self.call(self.store.add(&self.group, &new)).await?;
                tracing::debug!(group = %self.group, shards = new.len(), "new shards");
                self.look.notify_one();
            }
            lineage.begun = Some(begun);
            let old = lineage.old(&table, &shards);
            if !old.is_empty() {
                self.call(self.store.remove(&self.group, &old)).await?;
                tracing::debug!(group = %self.group, shards = old.len(), "shards are gone");
            }
            return Ok(());
        }
    }
}

impl Lineage {
    /// The shards whose leases can be removed.
    fn old(&mut self, table: &Table<'_>, shards: &[ShardInfo]) -> Vec<String> {
        let listed: BTreeSet<&str> = shards.iter().map(|shard| &*shard.id).collect();
        let now = Instant::now();
        let unlisted = table
            .leases()
            .filter(|lease| lease.checkpoint == Checkpoint::End && !listed.contains(&*lease.key))
            .map(|lease| (lease.key.clone(), *self.unlisted.get(&lease.key).unwrap_or(&now)));
        self.unlisted = unlisted.collect();
        let old = self.unlisted.iter().filter(|(_, since)| **since + UNLISTED <= now);
        old.map(|(key, _)| key.clone()).collect()
    }
}

fn lease(shard: &ShardInfo, checkpoint: Checkpoint) -> NewLease {
    NewLease::new(&*shard.id, checkpoint, shard.parents.clone())
}
