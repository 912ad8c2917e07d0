//! Splits and merges: what closes, what opens, where records go.

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::types::{ScalingType, ShardFilter, ShardFilterType};

use super::aws::{Aws, refused};
use super::kinesis::{OLDEST, ascending, divide_all_keys, is_open, range, shard, texts};

const INVALID: &str = "InvalidArgumentException";

pub(super) async fn a_split_divides_the_shard_s_hash_keys(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    let parent = stream.shards().await?.remove(0);
    stream.split(&parent).await?;
    let shards = stream.shards().await?;
    ensure!(shards.len() == 4 && !is_open(&shards[0]), "{shards:?}");
    let children = &shards[2..];
    for child in children {
        ensure!(child.parent_shard_id() == Some(parent.shard_id()), "{child:?}");
        ensure!(child.adjacent_parent_shard_id().is_none(), "{child:?}");
    }
    let (start, end) = range(&parent)?;
    let (lower, upper) = (range(&children[0])?, range(&children[1])?);
    ensure!(lower.0 == start && lower.1 + 1 == upper.0 && upper.1 == end, "{children:?}");
    divide_all_keys(&stream.open_shards().await?)
}

pub(super) async fn a_split_shard_ends_and_names_its_children(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("a", "1"), ("b", "2")]).await?;
    let iterator = stream.iterator(&shard(0), OLDEST).await?;
    stream.split(&stream.shards().await?[0]).await?;
    // Some answer with the last records and the end together, some with the end by itself.
    let (mut next, mut records, mut children) = (Some(iterator), Vec::new(), Vec::new());
    while let Some(iterator) = next {
        ensure!(children.is_empty(), "children were named before the end");
        let output = stream.get(&iterator).await?;
        records.extend(output.records);
        children = output.child_shards.unwrap_or_default();
        next = output.next_shard_iterator;
        aws.advance(std::time::Duration::from_millis(250)).await;
    }
    ensure!(texts(&records) == ["1", "2"], "{records:?}");
    children.sort_by(|a, b| a.shard_id.cmp(&b.shard_id));
    let ids: Vec<&str> = children.iter().map(|child| child.shard_id()).collect();
    ensure!(ids == [shard(1), shard(2)], "{children:?}");
    ensure!(children.iter().all(|child| child.parent_shards() == [shard(0)]), "{children:?}");
    Ok(())
}

pub(super) async fn records_behind_a_split_go_to_the_children(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let before = stream.put(&[("a", "1"), ("b", "2")]).await?;
    stream.split(&stream.shards().await?[0]).await?;
    let after = stream.put(&[("a", "3"), ("b", "4")]).await?;
    // MD5 of "a" is in the lower half, that of "b" in the upper one.
    for (result, id) in after.records().iter().zip([shard(1), shard(2)]) {
        ensure!(result.shard_id() == Some(&*id), "{after:?}");
    }
    ensure!(texts(&stream.read(&shard(1), 1).await?) == ["3"]);
    ensure!(texts(&stream.read(&shard(2), 1).await?) == ["4"]);
    ensure!(texts(&stream.read(&shard(0), 2).await?) == ["1", "2"]);
    // A child's numbers are greater than any of its parent's.
    for (earlier, later) in before.records().iter().zip(after.records()) {
        let numbers = [earlier.sequence_number(), later.sequence_number()];
        ascending(numbers.into_iter().flatten())?;
    }
    Ok(())
}

pub(super) async fn a_merge_unites_two_neighbours(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    stream.put(&[("a", "1"), ("b", "2")]).await?;
    let parents = stream.shards().await?;
    stream.merge(&parents[0], &parents[1]).await?;
    let open = stream.open_shards().await?;
    ensure!(open.len() == 1, "{open:?}");
    divide_all_keys(&open)?;
    let mut named = [open[0].parent_shard_id(), open[0].adjacent_parent_shard_id()];
    named.sort_unstable();
    ensure!(named == [Some(&*shard(0)), Some(&*shard(1))], "{open:?}");
    stream.put(&[("a", "3"), ("b", "4")]).await?;
    ensure!(texts(&stream.read(&shard(2), 2).await?) == ["3", "4"]);
    ensure!(texts(&stream.read(&shard(0), 1).await?) == ["1"]);
    ensure!(texts(&stream.read(&shard(1), 1).await?) == ["2"]);
    Ok(())
}

pub(super) async fn shards_that_are_no_neighbours_are_not_merged(aws: &Aws) -> Result<()> {
    let stream = aws.stream(3).await?;
    let merge = aws.kinesis.merge_shards().stream_name(&stream.name).shard_to_merge(shard(0));
    refused(merge.adjacent_shard_to_merge(shard(2)).send().await, INVALID)
}

pub(super) async fn a_shard_is_split_within_its_hash_keys(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    let (start, _) = range(&stream.shards().await?[1])?;
    let split = aws.kinesis.split_shard().stream_name(&stream.name).shard_to_split(shard(0));
    let split = split.new_starting_hash_key((start + 10).to_string());
    refused(split.send().await, INVALID)
}

pub(super) async fn only_open_shards_are_listed_at_latest(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.split(&stream.shards().await?[0]).await?;
    let list = |filter: ShardFilterType| {
        let filter = ShardFilter::builder().r#type(filter).build();
        let list = aws.kinesis.list_shards().stream_name(&stream.name);
        async move { anyhow::Ok(list.shard_filter(filter?).send().await?.shards.unwrap_or_default()) }
    };
    let latest = list(ShardFilterType::AtLatest).await?;
    ensure!(latest.len() == 2 && latest.iter().all(is_open), "{latest:?}");
    let all = list(ShardFilterType::FromTrimHorizon).await?;
    ensure!(all.len() == 3, "{all:?}");
    Ok(())
}

pub(super) async fn a_stream_is_scaled_by_two_at_most(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    stream.put(&[("a", "1"), ("b", "2")]).await?;
    let scale = |target: i32| {
        let scale = aws.kinesis.update_shard_count().stream_name(&stream.name);
        scale.target_shard_count(target).scaling_type(ScalingType::UniformScaling).send()
    };
    refused(scale(5).await, INVALID)?;
    for target in [4, 2] {
        let output = scale(target).await?;
        ensure!(output.target_shard_count() == Some(target), "{output:?}");
        stream.active().await?;
        let open = stream.open_shards().await?;
        ensure!(open.len() == usize::try_from(target).context("a small number")?, "{open:?}");
        divide_all_keys(&open)?;
    }
    Ok(())
}
