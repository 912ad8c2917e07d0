//! What every [`LeaseStore`] promises, case by case.

mod cases;
mod fencing;

use std::sync::Arc;

use anyhow::{Context, Result};
use fanfare_core::{Checkpoint, Lease, LeaseGroup, LeaseStore, NewLease, Renewal, Renewed};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// Holds a lease store to its contract: for those who write one of their own.
///
/// Each case has a group of its own, of a name that was never used before, so a store may be held
/// to it again and may hold other leases. Run it on a runtime of several threads, because some
/// cases call the store many times at once.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> anyhow::Result<()> {
/// use std::sync::Arc;
///
/// use fanfare_core::MemoryLeaseStore;
///
/// fanfare_testkit::lease_store_contract(Arc::new(MemoryLeaseStore::default())).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first case that the store does not keep, with what it did instead; or the store failed.
pub async fn lease_store_contract(store: Arc<dyn LeaseStore>) -> Result<()> {
    for Case { name, run } in CASES {
        let group = LeaseGroup::new(format!("{name} {}", Uuid::new_v4()), "orders");
        let store = Arc::clone(&store);
        run(Leases { store, group }).await.with_context(|| name.replace('_', " "))?;
    }
    Ok(())
}

struct Case {
    name: &'static str,
    run: fn(Leases) -> BoxFuture<'static, Result<()>>,
}

macro_rules! cases {
    ($($module:ident { $($case:ident,)+ })+) => {
        const CASES: &[Case] = &[$($(
            Case { name: stringify!($case), run: |leases| Box::pin($module::$case(leases)) },
        )+)+];
    };
}

cases! {
    cases {
        a_group_begins_once,
        of_several_that_begin_at_once_one_does,
        leases_come_by_key_and_as_they_were_given,
        what_is_added_leaves_the_others_as_they_are,
        a_lease_is_taken_as_it_was_seen,
        a_lease_that_has_changed_is_not_taken,
        of_many_that_take_a_lease_at_once_one_does,
        renewing_writes_counters_and_checkpoints,
        many_are_renewed_by_one_call,
        a_lease_is_asked_for,
        what_nobody_holds_cannot_be_asked_for,
        a_released_lease_is_anybodys,
        only_what_has_ended_is_removed,
        groups_do_not_see_each_other,
        nothing_asked_is_nothing_done,
    }
    fencing {
        an_earlier_owner_neither_renews_nor_checkpoints,
        an_earlier_epoch_of_the_same_owner_neither_renews_nor_checkpoints,
        an_earlier_owner_does_not_release,
        a_renewal_that_comes_late_has_no_effect,
        what_is_renewed_beside_what_was_lost_is_renewed,
        renewals_and_takes_at_once_leave_one_owner,
    }
}

/// A group in the store that is held to the contract.
#[derive(Clone)]
struct Leases {
    store: Arc<dyn LeaseStore>,
    group: LeaseGroup,
}

impl Leases {
    /// With leases on these shards, which nobody holds.
    async fn begun(self, keys: &[&str]) -> Result<Self> {
        self.begin(&keys.iter().map(|key| oldest(key)).collect::<Vec<_>>()).await?;
        Ok(self)
    }

    async fn begin(&self, leases: &[NewLease]) -> Result<bool> {
        Ok(self.store.begin(&self.group, leases).await?)
    }

    async fn add(&self, leases: &[NewLease]) -> Result<()> {
        Ok(self.store.add(&self.group, leases).await?)
    }

    async fn all(&self) -> Result<Vec<Lease>> {
        Ok(self.store.leases(&self.group).await?)
    }

    async fn get(&self, key: &str) -> Result<Lease> {
        let all = self.all().await?;
        all.into_iter().find(|lease| lease.key == key).context("the lease is not there")
    }

    async fn try_take(&self, seen: &Lease, owner: &str) -> Result<Option<Lease>> {
        Ok(self.store.take(&self.group, seen, owner).await?)
    }

    /// Takes it as it is.
    async fn take(&self, key: &str, owner: &str) -> Result<Lease> {
        let seen = self.get(key).await?;
        self.try_take(&seen, owner).await?.context("the lease was not taken as it was seen")
    }

    async fn ask(&self, seen: &Lease, successor: &str) -> Result<bool> {
        Ok(self.store.ask(&self.group, seen, successor).await?)
    }

    async fn renew(&self, owner: &str, renewals: &[Renewal]) -> Result<Vec<Renewed>> {
        let mut renewed = self.store.renew(&self.group, owner, renewals).await?;
        renewed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(renewed)
    }

    async fn release(&self, owner: &str, renewals: &[Renewal]) -> Result<()> {
        Ok(self.store.release(&self.group, owner, renewals).await?)
    }

    async fn remove(&self, keys: &[&str]) -> Result<()> {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        Ok(self.store.remove(&self.group, &keys).await?)
    }
}

fn oldest(key: &str) -> NewLease {
    NewLease::new(key, Checkpoint::Oldest, Vec::new())
}

fn after(sequence_number: &str, sub_sequence_number: Option<u64>) -> Checkpoint {
    Checkpoint::After { sequence_number: sequence_number.into(), sub_sequence_number }
}

/// The next renewal of a lease as it is.
fn next(lease: &Lease, checkpoint: Option<Checkpoint>) -> Renewal {
    Renewal::new(&*lease.key, lease.epoch, lease.counter + 1, checkpoint)
}

/// Fails with both where they differ.
fn equal<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should_be: &T) -> Result<()> {
    anyhow::ensure!(is == should_be, "{what}: {is:?} instead of {should_be:?}");
    Ok(())
}
