//! What waits for what.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_aws::Hold;
use fanfare_core::{Delivery, HandlerError, Retry, Router};
use fanfare_topology::Kinesis;
use tokio::time::{Instant, sleep};

use crate::support::*;

/// When a number was handled for the last time.
fn at(seen: &Seen, number: usize) -> Instant {
    seen.calls().iter().rfind(|call| call.number == number).unwrap().at
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_waits_with_its_key_while_others_go_on() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a", "b", "a", "c", "b", "a"]).await;
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.metadata.attempt {
        1 | 2 if order.event.number == 0 => Act::RetryAfter(seconds(60)),
        _ => Act::Succeed,
    });
    let began = Instant::now();
    let working = shop.work(consumer);
    until(|| seen.len() >= 8).await;
    sleep(seconds(300)).await;
    working.finish().await.unwrap();
    let calls: Vec<_> = seen.calls().iter().map(|call| (call.number, call.attempt)).collect();
    assert_eq!(calls.len(), 8, "{calls:?}");
    assert_eq!(calls[5..], [(0, 3), (2, 1), (5, 1)].map(|call| call), "{calls:?}");
    for other in [1, 3, 4] {
        assert!(at(&seen, other) - began < seconds(5), "{other} did not wait");
    }
    for of_key in [0, 2, 5] {
        let waited = at(&seen, of_key) - began;
        assert!((120..125).contains(&waited.as_secs()), "{of_key}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_shard_waits_where_it_is_held_and_other_shards_go_on() {
    let shop = Shop::new(Kinesis::shards(2)).await;
    // In the lower shard and in the upper.
    let [lower, upper] = [0, 1].map(|shard| {
        let keys = (0..).map(|i| format!("key-{i}"));
        let mut keys = keys.filter(move |key| fanfare_kpl::hash_key(key) >> 127 == shard);
        [keys.next().unwrap(), keys.next().unwrap()]
    });
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.metadata.attempt {
        1..=3 if order.event.number == 0 => Act::RetryAfter(seconds(60)),
        _ => Act::Succeed,
    });
    let working = shop.work_with(shop.worker().hold(Hold::Shard), consumer);
    let began = Instant::now();
    shop.publish(0, &[&lower[0]]).await;
    until(|| seen.len() >= 1).await;
    shop.publish(1, &[&lower[1], &lower[0], &upper[0], &upper[1]]).await;
    until(|| seen.len() >= 8).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0, 0, 0, 0, 1, 2, 3, 4]);
    for (number, waits) in [(1, true), (2, true), (3, false), (4, false)] {
        let waited = at(&seen, number) - began;
        assert_eq!(waited > seconds(170), waits, "{number}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_holds_up_its_key_alone() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let keys: Vec<_> = (0..300).map(|i| format!("key-{}", i % 100)).collect();
    shop.publish(0, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.event.number {
        0 | 1 => Act::Take(seconds(600)),
        _ => Act::Succeed,
    });
    let began = Instant::now();
    // Three slots, of which the slow ones take two.
    let working = shop.work_with(shop.worker().concurrency(3), consumer);
    until(|| seen.len() >= 296).await;
    assert!(began.elapsed() < seconds(30), "{:?}", began.elapsed());
    until(|| seen.len() >= 300).await;
    assert!(began.elapsed() >= seconds(600), "{:?}", began.elapsed());
    working.finish().await.unwrap();
    seen.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn no_more_deliveries_are_in_handlers_than_may_be_over_all_shards() {
    let shop = Shop::new(Kinesis::shards(4)).await;
    shop.publish_many(400).await;
    let (running, most, done) = <[Arc<AtomicUsize>; 3]>::default().into();
    let handler = {
        let (running, most, done) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&done));
        move |_: Delivery<OrderPlaced>| {
            let (running, most, done) =
                (Arc::clone(&running), Arc::clone(&most), Arc::clone(&done));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(seconds(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                Ok::<_, HandlerError>(())
            }
        }
    };
    let router: Router = Router::new("products").on(handler);
    let began = Instant::now();
    let working = shop.work_with(shop.worker().concurrency(25), router);
    until(|| done.load(Ordering::SeqCst) == 400).await;
    working.finish().await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 25);
    assert!(began.elapsed() < seconds(25), "all slots are used: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failing_event_comes_again_later_and_later() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a"]).await;
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.metadata.attempt {
        1..=5 => Act::Retry,
        _ => Act::Succeed,
    });
    let consumer = consumer.retry(Retry::exponential(seconds(4), seconds(60)));
    let working = shop.work(consumer);
    until(|| seen.len() >= 6).await;
    working.finish().await.unwrap();
    let calls = seen.calls();
    let gaps: Vec<_> = calls.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs()).collect();
    for (gap, full) in gaps.iter().zip([4, 8, 16, 32, 60]) {
        assert!((full / 2..=full + 1).contains(gap), "{gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_keys_with_failures_keep_their_orders_at_any_concurrency() {
    for (seed, concurrency) in [(1, 1), (2, 7), (3, 100)] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shop = Shop::new(Kinesis::shards(2).aggregated()).await;
        let keys: Vec<_> = (0..1_000).map(|_| format!("key-{}", rng.u8(..30))).collect();
        shop.publish(0, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let seen = Seen::default();
        let done = Seen::default();
        let handled = done.clone();
        let consumer = scripted(&seen, move |order| {
            // Each event fails as often as its number says, and takes its time.
            if order.metadata.attempt <= [0, 0, 0, 0, 0, 0, 0, 1, 0, 3][order.event.number % 10] {
                return Act::Retry;
            }
            handled.note(order);
            Act::Take(Duration::from_millis(order.event.number as u64 * 7 % 50))
        });
        let consumer = consumer.retry(Retry::exponential(Duration::from_millis(100), seconds(1)));
        let working = shop.work_with(shop.worker().concurrency(concurrency), consumer);
        until(|| done.len() >= 1_000).await;
        sleep(seconds(10)).await;
        working.finish().await.unwrap();
        assert_eq!(done.numbers(), (0..1_000).collect::<Vec<_>>(), "seed {seed}");
        done.assert_in_order();
        // Also no attempt of a later one is made before an earlier one is done.
        seen.assert_in_order();
    }
}
