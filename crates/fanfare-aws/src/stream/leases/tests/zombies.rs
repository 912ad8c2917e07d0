//! Workers that do not know yet that they have lost something.

use std::time::Duration;

use fanfare_core::{Checkpoint, LeaseStore, Renewal};
use tokio::time::{Instant, sleep};

use super::{
    lines::Line,
    sharing::{is_shared, within},
    world::{LEASE, Worker, World, after, next, seconds},
};

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_renew_stops_before_anybody_else_can_begin() {
    for seed in 0..20 {
        fastrand::seed(seed);
        let world = World::new(6);
        let guard = world.guard();
        let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
        sleep(seconds(31)).await;
        let old: Vec<_> = world.valid().into_iter().filter(|b| b.worker == "one").collect();
        assert_eq!(old.len(), 3);
        one.line.be(|state| state.hangs = true);
        let hung = Instant::now();
        let lost = old.iter().map(|begun| async {
            begun.held.lost().await;
            Instant::now()
        });
        let lost = futures_util::future::join_all(lost).await;
        within(seconds(8), "taken over", async || world.loads(&[&two]) == [6]).await;
        assert!(lost.iter().all(|lost| *lost <= hung + LEASE));
        for (begun, lost) in old.iter().zip(lost) {
            let key = &begun.held.lease().key;
            let taken = world.begun(key).pop().unwrap();
            assert!(taken.worker == "two" && taken.at >= lost, "{key} was taken too soon");
            // What the zombie says now nobody listens to.
            let before = world.lease(key).await;
            for epoch in [begun.held.lease().epoch, taken.held.lease().epoch] {
                let late = Renewal::new(&**key, epoch, 1_000_000, Some(after(1)));
                let group = World::group();
                let renewed = LeaseStore::renew(&world.store, &group, "one", &[late]).await;
                assert!(renewed.unwrap().is_empty());
            }
            assert_eq!(world.lease(key).await, before);
        }
        // All that it had sent has its effect now, and it finds out what has happened.
        one.line.be(|state| state.hangs = false);
        within(seconds(30), "shared again", async || is_shared(&world, &[&one, &two])).await;
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_lasts_from_before_the_call_that_renewed_it() {
    for seed in 0..20 {
        fastrand::seed(seed);
        let world = World::new(4);
        let guard = world.guard();
        let line = Line::new(&world.store);
        // Calls have their effect at once, and their answers take almost as long as they may.
        line.be(|state| state.after = seconds(3));
        let one = Worker::start_on(&world, "one", Checkpoint::Oldest, line);
        let two = Worker::start(&world, "two");
        within(seconds(90), "shared", async || is_shared(&world, &[&one, &two])).await;
        let renewals = one.line.calls("renew");
        within(seconds(10), "renewed", async || one.line.calls("renew") > renewals).await;
        sleep(seconds(3)).await;
        one.line.be(|state| state.hangs = true);
        // The guard sees to it that never both hold one.
        within(seconds(20), "taken over", async || world.loads(&[&two]) == [4]).await;
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_seen_as_it_is_when_the_answer_is_there() {
    for seed in 0..40 {
        fastrand::seed(seed);
        let world = World::new(1);
        let guard = world.guard();
        let one = Worker::start(&world, "one");
        sleep(seconds(1)).await;
        let two = Worker::start(&world, "two");
        // It takes long to ask, and the lease is renewed meanwhile, for the last time.
        two.line.be(|state| state.before = seconds(3));
        sleep(Duration::from_millis(20_000 + 437 * seed)).await;
        let renewals = one.line.calls("renew");
        within(seconds(10), "renewed", async || one.line.calls("renew") > renewals).await;
        one.line.be(|state| state.hangs = true);
        two.line.be(|state| state.before = seconds(0));
        within(seconds(20), "taken over", async || world.loads(&[&two]) == [1]).await;
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_less_than_a_lease_is_not_noticed() {
    for seed in 0..30 {
        fastrand::seed(seed);
        let world = World::new(6);
        let guard = world.guard();
        let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
        within(seconds(30), "shared", async || is_shared(&world, &[&one, &two])).await;
        // What is still being handed over is.
        sleep(seconds(30)).await;
        let takes = world.takes().await;
        for worker in [&one, &two] {
            worker.line.be(|state| state.fails = true);
        }
        // The last renewal may be a third of a lease ago, and the next attempt comes later.
        sleep(LEASE / 3).await;
        for worker in [&one, &two] {
            worker.line.be(|state| state.fails = false);
        }
        sleep(seconds(60)).await;
        assert_eq!(world.takes().await, takes, "seed {seed}");
        assert!(is_shared(&world, &[&one, &two]), "seed {seed}");
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_long_stops_everything_and_then_all_goes_on() {
    for seed in 0..10 {
        fastrand::seed(seed);
        let world = World::new(6);
        let guard = world.guard();
        let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
        within(seconds(30), "shared", async || is_shared(&world, &[&one, &two])).await;
        for worker in [&one, &two] {
            worker.line.be(|state| state.fails = true);
        }
        sleep(LEASE).await;
        assert!(world.valid().is_empty(), "nobody can know what the others do");
        let handled = world.handled("shardId-000");
        sleep(seconds(120)).await;
        assert_eq!(world.handled("shardId-000"), handled);
        for worker in [&one, &two] {
            worker.line.be(|state| state.fails = false);
        }
        within(seconds(40), "shared again", async || is_shared(&world, &[&one, &two])).await;
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_without_its_takers_knowledge_is_taken_again() {
    let mut repeated = 0;
    for seed in 0..20 {
        fastrand::seed(seed);
        let world = World::new(20);
        let guard = world.guard();
        let line = Line::new(&world.store);
        line.be(|state| state.lost = 30);
        let one = Worker::start_on(&world, "one", Checkpoint::Oldest, line);
        sleep(seconds(4)).await;
        one.line.be(|state| state.lost = 0);
        // Before they would be taken for those of one who has died.
        within(seconds(5), "all are consumed", async || world.loads(&[&one]) == [20]).await;
        repeated += world.takes().await - 20;
        guard.holds().await;
    }
    assert!(repeated > 0, "no answer was lost");
}

#[tokio::test(start_paused = true)]
async fn a_killed_workers_last_calls_have_no_effect_on_its_successors() {
    for seed in 0..20 {
        fastrand::seed(seed);
        let world = World::new(4);
        let guard = world.guard();
        let one = Worker::start(&world, "one");
        sleep(seconds(20)).await;
        // Everything that it sends from now on arrives a minute later.
        one.line.be(|state| state.hangs = true);
        sleep(seconds(4)).await;
        let line = one.line.clone();
        drop(one);
        let two = Worker::start(&world, "two");
        within(seconds(20), "taken over", async || world.loads(&[&two]) == [4]).await;
        sleep(seconds(60)).await;
        let before = world.leases().await;
        line.be(|state| state.hangs = false);
        sleep(seconds(1)).await;
        for (before, lease) in before.iter().zip(world.leases().await) {
            assert_eq!((&before.owner, before.epoch), (&lease.owner, lease.epoch));
            assert!(next(&before.checkpoint) <= next(&lease.checkpoint));
        }
        guard.holds().await;
    }
}
