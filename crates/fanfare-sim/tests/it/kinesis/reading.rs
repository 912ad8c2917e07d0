//! Iterators, positions, retention.

use std::time::SystemTime;

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use tokio::time::sleep;

use super::common::{Kinesis, shard, texts};
use crate::common::{code, seconds};

const HOUR: u64 = 3_600;

#[tokio::test(start_paused = true)]
async fn an_iterator_is_good_for_five_minutes() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1")]).await;
    let iterator = kinesis.iterator(&shard(0), ShardIteratorType::TrimHorizon).await;
    sleep(seconds(300)).await;
    let next = kinesis.get(&iterator).await.next_shard_iterator.unwrap();
    sleep(std::time::Duration::from_millis(1)).await;
    let get = kinesis.client.get_records().shard_iterator(&iterator).send().await;
    assert_eq!(code(get), "ExpiredIteratorException");
    kinesis.get(&next).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_is_kept_for_the_retention_period_and_a_longer_one_brings_nothing_back() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "old")]).await;
    sleep(seconds(HOUR)).await;
    kinesis.put(&[("k", "new")]).await;
    sleep(seconds(23 * HOUR - 3)).await;
    assert_eq!(texts(&kinesis.read(&shard(0)).await), ["old", "new"]);
    sleep(seconds(3)).await;
    let increase = kinesis.client.increase_stream_retention_period().stream_name("s");
    increase.retention_period_hours(48).send().await.unwrap();
    kinesis.settle().await;
    assert_eq!(texts(&kinesis.read(&shard(0)).await), ["new"]);
    sleep(seconds(24 * HOUR)).await;
    assert_eq!(texts(&kinesis.read(&shard(0)).await), ["new"]);
    let decrease = kinesis.client.decrease_stream_retention_period().stream_name("s");
    decrease.retention_period_hours(24).send().await.unwrap();
    assert!(kinesis.sim.stream_records("s").is_empty());
    let too_short = kinesis.client.decrease_stream_retention_period().stream_name("s");
    kinesis.settle().await;
    let refused = too_short.retention_period_hours(23).send().await;
    assert_eq!(code(refused), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_place_goes_on_with_the_oldest_record() {
    let kinesis = Kinesis::with_shards(1).await;
    let put = kinesis.put(&[("k", "1"), ("k", "2")]).await;
    let number = put.records()[0].sequence_number().unwrap().to_owned();
    sleep(seconds(24 * HOUR)).await;
    kinesis.put(&[("k", "3")]).await;
    let at = |kind: ShardIteratorType| {
        let get = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
        get.shard_iterator_type(kind).starting_sequence_number(&number).send()
    };
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        let iterator = at(kind).await.unwrap().shard_iterator.unwrap();
        assert_eq!(texts(kinesis.get(&iterator).await.records()), ["3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_iterator_passes_over_what_is_trimmed_before_it_is_used() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1"), ("k", "2")]).await;
    sleep(seconds(24 * HOUR - 10)).await;
    kinesis.put(&[("k", "3"), ("k", "4")]).await;
    let mut iterator = kinesis.iterator(&shard(0), ShardIteratorType::TrimHorizon).await;
    sleep(seconds(10)).await;
    for expected in ["3", "4"] {
        let get = kinesis.client.get_records().shard_iterator(&iterator).limit(1);
        let output = get.send().await.unwrap();
        assert_eq!(texts(output.records()), [expected]);
        iterator = output.next_shard_iterator.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_goes_on_until_its_last_record_was_read() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1"), ("k", "2")]).await;
    kinesis.split(&shard(0)).await;
    let iterator = kinesis.iterator(&shard(0), ShardIteratorType::TrimHorizon).await;
    let get =
        |iterator: String| kinesis.client.get_records().shard_iterator(iterator).limit(1).send();
    let first = get(iterator).await.unwrap();
    assert_eq!((texts(first.records()), first.child_shards().len()), (vec!["1"], 0));
    let second = get(first.next_shard_iterator.unwrap()).await.unwrap();
    assert_eq!((texts(second.records()), second.child_shards().len()), (vec!["2"], 2));
    assert_eq!(second.next_shard_iterator(), None);
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_is_a_place_to_the_millisecond() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1")]).await;
    sleep(std::time::Duration::from_millis(7)).await;
    kinesis.put(&[("k", "2")]).await;
    sleep(seconds(1)).await;
    // The SDK reads the arrival from a float, and may be a millisecond off.
    let records = kinesis.sim.stream_records("s");
    let arrival = |n: usize| {
        let since_1970 = records[n].arrival.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(since_1970.as_millis()).unwrap()
    };
    let (first, second) = (arrival(0), arrival(1));
    for (at, expected) in
        [(first, &["1", "2"][..]), (first + 1, &["2"]), (second, &["2"]), (second + 1, &[])]
    {
        let get = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
        let get = get.shard_iterator_type(ShardIteratorType::AtTimestamp);
        let iterator = get.timestamp(DateTime::from_millis(at)).send().await.unwrap();
        let output = kinesis.get(iterator.shard_iterator().unwrap()).await;
        assert_eq!(texts(output.records()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_listed_until_its_records_are_gone() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1")]).await;
    kinesis.split(&shard(0)).await;
    assert_eq!(kinesis.shards().await.len(), 3);
    sleep(seconds(24 * HOUR)).await;
    let shards = kinesis.shards().await;
    let ids: Vec<&str> = shards.iter().map(|shard| shard.shard_id()).collect();
    assert_eq!(ids, [shard(1), shard(2)]);
    assert_eq!(shards[0].parent_shard_id(), Some(shard(0).as_str()));
    let iterator = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    assert_eq!(code(iterator), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn positions_that_are_none_are_refused() {
    let kinesis = Kinesis::with_shards(2).await;
    let put = kinesis.put(&[("a", "1"), ("b", "2")]).await;
    let number = |n: usize| put.records()[n].sequence_number().unwrap().to_owned();
    let foreign = number(0).replacen("49", "48", 1);
    let get = |kind: ShardIteratorType, number: Option<String>| {
        let get = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
        get.shard_iterator_type(kind).set_starting_sequence_number(number).send()
    };
    use ShardIteratorType::{AfterSequenceNumber, AtSequenceNumber, AtTimestamp, Latest};
    for (kind, number, expected) in [
        (AtSequenceNumber, Some(number(1)), "InvalidArgumentException"), // of the other shard
        (AtSequenceNumber, Some(foreign), "InvalidArgumentException"),
        (AtSequenceNumber, Some("5".to_owned()), "InvalidArgumentException"),
        (AtSequenceNumber, Some("five".to_owned()), "ValidationException"),
        (AfterSequenceNumber, None, "InvalidArgumentException"),
        (AtTimestamp, None, "InvalidArgumentException"),
        (Latest, Some(number(0)), "InvalidArgumentException"),
        ("NEVER".into(), None, "ValidationException"),
    ] {
        let (was, outcome) = (format!("{kind:?}"), code(get(kind, number).await));
        assert_eq!(outcome, expected, "{was}");
        sleep(seconds(1)).await;
    }
    let wrong_shard =
        get(AtSequenceNumber, Some(number(1))).await.unwrap_err().into_service_error();
    let why = "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a \
               call to a shard with shardId-000000000000";
    assert_eq!(wrong_shard.meta().message(), Some(why));
    let get = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
    let future = DateTime::from_secs(4_000_000_000);
    let get = get.shard_iterator_type(AtTimestamp).timestamp(future).send().await;
    assert_eq!(code(get), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn a_closed_shards_last_number_is_a_place_and_latest_is_its_end() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1")]).await;
    kinesis.split(&shard(0)).await;
    let range = kinesis.shards().await[0].sequence_number_range.clone().unwrap();
    let at = |kind: ShardIteratorType, number: Option<&str>| {
        let get = kinesis.client.get_shard_iterator().stream_name("s").shard_id(shard(0));
        let get =
            get.shard_iterator_type(kind).set_starting_sequence_number(number.map(Into::into));
        async move { get.send().await.unwrap().shard_iterator.unwrap() }
    };
    let start = at(ShardIteratorType::AtSequenceNumber, Some(range.starting_sequence_number()));
    assert_eq!(texts(kinesis.get(&start.await).await.records()), ["1"]);
    let end = range.ending_sequence_number();
    for (kind, number) in [
        (ShardIteratorType::AtSequenceNumber, end),
        (ShardIteratorType::AfterSequenceNumber, end),
        (ShardIteratorType::Latest, None),
    ] {
        let output = kinesis.get(&at(kind, number).await).await;
        assert!(output.records().is_empty() && output.next_shard_iterator().is_none());
        assert_eq!(output.child_shards().len(), 2);
    }
}
