//! Streams that come, go, or never were, and what can be set on them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::types::{StreamMode, StreamModeDetails};

use super::aws::{Aws, refused, refused_by_one};
use super::kinesis::{NEWEST, Stream, divide_all_keys, entry, shard};

const NOT_FOUND: &str = "ResourceNotFoundException";
const INVALID: &str = "InvalidArgumentException";
/// AWS says the first of what its model excludes, LocalStack the second.
const CONSTRAINT: [&str; 2] = ["ValidationException", INVALID];

pub(super) async fn a_stream_s_shards_divide_all_hash_keys(aws: &Aws) -> Result<()> {
    let stream = aws.stream(3).await?;
    let shards = stream.shards().await?;
    let ids: Vec<&str> = shards.iter().map(|shard| shard.shard_id()).collect();
    ensure!(ids == [shard(0), shard(1), shard(2)], "{ids:?}");
    divide_all_keys(&shards)
}

pub(super) async fn a_stream_on_demand_begins_with_four_shards(aws: &Aws) -> Result<()> {
    let name = aws.name("stream");
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build()?;
    aws.kinesis.create_stream().stream_name(&name).stream_mode_details(mode).send().await?;
    let arn = aws.arn("kinesis", &format!("stream/{name}"));
    let stream = Stream { kinesis: aws.kinesis.clone(), name, arn };
    stream.active().await?;
    let shards = stream.open_shards().await?;
    ensure!(shards.len() == 4, "{shards:?}");
    divide_all_keys(&shards)?;
    // There are only so many of them.
    aws.kinesis.delete_stream().stream_name(&stream.name).send().await?;
    Ok(())
}

pub(super) async fn creating_a_stream_again_is_refused(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let again = aws.kinesis.create_stream().stream_name(&stream.name).shard_count(1);
    refused(again.send().await, "ResourceInUseException")
}

pub(super) async fn an_unknown_stream_is_not_found_by_any_call(aws: &Aws) -> Result<()> {
    let name = aws.name("nowhere");
    let put = aws.kinesis.put_records().stream_name(&name).records(entry("k", b"x")?);
    refused(put.send().await, NOT_FOUND)?;
    refused(aws.kinesis.list_shards().stream_name(&name).send().await, NOT_FOUND)?;
    refused(aws.kinesis.describe_stream_summary().stream_name(&name).send().await, NOT_FOUND)?;
    refused(aws.kinesis.delete_stream().stream_name(&name).send().await, NOT_FOUND)?;
    let get = aws.kinesis.get_shard_iterator().stream_name(&name).shard_id(shard(0));
    refused(get.shard_iterator_type(NEWEST).send().await, NOT_FOUND)
}

pub(super) async fn a_deleted_stream_is_gone(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "x")]).await?;
    let iterator = stream.iterator(&shard(0), NEWEST).await?;
    aws.kinesis.delete_stream().stream_name(&stream.name).send().await?;
    let start = tokio::time::Instant::now();
    let describe = || aws.kinesis.describe_stream_summary().stream_name(&stream.name).send();
    while describe().await.is_ok() {
        ensure!(start.elapsed().as_secs() < 30, "the stream is still there");
        aws.advance(std::time::Duration::from_millis(250)).await;
    }
    refused(describe().await, NOT_FOUND)?;
    let put = aws.kinesis.put_records().stream_name(&stream.name).records(entry("k", b"x")?);
    refused(put.send().await, NOT_FOUND)?;
    refused(aws.kinesis.get_records().shard_iterator(iterator).send().await, NOT_FOUND)
}

pub(super) async fn a_stream_s_name_has_its_characters(aws: &Aws) -> Result<()> {
    for name in ["with space", "schön", "a/b", &"a".repeat(129)] {
        let create = aws.kinesis.create_stream().stream_name(name).shard_count(1);
        refused_by_one(create.send().await, CONSTRAINT)?;
    }
    Ok(())
}

pub(super) async fn a_stream_goes_by_its_arn_too(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let put = aws.kinesis.put_records().stream_arn(&stream.arn).records(entry("k", b"x")?);
    ensure!(put.send().await?.failed_record_count() == Some(0));
    let list = aws.kinesis.list_shards().stream_arn(&stream.arn).send().await?;
    ensure!(list.shards().len() == 1, "{list:?}");
    stream.read(&shard(0), 1).await?;
    Ok(())
}

pub(super) async fn records_are_kept_for_a_day_or_up_to_a_year(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let hours = || async {
        let describe = aws.kinesis.describe_stream_summary().stream_name(&stream.name);
        let summary = describe.send().await?.stream_description_summary.context("no summary")?;
        anyhow::Ok(summary.retention_period_hours)
    };
    let increase = |hours: i32| {
        let increase = aws.kinesis.increase_stream_retention_period().stream_name(&stream.name);
        increase.retention_period_hours(hours).send()
    };
    let decrease = |hours: i32| {
        let decrease = aws.kinesis.decrease_stream_retention_period().stream_name(&stream.name);
        decrease.retention_period_hours(hours).send()
    };
    ensure!(hours().await? == 24);
    increase(48).await?;
    stream.active().await?;
    ensure!(hours().await? == 48);
    refused(increase(47).await, INVALID)?;
    refused(decrease(49).await, INVALID)?;
    refused(decrease(23).await, INVALID)?;
    refused(increase(8_761).await, INVALID)?;
    aws.advance(std::time::Duration::from_secs(1)).await;
    decrease(24).await?;
    stream.active().await?;
    ensure!(hours().await? == 24);
    Ok(())
}

pub(super) async fn a_stream_keeps_its_tags(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let add = aws.kinesis.add_tags_to_stream().stream_name(&stream.name);
    add.tags("service", "orders").tags("stage", "test").send().await?;
    let remove = aws.kinesis.remove_tags_from_stream().stream_name(&stream.name);
    remove.tag_keys("stage").send().await?;
    let list = aws.kinesis.list_tags_for_stream().stream_name(&stream.name).send().await?;
    let tags = list.tags().iter().map(|tag| (tag.key(), tag.value().unwrap_or_default()));
    let tags: BTreeMap<&str, &str> = tags.collect();
    ensure!(tags == BTreeMap::from([("service", "orders")]), "{tags:?}");
    Ok(())
}

pub(super) async fn shards_are_listed_in_pages(aws: &Aws) -> Result<()> {
    let stream = aws.stream(3).await?;
    let first = aws.kinesis.list_shards().stream_name(&stream.name).max_results(2);
    let first = first.send().await?;
    let token = first.next_token().context("no token")?;
    let rest = aws.kinesis.list_shards().next_token(token).send().await?;
    let pages = first.shards().iter().chain(rest.shards());
    let ids: Vec<&str> = pages.map(|shard| shard.shard_id()).collect();
    ensure!(ids == [shard(0), shard(1), shard(2)], "{ids:?}");
    ensure!(rest.next_token().is_none(), "{rest:?}");
    let after = aws.kinesis.list_shards().stream_name(&stream.name);
    let after = after.exclusive_start_shard_id(shard(1)).send().await?;
    ensure!(after.shards().len() == 1, "{after:?}");
    Ok(())
}
