//! What a stream is for: records go in and come out, in order, also over a split.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};
use fanfare_sim::{Fault, RandomFaults};

use super::common::{Kinesis, shard, texts};
use crate::common::code;

#[tokio::test(start_paused = true)]
async fn a_stream_is_active_after_a_while_and_not_before() {
    let kinesis = Kinesis::new();
    kinesis.client.create_stream().stream_name("s").shard_count(2).send().await.unwrap();
    let describe = || async {
        let output = kinesis.client.describe_stream_summary().stream_name("s").send().await;
        let summary = output.unwrap().stream_description_summary.unwrap();
        (summary.stream_status, summary.open_shard_count)
    };
    assert_eq!(describe().await, (StreamStatus::Creating, 2));
    let put = kinesis.client.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    assert_eq!(code(put.send().await), "ResourceNotFoundException");
    kinesis.settle().await;
    assert_eq!(describe().await, (StreamStatus::Active, 2));
}

#[tokio::test(start_paused = true)]
async fn records_are_answered_by_position_and_read_in_order() {
    let kinesis = Kinesis::with_shards(2).await;
    let put = kinesis.put(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]).await;
    assert_eq!(put.failed_record_count(), Some(0));
    let stored = kinesis.sim.stream_records("s");
    for (result, data) in put.records().iter().zip(["1", "2", "3", "4"]) {
        let number = result.sequence_number().unwrap();
        let record = stored.iter().find(|record| record.sequence_number == number).unwrap();
        assert_eq!(record.data, data);
        assert_eq!(Some(record.shard_id.as_str()), result.shard_id());
    }
    // MD5 of "a" begins with 0c, that of "b" with 92.
    assert_eq!(texts(&kinesis.read(&shard(0)).await), ["1", "3"]);
    assert_eq!(texts(&kinesis.read(&shard(1)).await), ["2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_split_shard_ends_and_names_its_children() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("a", "1"), ("b", "2")]).await;
    kinesis.split(&shard(0)).await;
    kinesis.put(&[("a", "3"), ("b", "4")]).await;
    let iterator = kinesis.iterator(&shard(0), ShardIteratorType::TrimHorizon).await;
    let end = kinesis.get(&iterator).await;
    assert_eq!(texts(end.records()), ["1", "2"]);
    assert_eq!(end.next_shard_iterator(), None);
    let children: Vec<&str> = end.child_shards().iter().map(|child| child.shard_id()).collect();
    assert_eq!(children, [shard(1), shard(2)]);
    assert_eq!(texts(&kinesis.read(&shard(1)).await), ["3"]);
    assert_eq!(texts(&kinesis.read(&shard(2)).await), ["4"]);
    kinesis.merge(&shard(1), &shard(2)).await;
    let shards = kinesis.shards().await;
    let merged = shards.last().unwrap();
    assert_eq!(merged.parent_shard_id(), Some(shard(1).as_str()));
    assert_eq!(merged.adjacent_parent_shard_id(), Some(shard(2).as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_record_fails_alone_and_a_later_one_of_its_key_does_not() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.sim.inject("PutRecords", Fault::FailEntry(0));
    let put = kinesis.put(&[("a", "1"), ("a", "2")]).await;
    assert_eq!(put.failed_record_count(), Some(1));
    assert_eq!(put.records()[0].error_code(), Some("InternalFailure"));
    assert_eq!(texts(&kinesis.read(&shard(0)).await), ["2"]);
    kinesis.sim.set_faults(Some(RandomFaults { fail_entry: 0.5, ..RandomFaults::default() }));
    let put = kinesis.put(&[("a", "x"); 100]).await;
    let failed = put.failed_record_count().unwrap();
    assert!((30..70).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_those_of_kinesis() {
    let kinesis = Kinesis::with_shards(1).await;
    let put =
        || kinesis.client.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    kinesis.sim.inject("PutRecord", Fault::Throttle);
    assert_eq!(code(put().send().await), "ProvisionedThroughputExceededException");
    kinesis.sim.inject("PutRecord", Fault::ServerError);
    assert_eq!(code(put().send().await), "InternalFailure");
    kinesis.sim.inject("ListShards", Fault::Throttle);
    let list = kinesis.client.list_shards().stream_name("s").send().await;
    assert_eq!(code(list), "LimitExceededException");
    let iterator = kinesis.iterator(&shard(0), ShardIteratorType::Latest).await;
    kinesis.sim.inject("GetRecords", Fault::ExpireIterator);
    let get = kinesis.client.get_records().shard_iterator(&iterator).send().await;
    assert_eq!(code(get), "ExpiredIteratorException");
    assert!(kinesis.get(&iterator).await.records().is_empty());
    assert!(kinesis.sim.stream_records("s").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_records() {
    let kinesis = Kinesis::with_shards(1).await;
    let mut changes = kinesis.sim.changes();
    changes.mark_unchanged();
    kinesis.sim.inject("PutRecords", Fault::LoseAnswer);
    let entries = Some(vec![super::common::entry("a", b"1")]);
    let put = kinesis.client.put_records().stream_name("s").set_records(entries).send().await;
    assert_eq!(code(put), "dispatch failure");
    assert_eq!(kinesis.sim.stream_records("s").len(), 1);
    changes.changed().await.unwrap();
}
