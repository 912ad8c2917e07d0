//! What one who has lost a lease cannot do.

use anyhow::{Result, ensure};
use fanfare_core::{Checkpoint, Renewal, Renewed};

use super::{Leases, after, equal, next};

pub(super) async fn an_earlier_owner_neither_renews_nor_checkpoints(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let old = leases.take("a", "zombie").await?;
    let new = leases.take("a", "w2").await?;
    for epoch in [old.epoch, new.epoch] {
        let late = Renewal::new("a", epoch, 100, Some(after("9", None)));
        equal("renewed", &leases.renew("zombie", &[late]).await?, &vec![])?;
    }
    equal("the lease", &leases.get("a").await?, &new)
}

pub(super) async fn an_earlier_epoch_of_the_same_owner_neither_renews_nor_checkpoints(
    leases: Leases,
) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let old = leases.take("a", "w1").await?;
    leases.release("w1", &[next(&old, None)]).await?;
    let new = leases.take("a", "w1").await?;
    let late = Renewal::new("a", old.epoch, 100, Some(after("9", None)));
    equal("renewed", &leases.renew("w1", std::slice::from_ref(&late)).await?, &vec![])?;
    leases.release("w1", &[late]).await?;
    equal("the lease", &leases.get("a").await?, &new)
}

pub(super) async fn an_earlier_owner_does_not_release(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let old = leases.take("a", "zombie").await?;
    let new = leases.take("a", "w2").await?;
    for epoch in [old.epoch, new.epoch] {
        let late = Renewal::new("a", epoch, 100, Some(Checkpoint::End));
        leases.release("zombie", &[late]).await?;
    }
    equal("the lease", &leases.get("a").await?, &new)
}

pub(super) async fn a_renewal_that_comes_late_has_no_effect(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let taken = leases.take("a", "w1").await?;
    let renewal = |counter, sequence_number| {
        Renewal::new("a", taken.epoch, counter, Some(after(sequence_number, None)))
    };
    equal("the newer", &leases.renew("w1", &[renewal(3, "30")]).await?.len(), &1)?;
    let renewed = leases.get("a").await?;
    for counter in [1, 2, 3] {
        let late = leases.renew("w1", &[renewal(counter, "20")]).await?;
        equal("the late one", &late, &vec![])?;
        leases.release("w1", &[renewal(counter, "20")]).await?;
        equal("the lease", &leases.get("a").await?, &renewed)?;
    }
    Ok(())
}

pub(super) async fn what_is_renewed_beside_what_was_lost_is_renewed(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a", "b", "c"]).await?;
    let mut renewals = Vec::new();
    for key in ["a", "b", "c"] {
        renewals.push(next(&leases.take(key, "w1").await?, Some(after("1", None))));
    }
    let taken = leases.take("b", "w2").await?;
    renewals.push(Renewal::new("unknown", 1, 2, None));
    let renewed = leases.renew("w1", &renewals).await?;
    equal("renewed", &renewed, &vec![Renewed::new("a", None), Renewed::new("c", None)])?;
    leases.remove(&["a"]).await?;
    leases.release("w1", &[next(&leases.get("c").await?, None), next(&taken, None)]).await?;
    equal("what was lost", &leases.get("b").await?, &taken)?;
    equal("what was released", &leases.get("c").await?.owner, &None)?;
    equal("where the first is", &leases.get("a").await?.checkpoint, &after("1", None))
}

pub(super) async fn renewals_and_takes_at_once_leave_one_owner(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    for _ in 0..20 {
        let seen = leases.take("a", "w1").await?;
        let renewal = next(&seen, Some(after("1", None)));
        let (renewing, taking) = (leases.clone(), leases.clone());
        let renewing = tokio::spawn(async move { renewing.renew("w1", &[renewal]).await });
        let taking = tokio::spawn(async move { taking.try_take(&seen, "w2").await });
        let (renewed, taken) = (renewing.await??, taking.await??);
        let owner = leases.get("a").await?.owner;
        ensure!(
            renewed.is_empty() == taken.is_some(),
            "renewed {renewed:?} and taken {taken:?} by another"
        );
        let expected = if taken.is_some() { "w2" } else { "w1" };
        equal("its owner", &owner.as_deref(), &Some(expected))?;
    }
    Ok(())
}
