//! What is sent: requests, records, keys.

use super::*;

async fn publish(ground: &Ground, messages: &[Message]) -> PublishReport {
    ground.publisher.publish(messages).await
}

#[tokio::test(start_paused = true)]
async fn five_hundred_events_take_one_request_and_a_thousand_take_two() {
    for (events, requests) in [(500, 1), (1_000, 2)] {
        let ground = Ground::new(Kinesis::shards(4)).await;
        let before = (ground.aws.requests(), ground.count("ListShards"));
        let messages: Vec<_> = (0..events).map(|i| message(&format!("o-{i}"), i, 300)).collect();
        assert_eq!(publish(&ground, &messages).await.published(), events);
        assert_eq!(ground.count("PutRecords"), requests);
        assert_eq!(ground.count("ListShards") - before.1, 1, "asked for once");
        assert_eq!(ground.aws.requests() - before.0, requests + 1);
        assert_eq!(ground.records(), events);
        publish(&ground, &messages[..1]).await.into_result().unwrap();
        assert_eq!(ground.aws.requests() - before.0, requests + 2, "and then known");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_cut_by_bytes_too() {
    let ground = Ground::new(Kinesis::shards(32)).await;
    let key = |shard| Ground::keys_in(shard, 32, 1).remove(0);
    let messages: Vec<_> = (0..24).map(|i| message(&key(i), i, 900_000)).collect();
    publish(&ground, &messages).await.into_result().unwrap();
    assert_eq!(ground.count("PutRecords"), 3, "eleven of 900 kB fit into 10 MiB");
    assert_eq!(ground.records(), 24);
}

#[tokio::test(start_paused = true)]
async fn the_largest_record_counts_with_its_key() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    let report =
        publish(&ground, &[message("key", 0, 1_048_573), message("k2", 1, 1_048_575)]).await;
    assert_eq!(report.outcomes()[0], Ok(()));
    assert_eq!(
        report.outcomes()[1].as_ref().unwrap_err().to_string(),
        "shop.orders.OrderPlaced.v1 is not sent: its size with partition key is 1048577, over the limit of 1048576 bytes: give the publisher a claim check (ClaimCheckPublisher)"
    );
}

#[tokio::test(start_paused = true)]
async fn aggregated_a_thousand_small_events_are_a_twentieth_of_the_records() {
    let ground = Ground::new(Kinesis::shards(2).aggregated()).await;
    let messages: Vec<_> = (0..1_000).map(|i| message(&format!("o-{i}"), i, 300)).collect();
    publish(&ground, &messages).await.into_result().unwrap();
    assert_eq!((ground.records(), ground.count("PutRecords")), (7, 1));
    assert_eq!(ground.landed().await.len(), 1_000);
    for record in ground.sim.stream_records(ground::STREAM) {
        assert!(record.data.len() <= 51_200);
    }
}

#[tokio::test(start_paused = true)]
async fn aggregated_keys_that_repeat_keep_their_order() {
    let ground = Ground::new(Kinesis::shards(2).aggregated()).await;
    let messages: Vec<_> = (0..1_000).map(|i| message(&format!("o-{}", i % 100), i, 300)).collect();
    publish(&ground, &messages).await.into_result().unwrap();
    assert!(ground.records() <= 10, "{}", ground.records());
    for (key, numbers) in ground.by_key().await {
        assert!(numbers.is_sorted() && numbers.len() == 10, "{key}: {numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn aggregated_many_events_of_one_key_share_a_record() {
    let ground = Ground::new(Kinesis::shards(2).aggregated()).await;
    let messages: Vec<_> = (0..400).map(|i| message("o-1", i, 300)).collect();
    publish(&ground, &messages).await.into_result().unwrap();
    assert_eq!(ground.count("PutRecords"), 3, "one after another, of up to 50 KiB");
    assert_eq!(ground.by_key().await["o-1"], (0..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn aggregated_a_large_event_and_a_single_one_go_as_they_are() {
    let ground = Ground::new(Kinesis::shards(1).aggregated()).await;
    let messages =
        [message("a", 0, 300), message("b", 1, 60_000), message("a", 2, 300), message("b", 3, 300)];
    publish(&ground, &messages).await.into_result().unwrap();
    let mut plain: Vec<_> = ground
        .sim
        .stream_records(ground::STREAM)
        .into_iter()
        .filter(|record| record.data.starts_with(b"b"))
        .map(|record| (record.partition_key, record.data.len()))
        .collect();
    plain.sort();
    assert_eq!(plain, [("b".into(), 300), ("b".into(), 60_000)]);
    assert_eq!(ground.records(), 3);
    assert_eq!(ground.by_key().await["b"], [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_partition_key_is_the_key_or_a_hash_of_it_or_the_id() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    let long = "x".repeat(257);
    let messages = [message("schlüssel 1", 0, 20), message(&long, 1, 20), message("", 2, 20)];
    publish(&ground, &messages).await.into_result().unwrap();
    let records = ground.sim.stream_records(ground::STREAM);
    let keys: Vec<_> = records.iter().map(|record| record.partition_key.as_str()).collect();
    assert_eq!((keys[0], keys[2]), ("schlüssel 1", "id-2"));
    assert!(keys[1].starts_with("sha256:"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_order_and_a_call_may_mix_carriers() {
    use fanfare_topology::{Kind, Topology};
    let ground = Ground::new(Kinesis::shards(1)).await;
    assert!(ground.publisher.keeps_order(&Destination::Topic("orders".into())));
    assert!(!ground.publisher.keeps_order(&Destination::Topic("others".into())));
    let others = Topology::new("shop").topic("others", Kind::Standard);
    fanfare_aws::provision(&ground.aws, &others).await.unwrap();
    let mut other = message("o", 1, 20);
    other.destination = Destination::Topic("others".into());
    let report = publish(&ground, &[message("o", 0, 20), other, message("o", 2, 20)]).await;
    assert_eq!(report.published(), 3);
    assert_eq!((ground.records(), ground.count("PublishBatch")), (2, 1));
}
