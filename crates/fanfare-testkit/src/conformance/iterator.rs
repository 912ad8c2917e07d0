//! Reading: where iterators begin, how long they last, how often a shard is read.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;

use super::aws::{Aws, refused, refused_by_one};
use super::kinesis::{NEWEST, OLDEST, shard, texts};

const INVALID: &str = "InvalidArgumentException";
const AT: ShardIteratorType = ShardIteratorType::AtSequenceNumber;
const AFTER: ShardIteratorType = ShardIteratorType::AfterSequenceNumber;

pub(super) async fn trim_horizon_begins_with_the_oldest_record(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "1"), ("k", "2")]).await?;
    let records = stream.read_on(stream.iterator(&shard(0), OLDEST).await?, 2).await?;
    ensure!(texts(&records) == ["1", "2"], "{records:?}");
    Ok(())
}

pub(super) async fn latest_begins_behind_the_newest_record(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "1")]).await?;
    let iterator = stream.iterator(&shard(0), NEWEST).await?;
    stream.put(&[("k", "2")]).await?;
    let records = stream.read_on(iterator, 1).await?;
    ensure!(texts(&records) == ["2"], "{records:?}");
    Ok(())
}

pub(super) async fn a_sequence_number_is_begun_at_or_after(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let put = stream.put(&[("k", "1"), ("k", "2"), ("k", "3")]).await?;
    let number = put.records()[1].sequence_number().context("no sequence number")?;
    let iterator = stream.iterator_at(&shard(0), AT, number).await?;
    let records = stream.read_on(iterator, 2).await?;
    ensure!(texts(&records) == ["2", "3"], "{records:?}");
    let iterator = stream.iterator_at(&shard(0), AFTER, number).await?;
    let records = stream.read_on(iterator, 1).await?;
    ensure!(texts(&records) == ["3"], "{records:?}");
    Ok(())
}

pub(super) async fn a_timestamp_begins_with_the_first_record_since(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "1")]).await?;
    aws.advance(Duration::from_millis(1_500)).await;
    stream.put(&[("k", "2")]).await?;
    let second = stream.read(&shard(0), 2).await?.pop().context("no record")?;
    let arrival = second.approximate_arrival_timestamp.context("no arrival")?;
    let get = aws.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard(0));
    // A whole second between the two.
    let get = get.shard_iterator_type(ShardIteratorType::AtTimestamp);
    let get = get.timestamp(DateTime::from_secs(arrival.secs()));
    let iterator = get.send().await?.shard_iterator.context("no iterator")?;
    let records = stream.read_on(iterator, 1).await?;
    ensure!(texts(&records) == ["2"], "{records:?}");
    Ok(())
}

pub(super) async fn an_iterator_behind_the_last_record_sees_the_next(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "1")]).await?;
    let first = stream.get(&stream.iterator(&shard(0), OLDEST).await?).await?;
    ensure!(texts(first.records()) == ["1"] && first.millis_behind_latest() == Some(0));
    let next = first.next_shard_iterator().context("no next iterator")?;
    let empty = stream.get(next).await?;
    ensure!(empty.records().is_empty(), "{empty:?}");
    stream.put(&[("k", "2")]).await?;
    // Either goes on where it stopped.
    for iterator in [next, empty.next_shard_iterator().context("no next iterator")?] {
        let records = stream.read_on(iterator.to_owned(), 1).await?;
        ensure!(texts(&records) == ["2"], "{records:?}");
    }
    Ok(())
}

pub(super) async fn a_read_returns_as_many_records_as_asked(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "1"), ("k", "2"), ("k", "3")]).await?;
    let iterator = stream.iterator(&shard(0), OLDEST).await?;
    let get = |limit: i32| aws.kinesis.get_records().shard_iterator(&iterator).limit(limit).send();
    let two = get(2).await?;
    ensure!(texts(two.records()) == ["1", "2"], "{two:?}");
    let next = two.next_shard_iterator.context("no next iterator")?;
    ensure!(texts(&stream.read_on(next, 1).await?) == ["3"]);
    for limit in [0, 10_001] {
        refused_by_one(get(limit).await, ["ValidationException", INVALID])?;
    }
    Ok(())
}

pub(super) async fn what_is_no_iterator_is_refused(aws: &Aws) -> Result<()> {
    let get = aws.kinesis.get_records().shard_iterator("no iterator");
    refused(get.send().await, INVALID)
}

pub(super) async fn an_unknown_shard_is_not_found(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let get = aws.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard(7));
    refused(get.shard_iterator_type(NEWEST).send().await, "ResourceNotFoundException")
}

pub(super) async fn a_place_has_to_be_given_with_its_type(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    for kind in [AT, AFTER, ShardIteratorType::AtTimestamp] {
        let get = aws.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard(0));
        refused(get.shard_iterator_type(kind).send().await, INVALID)?;
    }
    Ok(())
}

pub(super) async fn a_sequence_number_of_another_shard_is_refused(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    let put = stream.put(&[("a", "1")]).await?;
    let number = put.records()[0].sequence_number().context("no sequence number")?;
    let get = aws.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard(1));
    let get = get.shard_iterator_type(AT).starting_sequence_number(number);
    refused(get.send().await, INVALID)
}

pub(super) async fn an_iterator_expires_after_five_minutes(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let iterator = stream.iterator(&shard(0), NEWEST).await?;
    aws.advance(Duration::from_secs(299)).await;
    stream.get(&iterator).await?;
    aws.advance(Duration::from_secs(2)).await;
    let get = aws.kinesis.get_records().shard_iterator(&iterator);
    refused(get.send().await, "ExpiredIteratorException")
}

pub(super) async fn a_record_is_kept_for_the_stream_s_retention_period(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "1")]).await?;
    aws.advance(Duration::from_secs(24 * 3_600 - 60)).await;
    stream.put(&[("k", "2")]).await?;
    stream.read(&shard(0), 2).await?;
    aws.advance(Duration::from_secs(61)).await;
    let records = stream.read(&shard(0), 1).await?;
    ensure!(texts(&records) == ["2"], "{records:?}");
    Ok(())
}

pub(super) async fn a_shard_is_read_five_times_a_second(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let iterator = stream.iterator(&shard(0), NEWEST).await?;
    for _ in 0..5 {
        stream.get(&iterator).await?;
    }
    let get = || aws.kinesis.get_records().shard_iterator(&iterator).send();
    refused(get().await, "ProvisionedThroughputExceededException")?;
    aws.advance(Duration::from_secs(1)).await;
    get().await?;
    Ok(())
}
