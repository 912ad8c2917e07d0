//! How fast a shard may be used, and what refusals leave behind.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use tokio::time::sleep;

use super::common::{Kinesis, entry, shard};
use crate::common::{code, seconds};

const MIB: usize = 1_048_576;
const THROTTLED: &str = "ProvisionedThroughputExceededException";

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_thousand_records_at_once_and_then_a_thousand_a_second() {
    let kinesis = Kinesis::with_shards(1).await;
    let put = || async { kinesis.put(&[("k", "x"); 500]).await.failed_record_count().unwrap() };
    assert_eq!((put().await, put().await, put().await), (0, 0, 500));
    sleep(std::time::Duration::from_millis(100)).await;
    let output = kinesis.put(&[("k", "x"); 500]).await;
    assert_eq!(output.failed_record_count(), Some(400));
    let failed = output.records().last().unwrap();
    assert_eq!(failed.error_code(), Some(THROTTLED));
    assert_eq!(
        failed.error_message(),
        Some(
            "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000."
        )
    );
    assert!(failed.sequence_number().is_none() && failed.shard_id().is_none());
    let put = kinesis.client.put_record().stream_name("s").partition_key("k");
    assert_eq!(code(put.data(Blob::new("x")).send().await), THROTTLED);
    assert_eq!(kinesis.sim.stream_records("s").len(), 1_100);
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_mebibyte_a_second_and_a_small_record_after_a_large_one_failed() {
    let kinesis = Kinesis::with_shards(1).await;
    let half = vec![0; MIB / 2 - 1];
    let entries = vec![entry("k", &half), entry("k", &half), entry("k", &half), entry("k", b"")];
    let put = kinesis.client.put_records().stream_name("s").set_records(Some(entries));
    let output = put.send().await.unwrap();
    let failed: Vec<bool> = output.records().iter().map(|r| r.error_code().is_some()).collect();
    // Each record is half a mebibyte with its key; the last is its key alone.
    assert_eq!(failed, [false, false, true, true]);
    sleep(std::time::Duration::from_millis(1)).await;
    let entries = vec![entry("k", &half), entry("k", b"")];
    let put = kinesis.client.put_records().stream_name("s").set_records(Some(entries));
    let output = put.send().await.unwrap();
    let failed: Vec<bool> = output.records().iter().map(|r| r.error_code().is_some()).collect();
    assert_eq!(failed, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn shards_have_limits_of_their_own() {
    let kinesis = Kinesis::with_shards(2).await;
    let (a, b) = ([("a", "x"); 500], [("b", "x"); 500]);
    for entries in [&a, &a, &b, &b] {
        assert_eq!(kinesis.put(entries).await.failed_record_count(), Some(0));
    }
    assert_eq!(kinesis.put(&a).await.failed_record_count(), Some(500));
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_read_five_times_a_second() {
    let kinesis = Kinesis::with_shards(1).await;
    let iterator = kinesis.iterator(&shard(0), ShardIteratorType::TrimHorizon).await;
    let get = || kinesis.client.get_records().shard_iterator(&iterator).send();
    for _ in 0..5 {
        get().await.unwrap();
    }
    assert_eq!(code(get().await), THROTTLED);
    sleep(std::time::Duration::from_millis(200)).await;
    get().await.unwrap();
    assert_eq!(code(get().await), THROTTLED);
    let iterator = || {
        let get = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
        get.shard_iterator_type(ShardIteratorType::Latest).send()
    };
    sleep(seconds(1)).await;
    for _ in 0..5 {
        iterator().await.unwrap();
    }
    assert_eq!(code(iterator().await), THROTTLED);
}

#[tokio::test(start_paused = true)]
async fn ten_mebibytes_at_once_keep_readers_out_for_five_seconds() {
    let kinesis = Kinesis::with_shards(1).await;
    let data = vec![7; MIB - 1];
    for _ in 0..12 {
        let entries = Some(vec![entry("k", &data)]);
        let put = kinesis.client.put_records().stream_name("s").set_records(entries);
        assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
        sleep(seconds(1)).await;
    }
    let iterator = kinesis.iterator(&shard(0), ShardIteratorType::TrimHorizon).await;
    let first = kinesis.get(&iterator).await;
    assert_eq!(first.records().len(), 10);
    assert_eq!(first.millis_behind_latest(), Some(3_000));
    let next = first.next_shard_iterator().unwrap();
    let get = || kinesis.client.get_records().shard_iterator(next).send();
    assert_eq!(code(get().await), THROTTLED);
    sleep(std::time::Duration::from_millis(4_990)).await;
    assert_eq!(code(get().await), THROTTLED);
    sleep(std::time::Duration::from_millis(10)).await;
    let second = get().await.unwrap();
    assert_eq!((second.records().len(), second.millis_behind_latest()), (2, Some(0)));
    // Two mebibytes are a second's worth; the bucket is empty, and anything in it is enough.
    assert_eq!(code(get().await), THROTTLED);
    sleep(std::time::Duration::from_millis(200)).await;
    get().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_manages_streams_may_be_called_so_often() {
    let kinesis = Kinesis::new();
    let list = || kinesis.client.list_streams().send();
    for _ in 0..5 {
        list().await.unwrap();
    }
    assert_eq!(code(list().await), "LimitExceededException");
    sleep(std::time::Duration::from_millis(200)).await;
    list().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn five_streams_are_made_at_a_time() {
    let kinesis = Kinesis::new();
    let create =
        |n: u32| kinesis.client.create_stream().stream_name(format!("s-{n}")).shard_count(1);
    for n in 0..5 {
        create(n).send().await.unwrap();
    }
    // The rate would allow one again.
    sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(code(create(5).send().await), "LimitExceededException");
    sleep(seconds(1)).await;
    create(5).send().await.unwrap();
}
