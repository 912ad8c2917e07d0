//! How often and how much is read.

use std::time::Duration;

use fanfare_aws::StreamWorker;
use fanfare_core::{Checkpoint, MemoryLeaseStore};
use fanfare_sim::{Fault, Sim};
use fanfare_topology::Kinesis;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::support::*;

const READ: &str = "GetRecords";

/// Counts the reads in each 10 ms for so long.
fn count(sim: &Sim, time: Duration) -> JoinHandle<Vec<u64>> {
    let sim = sim.clone();
    tokio::spawn(async move {
        let began = Instant::now();
        let (mut counts, mut last) = (Vec::new(), sim.requests().count(READ));
        for tick in 1..=time.as_millis() as u64 / 10 {
            sleep_until(began + Duration::from_millis(tick * 10)).await;
            let now = sim.requests().count(READ);
            counts.push(now - last);
            last = now;
        }
        counts
    })
}

fn most_in_a_second(counts: &[u64]) -> u64 {
    counts.windows(100).map(|second| second.iter().sum()).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_read_at_most_five_times_in_any_second() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    // More than fits into one read's share of the two megabytes that a shard gives in a second.
    for i in 0..10 {
        sleep(seconds(1)).await;
        shop.put(&format!("{i}"), vec![b'x'; 900_000]).await;
    }
    shop.publish_many(9_000).await;
    let seen = Seen::default();
    let counting = count(&shop.sim, seconds(60));
    let working = shop.work(seen.observe(noting().with_state(seen.clone())));
    until(|| seen.outcomes().len() >= 9_010).await;
    let counts = counting.await.unwrap();
    assert_eq!(most_in_a_second(&counts), 5, "{counts:?}");
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_is_read_once_a_second() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let working = shop.work(noting().with_state(Seen::default()));
    sleep(seconds(10)).await;
    let counts = count(&shop.sim, seconds(600)).await.unwrap();
    working.finish().await.unwrap();
    let reads: u64 = counts.iter().sum();
    assert!((595..=601).contains(&reads), "{reads} reads in ten minutes");
    assert!(most_in_a_second(&counts) <= 1);
}

#[tokio::test(start_paused = true)]
async fn throttled_reads_become_rare_and_come_back_slowly() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish_many(100).await;
    for _ in 0..8 {
        shop.sim.inject(READ, Fault::Throttle);
    }
    let seen = Seen::default();
    let counting = count(&shop.sim, seconds(60));
    let working = shop.work(noting().with_state(seen.clone()));
    until(|| seen.len() >= 100).await;
    let counts = counting.await.unwrap();
    let places: Vec<_> =
        counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, _)| i).collect();
    let gaps: Vec<_> = places.windows(2).map(|pair| (pair[1] - pair[0]) * 10).collect();
    for (gap, full) in gaps.iter().zip([400, 800, 1_600, 3_200, 4_000, 4_000]) {
        assert!((full * 3 / 4 - 10..=full * 5 / 4 + 10).contains(gap), "{gaps:?}");
    }
    // The eighth is throttled; those after it are some 4 seconds apart.
    assert!((3_000..=5_000).contains(&gaps[7]), "{gaps:?}");
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn failed_reads_and_expired_iterators_lose_and_repeat_nothing() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let faults = [
        Fault::ExpireIterator,
        Fault::ServerError,
        Fault::LoseAnswer,
        Fault::BreakConnection,
        Fault::Hang,
        Fault::ExpireIterator,
    ];
    for fault in faults.iter().cycle().take(60) {
        shop.sim.inject(READ, fault.clone());
        shop.sim.inject("GetShardIterator", fault.clone());
    }
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    for i in 0..30 {
        shop.publish(i * 10, &["a", "b", "c", "d", "e", "a", "b", "c", "d", "e"]).await;
        sleep(seconds(20)).await;
    }
    until(|| seen.len() >= 300).await;
    sleep(seconds(60)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..300).collect::<Vec<_>>());
    seen.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_full_window_stops_reading_and_it_goes_on_where_it_stopped() {
    let shop = Shop::new(Kinesis::shards(1).aggregated()).await;
    let events: Vec<_> = (0..25_000).map(|i| order(format!("key-{}", i % 5_000), i)).collect();
    for events in events.chunks(2_500) {
        shop.orders().emit_all(events.to_vec()).await.unwrap().into_result().unwrap();
    }
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.event.number {
        0 => Act::Take(seconds(1_000)),
        _ => Act::Succeed,
    });
    let working = shop.work(consumer);
    until(|| seen.len() >= 1).await;
    sleep(seconds(300)).await;
    let (reads, handled) = (shop.sim.requests().count(READ), seen.len());
    // What is behind the first, less what waits with its key.
    assert!((9_990..=10_000).contains(&handled), "{handled}");
    assert_eq!(shop.checkpoint(0).await, Checkpoint::Oldest);
    // The iterator expires meanwhile.
    sleep(seconds(400)).await;
    assert_eq!((shop.sim.requests().count(READ), seen.len()), (reads, handled));
    until(|| seen.len() >= 25_000).await;
    sleep(seconds(10)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..25_000).collect::<Vec<_>>());
    seen.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_window_is_full_by_bytes_too() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["slow"]).await;
    for i in 0..25 {
        sleep(seconds(1)).await;
        shop.put(&format!("{i}"), vec![b'x'; 1_000_000]).await;
    }
    let seen = Seen::default();
    let consumer = scripted(&seen, |_| Act::Take(seconds(600)));
    let working = shop.work(seen.observe(consumer));
    sleep(seconds(300)).await;
    // Big ones are no events, and are parked at once.
    let handled = seen.outcomes().len();
    assert!((16..=18).contains(&handled), "{handled} megabytes are ahead of what is not done");
    until(|| seen.outcomes().len() == 26).await;
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn eight_services_share_what_a_shard_gives() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let services: Vec<_> = (0..8)
        .map(|i| {
            let stream = shop.aws.stream(&shop.bindings, &format!("service-{i}"), "orders");
            let worker = StreamWorker::new(stream, MemoryLeaseStore::default());
            let seen = Seen::default();
            (shop.work_with(worker, noting().with_state(seen.clone())), seen)
        })
        .collect();
    let before = shop.sim.requests().count(READ);
    let began = Instant::now();
    for second in 0..120 {
        shop.publish(second * 4, &["a", "b", "a", "c"]).await;
        sleep(seconds(1)).await;
    }
    let a_second =
        (shop.sim.requests().count(READ) - before) as f64 / began.elapsed().as_secs_f64();
    // Five are served; who is refused comes again later, not sooner.
    assert!((4.5..8.0).contains(&a_second), "{a_second} reads a second");
    for (i, (working, seen)) in services.into_iter().enumerate() {
        assert!(seen.len() > 4 * 110, "service {i} has {} of 480", seen.len());
        until(|| seen.len() == 480).await;
        working.finish().await.unwrap();
        seen.assert_in_order();
    }
}
