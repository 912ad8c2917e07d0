//! As fast as the shards take it, and no faster.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;

/// Events of different keys in the `place`-th of two shards.
fn events(place: usize, count: usize, bytes: usize) -> Vec<Message> {
    let keys = Ground::keys_in(place, 2, count);
    keys.iter().enumerate().map(|(i, key)| message(key, i, bytes)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_written_to_at_its_limits_and_never_refuses() {
    for (messages, seconds) in [(events(0, 4_000, 20), 3.0), (events(0, 400, 10_480), 3.0)] {
        let ground = Ground::new(Kinesis::shards(2)).await;
        let began = Instant::now();
        let report = ground.publisher.publish(&messages).await;
        assert_eq!(report.published(), messages.len());
        let took = began.elapsed().as_secs_f64();
        assert!((seconds * 0.95..seconds + 0.2).contains(&took), "{took} s");
        assert_eq!(ground.records(), messages.len(), "nothing was sent twice");
        // Each answered all of its records, or else there would be more of them.
        assert!(ground.count("PutRecords") <= 40, "{}", ground.count("PutRecords"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_shard_does_not_delay_the_others() {
    let ground = Ground::new(Kinesis::shards(2)).await;
    let (hot, cold) = (events(0, 3_000, 20), events(1, 300, 20));
    let began = Instant::now();
    let messages: Vec<_> = hot.iter().chain(&cold).cloned().collect();
    let other_call = async {
        sleep(Duration::from_millis(900)).await;
        let began = Instant::now();
        ground.publisher.publish(&events(1, 100, 20)).await.into_result().unwrap();
        began.elapsed()
    };
    let (report, other) = tokio::join!(ground.publisher.publish(&messages), other_call);
    assert_eq!(report.published(), 3_300);
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    let landed = ground.landed().await;
    let first = landed.iter().map(|event| event.arrival).min().unwrap();
    for event in landed.iter().filter(|event| event.key.starts_with("1-")).take(300) {
        let after = event.arrival.duration_since(first).unwrap();
        assert!(after < Duration::from_millis(50), "{} waited {after:?}", event.key);
    }
    assert!(other < Duration::from_millis(50), "another call waited {other:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_shard_is_not_overtaken_for_ever() {
    let ground = Ground::new(Kinesis::shards(2)).await;
    ground.publisher.publish(&events(0, 1_000, 20)).await.into_result().unwrap();
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let publisher = ground.publisher.clone();
            tokio::spawn(async move { publisher.publish(&events(0, 2_000, 20)).await.published() })
        })
        .collect();
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    ground.publisher.publish(&events(0, 1, 20)).await.into_result().unwrap();
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    for call in crowd {
        assert_eq!(call.await.unwrap(), 2_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_others_write_to_is_shared() {
    let ground = Ground::new(Kinesis::shards(2)).await;
    let kinesis = ground.kinesis.clone();
    // A neighbour that takes half of it.
    let neighbour = tokio::spawn(async move {
        loop {
            let entry = aws_sdk_kinesis::types::PutRecordsRequestEntry::builder();
            let entry = entry.partition_key("0").explicit_hash_key("0");
            let entry = entry.data(aws_sdk_kinesis::primitives::Blob::new("neighbour/0/"));
            let entries = vec![entry.build().unwrap(); 5];
            let put = kinesis.put_records().stream_name(ground::STREAM).set_records(Some(entries));
            put.send().await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    });
    sleep(Duration::from_secs(2)).await;
    let (began, before) = (Instant::now(), ground.aws.requests());
    for part in events(0, 10_000, 20).chunks(500) {
        assert_eq!(ground.publisher.publish(part).await.published(), 500);
    }
    neighbour.abort();
    let (took, requests) = (began.elapsed(), ground.aws.requests() - before);
    assert!(took < Duration::from_secs(22), "{took:?} for what the other half takes in 20 s");
    assert!(requests < 400, "{requests} requests, most of them refused");
}
