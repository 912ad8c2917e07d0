//! A lease store in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Checkpoint, Lease, LeaseError, LeaseGroup, LeaseStore, NewLease, Renewal, Renewed};
use crate::BoxFuture;

/// A store in memory: for tests, and for a consumer whose workers are all in one process and which
/// may begin anew when that ends. Clones share the store.
#[derive(Debug, Clone, Default)]
pub struct MemoryLeaseStore {
    groups: Arc<Mutex<HashMap<LeaseGroup, Leases>>>,
}

type Leases = BTreeMap<String, Lease>;

impl MemoryLeaseStore {
    fn groups(&self) -> MutexGuard<'_, HashMap<LeaseGroup, Leases>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, group: &LeaseGroup, change: impl FnOnce(&mut Leases) -> T) -> T {
        change(self.groups().entry(group.clone()).or_default())
    }

    /// Renews what `owner` still holds, and does `then` with it.
    fn renew(
        &self,
        group: &LeaseGroup,
        owner: &str,
        renewals: &[Renewal],
        then: impl Fn(&mut Lease),
    ) -> Vec<Renewed> {
        let renew = |leases: &mut Leases, renewal: &Renewal| {
            let lease = leases.get_mut(&renewal.key)?;
            let is_held = lease.owner.as_deref() == Some(owner) && lease.epoch == renewal.epoch;
            if !is_held || lease.counter >= renewal.counter {
                return None;
            }
            lease.counter = renewal.counter;
            if let Some(checkpoint) = &renewal.checkpoint {
                lease.checkpoint = checkpoint.clone();
            }
            let renewed = Renewed::new(&*lease.key, lease.successor.clone());
            then(lease);
            Some(renewed)
        };
        self.change(group, |leases| renewals.iter().filter_map(|one| renew(leases, one)).collect())
    }
}

fn add(leases: &mut Leases, new: &[NewLease]) {
    for lease in new {
        leases.entry(lease.key.clone()).or_insert_with(|| lease.clone().into());
    }
}

impl LeaseStore for MemoryLeaseStore {
    fn leases<'a>(
        &'a self,
        group: &'a LeaseGroup,
    ) -> BoxFuture<'a, Result<Vec<Lease>, LeaseError>> {
        let leases = |leases: &Leases| leases.values().cloned().collect();
        Box::pin(async move { Ok(self.groups().get(group).map(leases).unwrap_or_default()) })
    }

    fn begin<'a>(
        &'a self,
        group: &'a LeaseGroup,
        new: &'a [NewLease],
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        Box::pin(async move {
            Ok(self.change(group, |leases| {
                let begins = leases.is_empty() && !new.is_empty();
                if begins {
                    add(leases, new);
                }
                begins
            }))
        })
    }

    fn add<'a>(
        &'a self,
        group: &'a LeaseGroup,
        new: &'a [NewLease],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            self.change(group, |leases| add(leases, new));
            Ok(())
        })
    }

    fn take<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Option<Lease>, LeaseError>> {
        let as_seen = |lease: &&mut Lease| {
            (&lease.owner, lease.epoch, lease.counter) == (&seen.owner, seen.epoch, seen.counter)
        };
        Box::pin(async move {
            Ok(self.change(group, |leases| {
                let lease = leases.get_mut(&seen.key).filter(as_seen)?;
                lease.owner = Some(owner.into());
                lease.epoch += 1;
                lease.counter += 1;
                lease.successor = None;
                Some(lease.clone())
            }))
        })
    }

    fn ask<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        successor: &'a str,
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        let as_seen = |lease: &&mut Lease| {
            lease.owner.is_some() && (&lease.owner, lease.epoch) == (&seen.owner, seen.epoch)
        };
        Box::pin(async move {
            Ok(self.change(group, |leases| {
                let asked = leases.get_mut(&seen.key).filter(as_seen);
                asked.map(|lease| lease.successor = Some(successor.into())).is_some()
            }))
        })
    }

    fn renew<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<Vec<Renewed>, LeaseError>> {
        Box::pin(async move { Ok(self.renew(group, owner, renewals, |_| {})) })
    }

    fn release<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            self.renew(group, owner, renewals, |lease| lease.owner = None);
            Ok(())
        })
    }

    fn remove<'a>(
        &'a self,
        group: &'a LeaseGroup,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let ended = |lease: &Lease| lease.checkpoint == Checkpoint::End;
            let removed = |key: &String, lease: &Lease| keys.contains(key) && ended(lease);
            self.change(group, |leases| leases.retain(|key, lease| !removed(key, lease)));
            Ok(())
        })
    }
}
