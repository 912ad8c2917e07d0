//! What each call does.

use anyhow::{Result, ensure};
use fanfare_core::{Checkpoint, Lease, LeaseGroup, NewLease, Renewal, Renewed};
use futures_util::future::try_join_all;

use super::{Leases, after, equal, next, oldest};

pub(super) async fn a_group_begins_once(leases: Leases) -> Result<()> {
    equal("a group without leases", &leases.all().await?, &vec![])?;
    ensure!(!leases.begin(&[]).await?, "it began with no lease");
    ensure!(leases.begin(&[oldest("a"), oldest("b")]).await?, "it did not begin");
    ensure!(!leases.begin(&[oldest("c")]).await?, "it began again");
    let begun = vec![Lease::from(oldest("a")), Lease::from(oldest("b"))];
    equal("its leases", &leases.all().await?, &begun)
}

pub(super) async fn of_several_that_begin_at_once_one_does(leases: Leases) -> Result<()> {
    for round in 0..10 {
        let group = LeaseGroup::new(format!("{} {round}", leases.group.consumer), "orders");
        let leases = Leases { group, ..leases.clone() };
        // They share one shard, and have one each that the others have not.
        let begin = |n: usize| {
            let leases = leases.clone();
            async move {
                let (own, at) = (format!("own-{n}"), after(&n.to_string(), None));
                let shared = NewLease::new("shared", at, vec![]);
                let begun =
                    tokio::spawn(async move { leases.begin(&[oldest(&own), shared]).await });
                anyhow::Ok(begun.await??.then_some(n))
            }
        };
        let begun: Vec<usize> =
            try_join_all((0..8).map(begin)).await?.into_iter().flatten().collect();
        ensure!(begun.len() == 1, "{} began", begun.len());
        let all = leases.all().await?;
        let keys: Vec<&str> = all.iter().map(|lease| &*lease.key).collect();
        equal("the shards", &keys, &vec![&*format!("own-{}", begun[0]), "shared"])?;
        equal("where to begin", &all[1].checkpoint, &after(&begun[0].to_string(), None))?;
    }
    Ok(())
}

pub(super) async fn leases_come_by_key_and_as_they_were_given(leases: Leases) -> Result<()> {
    let time = "2026-02-03T04:05:06.123456789Z".parse()?;
    let sequence = "49590338271490256608559692538361571095921575989136588898";
    let new = [
        ("shardId-1", Checkpoint::Oldest, vec![]),
        ("shardId-2", Checkpoint::At(time), vec!["shardId-0"]),
        ("shardId-3", after(sequence, None), vec!["shardId-0", "shardId-1"]),
        ("shardId-4", after(sequence, Some(0)), vec![]),
        ("shardId-5", after(sequence, Some(u64::MAX)), vec![]),
        ("shardId-6", Checkpoint::End, vec!["as 'awkward', \"as\" \\ text {can} be"]),
    ];
    let new = new.map(|(key, checkpoint, parents)| {
        NewLease::new(key, checkpoint, parents.into_iter().map(String::from).collect())
    });
    let mut given = new.to_vec();
    given.reverse();
    ensure!(leases.begin(&given[..3]).await?);
    leases.add(&given[3..]).await?;
    equal("the leases", &leases.all().await?, &new.map(Lease::from).to_vec())
}

pub(super) async fn what_is_added_leaves_the_others_as_they_are(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a", "b"]).await?;
    let taken = leases.take("a", "w1").await?;
    let parents = vec!["x".to_string()];
    let again = NewLease::new("a", after("1", None), parents.clone());
    let new = NewLease::new("c", after("2", None), parents);
    leases.add(&[again.clone(), new.clone()]).await?;
    leases.add(&[again, NewLease::new("c", Checkpoint::End, vec![])]).await?;
    let all = vec![taken, oldest("b").into(), new.into()];
    equal("the leases", &leases.all().await?, &all)
}

pub(super) async fn a_lease_is_taken_as_it_was_seen(leases: Leases) -> Result<()> {
    let start = NewLease::new("a", after("7", Some(3)), vec!["x".into()]);
    ensure!(leases.begin(&[start.clone(), oldest("b")]).await?);
    let mut lease = Lease::from(start);
    for (n, owner) in (1..).zip(["w1", "w2", "w2"]) {
        if lease.owner.is_some() {
            ensure!(leases.ask(&lease, owner).await?, "it could not be asked for");
        }
        let taken = leases.try_take(&lease, owner).await?;
        (lease.epoch, lease.counter, lease.owner) = (n, n, Some(owner.into()));
        equal("what was taken", &taken, &Some(lease.clone()))?;
        equal("what is stored", &leases.get("a").await?, &lease)?;
    }
    equal("the other", &leases.get("b").await?, &oldest("b").into())
}

pub(super) async fn a_lease_that_has_changed_is_not_taken(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let free = leases.get("a").await?;
    let first = leases.take("a", "w1").await?;
    equal("taken by another", &leases.try_take(&free, "w2").await?, &None)?;
    leases.renew("w1", &[next(&first, None)]).await?;
    equal("renewed", &leases.try_take(&first, "w2").await?, &None)?;
    let renewed = leases.get("a").await?;
    leases.release("w1", &[next(&renewed, None)]).await?;
    equal("released", &leases.try_take(&renewed, "w2").await?, &None)?;
    let mut other = leases.get("a").await?;
    let released = other.clone();
    other.owner = Some("w1".into());
    equal("of another owner", &leases.try_take(&other, "w2").await?, &None)?;
    other = released.clone();
    other.epoch = 0;
    equal("of another epoch", &leases.try_take(&other, "w2").await?, &None)?;
    other.key = "unknown".into();
    equal("unknown", &leases.try_take(&other, "w2").await?, &None)?;
    equal("all that time", &leases.get("a").await?, &released)
}

pub(super) async fn of_many_that_take_a_lease_at_once_one_does(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    for round in 1..=10 {
        let seen = leases.get("a").await?;
        let take = |n: usize| {
            let (leases, seen) = (leases.clone(), seen.clone());
            async move {
                let owner = format!("w{n}");
                tokio::spawn(async move { leases.try_take(&seen, &owner).await }).await?
            }
        };
        let taken: Vec<Lease> =
            try_join_all((0..16).map(take)).await?.into_iter().flatten().collect();
        ensure!(taken.len() == 1, "{} took it", taken.len());
        equal("who has it", &leases.get("a").await?, &taken[0])?;
        equal("its epoch", &taken[0].epoch, &round)?;
    }
    Ok(())
}

pub(super) async fn renewing_writes_counters_and_checkpoints(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a", "b"]).await?;
    let mut lease = leases.take("a", "w1").await?;
    let checkpoints = [Some(after("10", Some(4))), None, Some(after("11", None)), None];
    for (checkpoint, step) in checkpoints.into_iter().zip([1, 2, 1, 5]) {
        lease.counter += step;
        let renewal = Renewal::new("a", lease.epoch, lease.counter, checkpoint.clone());
        lease.checkpoint = checkpoint.unwrap_or(lease.checkpoint);
        let renewed = leases.renew("w1", &[renewal]).await?;
        equal("renewed", &renewed, &vec![Renewed::new("a", None)])?;
        equal("the lease", &leases.get("a").await?, &lease)?;
    }
    equal("the other", &leases.get("b").await?, &oldest("b").into())
}

pub(super) async fn many_are_renewed_by_one_call(leases: Leases) -> Result<()> {
    let keys: Vec<String> = (0..300).map(|n| format!("shardId-{n:03}")).collect();
    let leases = leases.begun(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut taken = Vec::new();
    for seen in leases.all().await? {
        taken.extend(leases.try_take(&seen, "w1").await?);
    }
    let checkpoint = |lease: &Lease| (*lease.key < *"shardId-150").then(|| after("1", None));
    let renewals: Vec<Renewal> = taken.iter().map(|lease| next(lease, checkpoint(lease))).collect();
    equal("how many were renewed", &leases.renew("w1", &renewals).await?.len(), &300)?;
    let all = leases.all().await?;
    let moved = all.iter().filter(|lease| lease.checkpoint == after("1", None)).count();
    equal("how many checkpoints were written", &moved, &150)?;
    ensure!(all.iter().all(|lease| lease.counter == 2), "not all counters grew");
    Ok(())
}

pub(super) async fn a_lease_is_asked_for(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let seen = leases.take("a", "w1").await?;
    leases.renew("w1", &[next(&seen, None)]).await?;
    // However often it was renewed since.
    for asker in ["w2", "w3"] {
        ensure!(leases.ask(&seen, asker).await?, "{asker} could not ask");
        let asked = leases.get("a").await?;
        equal("the successor", &asked.successor.as_deref(), &Some(asker))?;
        let renewed = leases.renew("w1", &[next(&asked, None)]).await?;
        equal("what its owner is told", &renewed, &vec![Renewed::new("a", Some(asker.into()))])?;
    }
    let asked = leases.get("a").await?;
    equal("owner and epoch", &(asked.owner.as_deref(), asked.epoch), &(Some("w1"), 1))?;
    // Asking is no sign of life: who has seen the lease before can still take it.
    ensure!(leases.ask(&asked, "w4").await?);
    ensure!(leases.try_take(&asked, "w5").await?.is_some(), "asking was a sign of life");
    equal("after it was taken", &leases.get("a").await?.successor, &None)
}

pub(super) async fn what_nobody_holds_cannot_be_asked_for(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let free = leases.get("a").await?;
    ensure!(!leases.ask(&free, "w1").await?, "it was, and never taken");
    let first = leases.take("a", "w1").await?;
    ensure!(!leases.ask(&free, "w2").await?, "it was, as nobody's");
    let second = leases.take("a", "w2").await?;
    ensure!(!leases.ask(&first, "w3").await?, "an earlier owner was asked");
    leases.release("w2", &[next(&second, None)]).await?;
    ensure!(!leases.ask(&second, "w3").await?, "it was, and released");
    equal("its successor", &leases.get("a").await?.successor, &None)
}

pub(super) async fn a_released_lease_is_anybodys(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a", "b"]).await?;
    let (a, b) = (leases.take("a", "w1").await?, leases.take("b", "w1").await?);
    ensure!(leases.ask(&a, "w2").await?);
    leases.release("w1", &[next(&a, Some(after("5", Some(1)))), next(&b, None)]).await?;
    let mut released = a.clone();
    (released.owner, released.counter, released.checkpoint) = (None, 2, after("5", Some(1)));
    released.successor = Some("w2".into());
    equal("the lease, with whom it is meant for", &leases.get("a").await?, &released)?;
    equal("its renewal", &leases.renew("w1", &[next(&released, None)]).await?, &vec![])?;
    leases.release("w1", &[next(&released, Some(Checkpoint::Oldest))]).await?;
    equal("released again", &leases.get("a").await?, &released)?;
    let taken = leases.take("a", "w1").await?;
    equal("its successor", &taken.successor, &None)?;
    equal("its next epoch and start", &(taken.epoch, taken.checkpoint), &(2, after("5", Some(1))))
}

pub(super) async fn only_what_has_ended_is_removed(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a", "b", "c"]).await?;
    for key in ["a", "c"] {
        let taken = leases.take(key, "w1").await?;
        leases.release("w1", &[next(&taken, Some(Checkpoint::End))]).await?;
    }
    leases.remove(&["a", "b", "unknown"]).await?;
    let keys: Vec<String> = leases.all().await?.into_iter().map(|lease| lease.key).collect();
    equal("what is left", &keys, &vec!["b".into(), "c".into()])
}

pub(super) async fn groups_do_not_see_each_other(leases: Leases) -> Result<()> {
    let consumer = &leases.group.consumer;
    let groups = [
        leases.group.clone(),
        LeaseGroup::new(&**consumer, "payments"),
        LeaseGroup::new(format!("{consumer} too"), "orders"),
    ];
    let [one, stream, other] = groups.map(|group| Leases { group, ..leases.clone() });
    for leases in [&one, &stream, &other] {
        ensure!(leases.begin(&[oldest("a"), oldest("b")]).await?, "it had begun with another");
    }
    let (a, b) = (one.take("a", "w1").await?, one.take("b", "w1").await?);
    for leases in [&stream, &other] {
        equal("the others' lease", &leases.get("a").await?, &oldest("a").into())?;
        ensure!(!leases.ask(&a, "w2").await?, "it was asked for in another group");
        equal("renewed in another group", &leases.renew("w1", &[next(&a, None)]).await?, &vec![])?;
        leases.release("w1", &[next(&a, None)]).await?;
        leases.take("a", "w1").await?;
    }
    one.release("w1", &[next(&b, Some(Checkpoint::End))]).await?;
    stream.remove(&["b"]).await?;
    equal("what was taken first", &one.get("a").await?, &a)?;
    equal("how many there are", &one.all().await?.len(), &2)?;
    equal("and in the other stream", &stream.all().await?.len(), &2)
}

pub(super) async fn nothing_asked_is_nothing_done(leases: Leases) -> Result<()> {
    let leases = leases.begun(&["a"]).await?;
    let before = leases.take("a", "w1").await?;
    leases.add(&[]).await?;
    equal("renewed", &leases.renew("w1", &[]).await?, &vec![])?;
    leases.release("w1", &[]).await?;
    leases.remove(&[]).await?;
    equal("the lease", &leases.get("a").await?, &before)
}
