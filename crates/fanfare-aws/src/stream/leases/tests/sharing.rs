//! How workers come to have their shares, and how they leave.

use std::time::Duration;

use fanfare_core::Checkpoint;
use tokio::time::{Instant, sleep};

use super::world::{Behaviour, LEASE, Worker, World, after, next, seconds};
use crate::{
    failure::{Class, Failure},
    stream::leases::CoordinatorError,
};

/// Looks for so long whether something comes true, and fails if it does not.
pub(super) async fn within(time: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + time;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether all open shards are consumed, with loads as even as can be.
pub(super) fn is_shared(world: &World, workers: &[&Worker]) -> bool {
    let loads = world.loads(workers);
    let is_even = loads.last().unwrap() - loads.first().unwrap() <= 1;
    is_even && loads.iter().sum::<usize>() == world.stream.open_shards().len()
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_ten_shards() {
    for pause in [0, 1, 20] {
        let world = World::new(10);
        let guard = world.guard();
        let one = Worker::start(&world, "one");
        sleep(seconds(pause)).await;
        let two = Worker::start(&world, "two");
        let workers = [&one, &two];
        within(seconds(15), "five each", async || world.loads(&workers) == [5, 5]).await;
        sleep(seconds(60)).await;
        assert_eq!(world.loads(&workers), [5, 5]);
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_workers_share_ten_shards() {
    for seed in 0..10 {
        fastrand::seed(seed);
        let world = World::new(10);
        let guard = world.guard();
        let workers: Vec<Worker> =
            (0..5).map(|n| Worker::start(&world, &format!("w{n}"))).collect();
        let workers: Vec<&Worker> = workers.iter().collect();
        within(seconds(60), "two each", async || world.loads(&workers) == [2; 5]).await;
        let takes = world.takes().await;
        assert!(takes <= 30, "{takes} takes for 10 shards");
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_third_worker_is_given_what_makes_loads_even_and_no_more() {
    let world = World::new(10);
    let guard = world.guard();
    let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
    sleep(seconds(30)).await;
    let takes = world.takes().await;
    let three = Worker::start(&world, "three");
    let workers = [&one, &two, &three];
    within(seconds(15), "three have their shares", async || world.loads(&workers) == [3, 3, 4])
        .await;
    assert_eq!(world.takes().await - takes, 3, "no shard moves without need");
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn shards_stay_where_they_are_for_an_hour() {
    for (shards, workers) in [(10, 3), (7, 2), (3, 5), (1, 2), (40, 6)] {
        let world = World::quiet(shards);
        let guard = world.guard();
        let workers: Vec<Worker> =
            (0..workers).map(|n| Worker::start(&world, &format!("w{n}"))).collect();
        let all: Vec<&Worker> = workers.iter().collect();
        within(seconds(90), "shared", async || is_shared(&world, &all)).await;
        sleep(seconds(60)).await;
        let takes = world.takes().await;
        let asks = async || -> Vec<Option<String>> {
            world.leases().await.into_iter().map(|lease| lease.successor).collect()
        };
        let asked = asks().await;
        for _ in 0..120 {
            sleep(seconds(30)).await;
            assert!(is_shared(&world, &all));
            assert_eq!(asks().await, asked, "somebody asks for more");
        }
        assert_eq!(world.takes().await, takes, "{shards} shards and {} workers", all.len());
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_leases_are_taken_when_they_have_ended_and_not_before() {
    let world = World::new(10);
    let guard = world.guard();
    let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
    sleep(seconds(31)).await;
    assert_eq!(world.loads(&[&one, &two]), [5, 5]);
    let died = Instant::now();
    let left = world.valid().into_iter().filter(|begun| begun.worker == one.name);
    let left: Vec<_> =
        left.map(|begun| (begun.held.lease().key.clone(), begun.held.until())).collect();
    drop(one);
    within(LEASE + seconds(4), "all are taken", async || world.loads(&[&two]) == [10]).await;
    for (shard, until) in left {
        let taken = world.begun(&shard).pop().unwrap();
        assert_eq!(taken.worker, "two");
        assert!(taken.at >= until, "taken before it had ended");
        // One that was just being renewed when its owner died lasts longest.
        assert!(taken.at <= died + LEASE + seconds(4));
        // All that was checkpointed in time is not handled again.
        assert!(next(&taken.held.lease().checkpoint) > 50);
    }
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_renews_everything_and_few_calls_give_it_up() {
    let world = World::quiet(200);
    let one = Worker::start(&world, "one");
    sleep(seconds(5)).await;
    assert_eq!(world.loads(&[&one]), [200]);
    let before = one.line.calls("renew");
    sleep(seconds(600)).await;
    let calls = one.line.calls("renew") - before;
    assert!((175..=185).contains(&calls), "{calls} calls in 600 s");
    assert!(world.stream.listings() <= 30, "{} listings", world.stream.listings());
    let line = one.line.clone();
    line.be(|state| state.after = Duration::from_millis(50));
    one.stop().await.unwrap();
    assert!(world.leases().await.iter().all(|lease| lease.owner.is_none()));
    let calls = line.calls("release");
    assert!(calls <= 3, "{calls} calls gave 200 leases up");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_leaves_nothing_to_wait_for() {
    let world = World::new(6);
    let guard = world.guard();
    let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
    sleep(seconds(31)).await;
    assert_eq!(world.loads(&[&one, &two]), [3, 3]);
    let stopped = Instant::now();
    one.stop().await.unwrap();
    assert!(stopped.elapsed() < seconds(1), "{:?}", stopped.elapsed());
    let free: Vec<_> =
        world.leases().await.into_iter().filter(|lease| lease.owner.is_none()).collect();
    assert_eq!(free.len(), 3);
    for lease in &free {
        // Up to the very last record.
        assert_eq!(next(&lease.checkpoint), world.handled(&lease.key), "{}", lease.key);
    }
    within(seconds(4), "the other has all", async || world.loads(&[&two]) == [6]).await;
    two.stop().await.unwrap();
    assert!(world.leases().await.iter().all(|lease| lease.owner.is_none()));
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_dropped_and_its_lease_given_up() {
    let world = World::new(2);
    let guard = world.guard();
    world.behave("shardId-001", Some(Behaviour::Drains(seconds(1_000))));
    let one = Worker::start(&world, "one");
    sleep(seconds(10)).await;
    let stopped = Instant::now();
    one.tell_to_stop();
    sleep(seconds(24)).await;
    assert!(!one.has_ended());
    assert_eq!(world.lease("shardId-000").await.owner, None, "what has ended is given up at once");
    let slow = world.lease("shardId-001").await;
    assert_eq!(slow.owner.as_deref(), Some("one"), "what has not is held as long as it may take");
    one.ended().await.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), 25);
    let slow = world.lease("shardId-001").await;
    assert_eq!((slow.owner, next(&slow.checkpoint)), (None, world.handled("shardId-001")));
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_handed_over_where_it_was_left() {
    let world = World::new(2);
    let guard = world.guard();
    let drain = Some(Behaviour::Drains(seconds(8)));
    world.behave("shardId-000", drain);
    world.behave("shardId-001", drain);
    let one = Worker::start(&world, "one");
    sleep(seconds(20)).await;
    let two = Worker::start(&world, "two");
    within(seconds(20), "one each", async || world.loads(&[&one, &two]) == [1, 1]).await;
    let moved = world.valid().into_iter().find(|begun| begun.worker == "two").unwrap();
    let lease = moved.held.lease();
    assert_eq!(lease.epoch, 2, "nobody else has had it meanwhile");
    assert_eq!(next(&lease.checkpoint), world.handled(&lease.key), "no record is handled twice");
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_never_given_up_is_asked_for_once() {
    let world = World::new(4);
    let guard = world.guard();
    for shard in world.stream.open_shards() {
        world.behave(&shard, Some(Behaviour::Drains(seconds(100_000))));
    }
    let one = Worker::start(&world, "one");
    sleep(seconds(20)).await;
    let two = Worker::start(&world, "two");
    sleep(seconds(600)).await;
    // Its owner lives and renews it, so nobody can do more than ask.
    assert_eq!(world.loads(&[&one, &two]), [0, 4]);
    assert_eq!(world.takes().await, 4);
    for shard in world.stream.open_shards() {
        world.behave(&shard, None);
    }
    // New ones do get shared.
    let three = Worker::start(&world, "three");
    sleep(seconds(60)).await;
    assert_eq!(world.loads(&[&one, &two, &three]), [0, 0, 4]);
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_is_begun_again_at_its_last_checkpoint() {
    for (behaviour, records) in [(Behaviour::FailsAfter(3), 3), (Behaviour::PanicsAfter(2), 2)] {
        let world = World::new(2);
        let guard = world.guard();
        world.behave("shardId-000", Some(behaviour));
        let one = Worker::start(&world, "one");
        sleep(seconds(60)).await;
        let begun = world.begun("shardId-000");
        assert!(begun.len() > 10, "what goes on is tried again soon: {}", begun.len());
        for (n, one) in begun.iter().enumerate() {
            assert_eq!(next(&one.held.lease().checkpoint), records * n as u64);
            assert_eq!(one.held.lease().epoch, 1, "it is kept meanwhile");
        }
        world.behave("shardId-000", Some(Behaviour::FailsAfter(0)));
        sleep(seconds(600)).await;
        let tries = world.begun("shardId-000").len() - begun.len();
        assert!((10..=25).contains(&tries), "what does not go on is left alone: {tries}");
        let stopped = Instant::now();
        one.stop().await.unwrap();
        assert!(stopped.elapsed() < seconds(1));
        let lease = world.lease("shardId-000").await;
        assert_eq!(lease.checkpoint, after(world.handled("shardId-000")));
        guard.holds().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_there_ends_the_worker() {
    let world = World::new(2);
    let failure = Failure { class: Class::NotFound, code: "gone".into(), message: "".into() };
    world.stream.fail(Some(failure.clone()));
    let one = Worker::start(&world, "one");
    let error = one.ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the shards cannot be listed: gone");
    // What is only so for a moment does not.
    world.stream.fail(Some(Failure::transient("throttled", "")));
    let two = Worker::start(&world, "two");
    sleep(seconds(60)).await;
    assert!(!two.has_ended() && world.leases().await.is_empty());
    world.stream.fail(None);
    within(seconds(31), "begun", async || world.loads(&[&two]) == [2]).await;
    // Later too, and then everything is given up first.
    world.stream.fail(Some(failure));
    let error = two.ended().await.unwrap_err();
    assert!(matches!(error, CoordinatorError::Shards(_)));
    for lease in world.leases().await {
        assert_eq!((lease.owner, next(&lease.checkpoint)), (None, world.handled(&lease.key)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_begins_where_it_is_told_to() {
    let world = World::new(2);
    let start = Checkpoint::At("2026-01-02T03:04:05Z".parse().unwrap());
    world.stream.split("shardId-000", 4);
    let one = Worker::start_at(&world, "one", start.clone());
    sleep(seconds(1)).await;
    let leases = world.leases().await;
    assert_eq!(leases.len(), 4);
    assert!(leases.iter().all(|lease| lease.checkpoint == start));
    // Another that would begin elsewhere finds it begun.
    let two = Worker::start(&world, "two");
    world.stream.split("shardId-001", 4);
    within(seconds(60), "all are shared", async || is_shared(&world, &[&one, &two])).await;
    let starts = |shard: &str| world.begun(shard)[0].held.lease().checkpoint.clone();
    assert_eq!((starts("shardId-000"), starts("shardId-002")), (start.clone(), start));
    assert_eq!(starts("shardId-004"), Checkpoint::Oldest, "a new shard is read from its beginning");
}
