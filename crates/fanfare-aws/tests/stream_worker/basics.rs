//! Where a worker begins, where it goes on, and how it stops.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use fanfare_aws::{StartAt, StreamWorkerError};
use fanfare_core::{
    Cancellation, Checkpoint, ConsumerError, Delivery, HandlerError, LeaseStore, Router,
};
use fanfare_kpl::Aggregator;
use fanfare_sim::Fault;
use fanfare_topology::Kinesis;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn everything_in_a_stream_is_handled_once_and_in_order() {
    let shop = Shop::new(Kinesis::shards(3)).await;
    let keys = ["a", "b", "c", "a", "d", "b", "a", "e"].repeat(50);
    shop.publish(0, &keys).await;
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    until(|| seen.len() >= 200).await;
    shop.publish(400, &keys).await;
    until(|| seen.len() >= 800).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..800).collect::<Vec<_>>());
    seen.assert_in_order();
    for shard in 0..3 {
        assert!(matches!(shop.checkpoint(shard).await, Checkpoint::After { .. }));
    }
    let call = &seen.calls()[0];
    let place: Vec<_> = call.message_id.split('/').collect();
    let records = shop.sim.stream_records(STREAM);
    let record =
        records.iter().find(|r| (&*r.shard_id, &*r.sequence_number) == (place[0], place[1]));
    assert_eq!(record.unwrap().partition_key, call.key, "{}", call.message_id);
}

#[tokio::test(start_paused = true)]
async fn from_the_latest_on_what_was_there_before_the_first_start_is_left_out() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    shop.publish(0, &["a", "b", "c"]).await;
    sleep(seconds(1)).await;
    let seen = Seen::default();
    let worker = shop.worker().start_at(StartAt::Latest);
    let working = shop.work_with(worker, noting().with_state(seen.clone()));
    sleep(seconds(10)).await;
    shop.publish(3, &["a", "b", "c"]).await;
    until(|| seen.len() >= 3).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_right_after_the_first_start_from_the_latest_loses_nothing() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    let seen = Seen::default();
    // It crashes before it has read anything.
    for _ in 0..20 {
        shop.sim.inject("GetShardIterator", Fault::ServerError);
    }
    let worker = shop.worker().start_at(StartAt::Latest);
    let working = shop.work_with(worker.clone(), noting().with_state(seen.clone()));
    sleep(seconds(5)).await;
    working.kill().await;
    shop.publish(0, &["a", "b", "c"]).await;
    sleep(seconds(3_600)).await;
    let working = shop.work_with(worker, noting().with_state(seen.clone()));
    until(|| seen.len() >= 3).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn from_a_time_on_earlier_records_are_left_out() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    shop.publish(0, &["a", "b"]).await;
    sleep(seconds(60)).await;
    shop.publish(2, &["a", "b"]).await;
    let arrival = |number: usize| {
        let records = shop.sim.stream_records(STREAM);
        let text = format!("\"number\":{number}}}");
        let has = |data: &[u8]| std::str::from_utf8(data).unwrap().contains(&text);
        records.into_iter().find(|record| has(&record.data)).unwrap().arrival
    };
    let since = [arrival(2), arrival(3)].into_iter().min().unwrap();
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let since = Timestamp::from_millisecond(i64::try_from(since).unwrap()).unwrap();
    let seen = Seen::default();
    let worker = shop.worker().start_at(StartAt::At(since));
    let working = shop.work_with(worker, noting().with_state(seen.clone()));
    sleep(seconds(30)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_still_to_come_is_waited_for() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let now = shop.sim.sdk_config().time_source().unwrap().now();
    let soon = Timestamp::try_from(now + seconds(120)).unwrap();
    let seen = Seen::default();
    let worker = shop.worker().start_at(StartAt::At(soon));
    let working = shop.work_with(worker, noting().with_state(seen.clone()));
    shop.publish(0, &["a"]).await;
    sleep(seconds(121)).await;
    shop.publish(1, &["a"]).await;
    until(|| seen.len() == 1).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_within_an_aggregate() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let mut aggregator = Aggregator::new();
    for number in 0..10 {
        let key = format!("key-{number}");
        let body = body_of(&order(&*key, number));
        aggregator.add(&key, None, body.as_bytes());
    }
    let aggregate = aggregator.finish().unwrap();
    let sequence_number = shop.put("outer", aggregate.data).await;
    let seen = Seen::default();
    // What comes from the fifth on is not done with, but the seventh is.
    let first = scripted(&seen, |order| match order.event.number {
        0..4 | 6 => Act::Succeed,
        _ => Act::Hang,
    });
    let working = shop.work_with(shop.worker().drain_timeout(seconds(1)), first);
    until(|| seen.len() == 10).await;
    sleep(seconds(30)).await;
    working.finish().await.unwrap();
    let sub_sequence_number = Some(3);
    let after = Checkpoint::After { sequence_number, sub_sequence_number };
    assert_eq!(shop.checkpoint(0).await, after);
    let again = Seen::default();
    let working = shop.work(noting().with_state(again.clone()));
    sleep(seconds(30)).await;
    working.finish().await.unwrap();
    assert_eq!(again.numbers(), [4, 5, 6, 7, 8, 9]);
    let Checkpoint::After { sub_sequence_number, .. } = shop.checkpoint(0).await else { panic!() };
    assert_eq!(sub_sequence_number, None, "all of it is done");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_stopped_finishes_what_it_has_begun_and_repeats_nothing() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    shop.publish_many(60).await;
    let seen = Seen::default();
    let slow = scripted(&seen, |_| Act::Take(seconds(5)));
    let working = shop.work_with(shop.worker().concurrency(20), slow);
    until(|| seen.len() >= 20).await;
    let stopped = Instant::now();
    working.finish().await.unwrap();
    assert!(stopped.elapsed() < seconds(7), "{:?}", stopped.elapsed());
    let begun = seen.len();
    assert_eq!(begun, 20, "nothing more is begun");
    let working = shop.work(noting().with_state(seen.clone()));
    until(|| seen.len() >= 60).await;
    sleep(seconds(30)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..60).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_in_time_is_abandoned_and_comes_again() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a", "b", "c"]).await;
    let seen = Seen::default();
    let first = scripted(&seen, |order| match order.event.number {
        1 => Act::Hang,
        _ => Act::Succeed,
    });
    let working = shop.work_with(shop.worker().drain_timeout(seconds(3)), first);
    until(|| seen.len() >= 3).await;
    let stopped = Instant::now();
    working.finish().await.unwrap();
    assert!((3..5).contains(&stopped.elapsed().as_secs()), "{:?}", stopped.elapsed());
    let again = Seen::default();
    let working = shop.work(noting().with_state(again.clone()));
    sleep(seconds(30)).await;
    working.finish().await.unwrap();
    assert_eq!(again.numbers(), [1, 2], "from the lowest that was not done on");
}

#[tokio::test(start_paused = true)]
async fn what_an_abandoned_handler_has_begun_beside_itself_hears_that_its_lease_is_lost() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a"]).await;
    type Kept = Arc<Mutex<Option<Cancellation>>>;
    async fn keep(kept: Kept, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        *kept.lock().unwrap() = Some(order.cancellation);
        std::future::pending().await
    }
    let kept = Kept::default();
    let consumer = Router::new("products").on(keep).with_state(Arc::clone(&kept));
    let working = shop.work_with(shop.worker().drain_timeout(seconds(3)), consumer);
    until(|| kept.lock().unwrap().is_some()).await;
    let cancellation = kept.lock().unwrap().clone().unwrap();
    sleep(seconds(60)).await;
    assert!(!cancellation.is_cancelled(), "the lease is kept");
    working.finish().await.unwrap();
    assert!(cancellation.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn after_a_worker_was_killed_its_successor_has_everything_and_keeps_the_order() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    let keys: Vec<_> = (0..20).map(|i| format!("key-{i}")).collect();
    let keys: Vec<_> = (0..600).map(|i| &*keys[i % 20]).collect();
    shop.publish(0, &keys).await;
    let seen = Seen::default();
    let slow = || scripted(&seen, |_| Act::Take(std::time::Duration::from_millis(300)));
    let first = shop.work(slow());
    until(|| seen.len() >= 250).await;
    first.kill().await;
    let killed = Instant::now();
    let second = shop.work(slow());
    until(|| seen.first_by_key().values().map(Vec::len).sum::<usize>() == 600).await;
    assert!(killed.elapsed() < seconds(60), "{:?}", killed.elapsed());
    second.finish().await.unwrap();
    seen.assert_in_order();
    let repeated = seen.len() - 600;
    assert!(repeated < 250, "{repeated} came again: nothing was stored before the death");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_work_ends_the_worker_with_a_reason() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let router: Router = Router::new("products");
    let error = shop.work(router).task.await.unwrap().unwrap_err();
    assert!(matches!(error, StreamWorkerError::Consumer(ConsumerError::NoHandlers { .. })));

    let nowhere = shop.aws.stream(&fanfare_topology::Bindings::new("other"), "products", "orders");
    let worker = fanfare_aws::StreamWorker::new(nowhere, shop.leases.clone());
    let working = shop.work_with(worker, noting().with_state(Seen::default()));
    let error = working.task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "stream `other-orders` does not exist: provision it first");

    for action in ["ListShards", "GetShardIterator", "GetRecords"] {
        let denied = Fault::Refuse {
            status: 400,
            code: "AccessDeniedException".into(),
            message: "not authorized".into(),
        };
        shop.sim.inject(action, denied);
        let working = shop.work(noting().with_state(Seen::default()));
        let error = working.task.await.unwrap().unwrap_err();
        assert!(matches!(error, StreamWorkerError::Denied { .. }), "{action}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_made_anew_is_told_from_its_predecessor() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a"]).await;
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    until(|| seen.len() == 1).await;
    working.finish().await.unwrap();

    shop.kinesis.delete_stream().stream_name(STREAM).send().await.unwrap();
    sleep(seconds(600)).await;
    shop.kinesis.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    sleep(seconds(600)).await;
    shop.publish(1, &["a"]).await;
    let working = shop.work(noting().with_state(seen.clone()));
    let error = working.task.await.unwrap().unwrap_err();
    assert!(matches!(error, StreamWorkerError::Checkpoint { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("remove the leases of `products`"), "{text}");
    let leases = shop.leases.leases(shop.stream.lease_group()).await.unwrap();
    assert!(matches!(leases[0].checkpoint, Checkpoint::After { .. }), "nothing was passed over");
}
