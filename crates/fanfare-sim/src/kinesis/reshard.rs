//! SplitShard and MergeShards.

use serde::Deserialize;

use super::shard;
use super::stream::{Change, Step};
use super::{Stream, Target, errors};
use crate::engine::Engine;
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SplitShard {
    #[serde(flatten)]
    stream: Target,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MergeShards {
    #[serde(flatten)]
    stream: Target,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

pub(super) fn split_shard(
    engine: &mut Engine,
    ctx: &Context,
    request: SplitShard,
) -> Result<(), AwsError> {
    let id = request.shard_to_split.ok_or_else(|| errors::missing("shardToSplit"))?;
    errors::check_name(&id, "shardToSplit")?;
    let key = request.new_starting_hash_key.ok_or_else(|| errors::missing("newStartingHashKey"))?;
    errors::check_hash_key(&key, "newStartingHashKey")?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    let number = reshardable(stream, &id)?;
    let shard = stream.shards.get(&number).filter(|shard| shard.is_open());
    let range = shard.ok_or_else(|| not_open(stream, &id))?.range;
    let Some(at) = key.parse().ok().filter(|at| range.start + 1 < *at && *at < range.end) else {
        let Stream { name, account, .. } = &*stream;
        return Err(errors::invalid_argument(format!(
            "NewStartingHashKey {key} used in SplitShard() on shard {id} in stream {name} under \
             account {account} is not both greater than one plus the shard's StartingHashKey {} \
             and less than the shard's EndingHashKey {}.",
            range.start, range.end
        )));
    };
    stream.begin(Change::Reshard(vec![Step::SplitBefore(at)]), now);
    Ok(())
}

pub(super) fn merge_shards(
    engine: &mut Engine,
    ctx: &Context,
    request: MergeShards,
) -> Result<(), AwsError> {
    let lower = request.shard_to_merge.ok_or_else(|| errors::missing("shardToMerge"))?;
    errors::check_name(&lower, "shardToMerge")?;
    let upper = request.adjacent_shard_to_merge;
    let upper = upper.ok_or_else(|| errors::missing("adjacentShardToMerge"))?;
    errors::check_name(&upper, "adjacentShardToMerge")?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    let numbers = [reshardable(stream, &lower)?, reshardable(stream, &upper)?];
    let ranges = numbers.map(|number| {
        let shard = stream.shards.get(&number).filter(|shard| shard.is_open());
        shard.map(|shard| shard.range)
    });
    let [Some(first), Some(second)] = ranges else {
        return Err(not_open(stream, if ranges[0].is_none() { &lower } else { &upper }));
    };
    let boundary = [(first, second), (second, first)].into_iter().find_map(|(below, above)| {
        (below.end.checked_add(1) == Some(above.start)).then_some(above.start)
    });
    let Some(boundary) = boundary else {
        let Stream { name, account, .. } = &*stream;
        return Err(errors::invalid_argument(format!(
            "Shards {lower} and {upper} in stream {name} under account {account} are not an \
             adjacent pair of shards eligible for merging"
        )));
    };
    stream.begin(Change::Reshard(vec![Step::MergeBefore(boundary)]), now);
    Ok(())
}

/// The number of a shard that is there, in a stream that can be resharded now.
fn reshardable(stream: &Stream, id: &str) -> Result<u32, AwsError> {
    if stream.status() != "ACTIVE" {
        return Err(errors::not_active(stream));
    }
    if stream.on_demand {
        return Err(on_demand(stream));
    }
    let number = shard::number(id).filter(|number| stream.shards.contains_key(number));
    number.ok_or_else(|| errors::no_such_shard(stream, id))
}

/// AWS reshards these streams itself.
fn on_demand(stream: &Stream) -> AwsError {
    let Stream { name, account, .. } = stream;
    let message =
        format!("Request is invalid. Stream {name} under account {account} is in On-Demand mode.");
    AwsError::sender("ValidationException", message)
}

fn not_open(stream: &Stream, id: &str) -> AwsError {
    let Stream { name, account, .. } = stream;
    errors::invalid_argument(format!(
        "Shard {id} in stream {name} under account {account} is not open: it was split or merged"
    ))
}
