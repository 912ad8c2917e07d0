//! Enhanced fan-out.

use std::time::Duration;

use fanfare_aws::{StreamWorker, StreamWorkerError};
use fanfare_core::Checkpoint;
use fanfare_sim::Fault;
use fanfare_topology::Kinesis;
use tokio::time::{Instant, sleep};

use crate::support::*;

const SUBSCRIBE: &str = "SubscribeToShard";

/// A worker with a registered consumer.
async fn subscribed(shop: &Shop) -> StreamWorker {
    let description = shop.kinesis.describe_stream_summary().stream_name(STREAM).send().await;
    let arn = description.unwrap().stream_description_summary.unwrap().stream_arn;
    let register = shop.kinesis.register_stream_consumer().stream_arn(arn);
    let registered = register.consumer_name("products").send().await.unwrap();
    sleep(seconds(60)).await;
    shop.worker().enhanced_fan_out(registered.consumer.unwrap().consumer_arn)
}

#[tokio::test(start_paused = true)]
async fn events_come_at_once_and_nothing_is_read() {
    let shop = Shop::new(Kinesis::shards(2).aggregated()).await;
    let worker = subscribed(&shop).await;
    shop.publish(0, &["a", "b", "c", "a"]).await;
    let seen = Seen::default();
    let working = shop.work_with(worker.clone(), noting().with_state(seen.clone()));
    until(|| seen.len() == 4).await;
    for number in 4..20 {
        sleep(seconds(20)).await;
        let published = Instant::now();
        shop.publish(number, &["a"]).await;
        until(|| seen.len() == number + 1).await;
        assert!(published.elapsed() < Duration::from_millis(500), "{:?}", published.elapsed());
    }
    working.finish().await.unwrap();
    // What is done is not sent again.
    let working = shop.work_with(worker, noting().with_state(seen.clone()));
    sleep(seconds(60)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..20).collect::<Vec<_>>());
    seen.assert_in_order();
    assert_eq!(shop.sim.requests().count("GetRecords"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_made_anew_every_five_minutes_and_whenever_it_fails() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let worker = subscribed(&shop).await;
    let faults = [
        Fault::Throttle,
        Fault::ServerError,
        Fault::BreakConnection,
        Fault::Hang,
        Fault::LoseAnswer,
    ];
    for fault in faults {
        shop.sim.inject(SUBSCRIBE, fault);
    }
    let seen = Seen::default();
    let working = shop.work_with(worker, noting().with_state(seen.clone()));
    for number in 0..360 {
        sleep(seconds(10)).await;
        shop.publish(number, &["a"]).await;
    }
    until(|| seen.len() == 360).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..360).collect::<Vec<_>>());
    seen.assert_in_order();
    let subscriptions = shop.sim.requests().count(SUBSCRIBE);
    assert!((12 + 5..=14 + 5).contains(&subscriptions), "{subscriptions} in an hour");
}

#[tokio::test(start_paused = true)]
async fn children_are_subscribed_to_when_their_parents_have_ended() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    let worker = subscribed(&shop).await;
    let seen = Seen::default();
    let slow = || scripted(&seen, |_| Act::Take(Duration::from_millis(300)));
    let workers = [shop.work_with(worker.clone(), slow()), shop.work_with(worker.clone(), slow())];
    let keys: Vec<_> = (0..20).map(|i| format!("key-{i}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    for round in 0..20 {
        shop.publish(round * 20, &keys).await;
        match round {
            5 => shop.split(0).await,
            12 => shop.merge(3, 1).await,
            _ => sleep(seconds(1)).await,
        }
    }
    until(|| seen.first_by_key().values().map(Vec::len).sum::<usize>() == 400).await;
    for working in workers {
        working.finish().await.unwrap();
    }
    seen.assert_in_order();
    for ended in [0, 1, 3] {
        assert_eq!(shop.checkpoint(ended).await, Checkpoint::End, "shard {ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_handlers_are_slow_records_wait_with_aws_past_the_subscriptions_end() {
    let shop = Shop::new(Kinesis::shards(1).aggregated()).await;
    let worker = subscribed(&shop).await;
    let events: Vec<_> = (0..15_000).map(|i| order(format!("key-{}", i % 3_000), i)).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.event.number {
        0 => Act::Take(seconds(1_000)),
        _ => Act::Succeed,
    });
    let working = shop.work_with(worker, consumer);
    until(|| seen.len() >= 1).await;
    sleep(seconds(900)).await;
    // The last record may hold more than there is room for.
    assert!((9_990..=10_500).contains(&seen.len()), "{}", seen.len());
    until(|| seen.len() >= 15_000).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..15_000).collect::<Vec<_>>());
    seen.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_successor_takes_the_subscription_over() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let worker = subscribed(&shop).await;
    let seen = Seen::default();
    let first = shop.work_with(worker.clone(), noting().with_state(seen.clone()));
    shop.publish(0, &["a", "b"]).await;
    until(|| seen.len() == 2).await;
    first.kill().await;
    shop.publish(2, &["a", "b"]).await;
    let second = shop.work_with(worker, noting().with_state(seen.clone()));
    let killed = Instant::now();
    until(|| seen.first_by_key().values().map(Vec::len).sum::<usize>() == 4).await;
    assert!(killed.elapsed() < seconds(40), "{:?}", killed.elapsed());
    second.finish().await.unwrap();
    seen.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_not_registered_ends_the_worker() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let description = shop.kinesis.describe_stream_summary().stream_name(STREAM).send().await;
    let arn = description.unwrap().stream_description_summary.unwrap().stream_arn;
    let worker = shop.worker().enhanced_fan_out(format!("{arn}/consumer/nobody:1700000000"));
    let working = shop.work_with(worker, noting().with_state(Seen::default()));
    let error = working.task.await.unwrap().unwrap_err();
    assert!(matches!(error, StreamWorkerError::NoConsumer { .. }), "{error}");
    assert!(error.to_string().contains("register it first"));
}
