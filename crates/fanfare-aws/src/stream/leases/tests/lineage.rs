//! Shards that are split and merged, and shards that are gone.

use fanfare_core::{Checkpoint, LeaseStore, NewLease};
use tokio::time::sleep;

use super::{
    sharing::{is_shared, within},
    world::{Worker, World, seconds},
};

/// Whether everything closed has been handled to its end.
pub(super) fn is_drained(world: &World) -> bool {
    let closed = world.stream.shards().into_iter();
    closed
        .filter(|(_, shard)| !shard.expired)
        .all(|(id, shard)| shard.length.is_none_or(|length| world.handled(&id) == length))
}

#[tokio::test(start_paused = true)]
async fn children_are_consumed_when_all_their_parents_have_ended() {
    // The world itself checks the order of every record.
    let world = World::new(4);
    let guard = world.guard();
    let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
    sleep(seconds(20)).await;
    let at = |shard: &str| world.handled(shard);
    // A split, a merge of one of its children with one that ends later, and a split of that.
    let [left, _right] = world.stream.split("shardId-000", at("shardId-000") + 5);
    let merged = world.stream.merge((&left, 20), ("shardId-001", at("shardId-001") + 100));
    let [last, _] = world.stream.split(&merged, 10);
    sleep(seconds(40)).await;
    assert_eq!(at(&left), 20, "one parent has ended");
    assert_eq!(world.lease(&left).await.checkpoint, Checkpoint::End);
    assert_eq!(at(&merged), 0, "the other has not");
    within(seconds(60), "drained", async || is_drained(&world)).await;
    within(seconds(20), "shared", async || is_shared(&world, &[&one, &two])).await;
    within(seconds(5), "the last is read", async || at(&last) > 0).await;
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn generations_that_came_while_nobody_looked_are_consumed_in_their_order() {
    let world = World::new(2);
    let guard = world.guard();
    let one = Worker::start(&world, "one");
    sleep(seconds(10)).await;
    one.stop().await.unwrap();
    let at = |shard: &str| world.handled(shard);
    let [a, b] = world.stream.split("shardId-000", at("shardId-000") + 3);
    let c = world.stream.merge((&a, 4), (&b, 40));
    let [d, e] = world.stream.split(&c, 5);
    let f = world.stream.merge((&d, 6), ("shardId-001", at("shardId-001") + 7));
    let (one, two) = (Worker::start(&world, "one"), Worker::start(&world, "two"));
    within(seconds(120), "drained", async || is_drained(&world)).await;
    within(seconds(20), "shared", async || is_shared(&world, &[&one, &two])).await;
    within(seconds(5), "the last are read", async || at(&e) > 0 && at(&f) > 0).await;
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn a_merge_waits_for_a_parent_that_had_no_lease_when_the_other_ended() {
    let world = World::new(2);
    let guard = world.guard();
    let one = Worker::start(&world, "one");
    sleep(seconds(10)).await;
    // While nobody lists: a split, and one of its children merged with a shard that ends at once.
    let at = |shard: &str| world.handled(shard);
    let [left, _] = world.stream.split("shardId-000", at("shardId-000") + 40);
    let merged = world.stream.merge((&left, 10), ("shardId-001", at("shardId-001") + 1));
    within(seconds(5), "leased", async || {
        world.leases().await.iter().any(|lease| lease.key == merged)
    })
    .await;
    assert!(world.leases().await.iter().any(|lease| lease.key == left), "its other parent too");
    within(seconds(60), "drained", async || is_drained(&world)).await;
    within(seconds(20), "shared", async || is_shared(&world, &[&one])).await;
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_away_for_longer_than_records_are_kept_skips_nothing_that_is_there() {
    let world = World::new(1);
    let guard = world.guard();
    let one = Worker::start(&world, "one");
    sleep(seconds(10)).await;
    drop(one);
    // Two generations, of which the elder is gone, and so is the shard that was being read.
    let [a, b] = world.stream.split("shardId-000", 1_000);
    let [c, _] = world.stream.split(&a, 7);
    for gone in ["shardId-000", &a] {
        world.stream.expire(gone);
    }
    let two = Worker::start(&world, "two");
    within(seconds(60), "shared", async || is_shared(&world, &[&two])).await;
    sleep(seconds(5)).await;
    assert!(world.handled(&b) > 0 && world.handled(&c) > 0);
    assert_eq!(world.lease("shardId-000").await.checkpoint, Checkpoint::End);
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_lease_is_removed_when_its_shard_is_gone_for_good() {
    let world = World::quiet(2);
    let guard = world.guard();
    let one = Worker::start(&world, "one");
    sleep(seconds(10)).await;
    world.stream.split("shardId-000", world.handled("shardId-000") + 1);
    sleep(seconds(3 * 60 * 60)).await;
    assert_eq!(
        world.lease("shardId-000").await.checkpoint,
        Checkpoint::End,
        "as long as it is listed"
    );
    world.stream.expire("shardId-000");
    sleep(seconds(3_000)).await;
    assert_eq!(world.leases().await.len(), 4, "it might have been left out by mistake");
    sleep(seconds(700)).await;
    assert_eq!(world.leases().await.len(), 3);
    // Its children had been consumed all that time, and go on.
    assert_eq!(world.loads(&[&one]), [3]);
    assert_eq!(world.takes().await, 3);
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn two_that_begin_with_other_listings_begin_once_and_skip_nothing() {
    let world = World::new(2);
    let guard = world.guard();
    // Begun by one that had listed before a split, and died.
    let old = NewLease::new("shardId-000", Checkpoint::Oldest, vec![]);
    assert!(world.store.begin(&World::group(), &[old]).await.unwrap());
    world.stream.split("shardId-000", 5);
    let start = Checkpoint::At("2026-01-02T03:04:05Z".parse().unwrap());
    let two = Worker::start_at(&world, "two", start);
    within(seconds(10), "drained", async || is_drained(&world)).await;
    within(seconds(10), "shared", async || is_shared(&world, &[&two])).await;
    for lease in world.leases().await {
        assert!(!matches!(lease.checkpoint, Checkpoint::At(_)), "{} skips records", lease.key);
    }
    guard.holds().await;
}

#[tokio::test(start_paused = true)]
async fn many_shards_that_end_together_are_listed_for_a_few_times() {
    let world = World::new(40);
    let guard = world.guard();
    let one = Worker::start(&world, "one");
    sleep(seconds(10)).await;
    let listings = world.stream.listings();
    for shard in world.stream.open_shards() {
        world.stream.split(&shard, 30);
    }
    within(seconds(20), "drained", async || is_drained(&world)).await;
    within(seconds(5), "shared", async || is_shared(&world, &[&one])).await;
    let listings = world.stream.listings() - listings;
    assert!(listings <= 6, "{listings} listings for 40 shards that ended");
    guard.holds().await;
}
