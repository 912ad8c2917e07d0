//! SplitShard, MergeShards and UpdateShardCount.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admin::check_shards;
use super::stream::{Change, Step};
use super::{Stream, Target, errors, hash, shard};
use crate::engine::Engine;
use crate::engine::limits::{MAX_SCALED_SHARDS, MAX_SCALINGS_PER_DAY};
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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UpdateShardCount {
    #[serde(flatten)]
    stream: Target,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardCounts {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_count: usize,
    target_shard_count: usize,
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
    let arn = stream.arn.clone();
    check_shards(engine, ctx, 1)?;
    if let Some(stream) = engine.streams.get_mut(&arn) {
        stream.begin(Change::Reshard(vec![Step::SplitBefore(at)]), now);
    }
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

/// Scales to shards of equal width: splits where a new boundary is, then merges where an old one
/// is no more. As on AWS, some shards may be there for a moment only.
pub(super) fn update_shard_count(
    engine: &mut Engine,
    ctx: &Context,
    request: UpdateShardCount,
) -> Result<ShardCounts, AwsError> {
    match request.scaling_type.as_deref() {
        None => return Err(errors::missing("scalingType")),
        Some("UNIFORM_SCALING") => {}
        Some(kind) => {
            let must = "satisfy enum value set: [UNIFORM_SCALING]";
            return Err(errors::constraint(format_args!("'{kind}'"), "scalingType", must));
        }
    }
    let target = request.target_shard_count.ok_or_else(|| errors::missing("targetShardCount"))?;
    errors::check_range(target, "targetShardCount", 1..=i64::from(i32::MAX))?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    check_can_reshard(stream)?;
    let current = stream.open_shards().count() as i64;
    let counts = format!("Current open shard count: {current} Target shard count: {target}");
    if target > current * 2 {
        return Err(errors::invalid_argument(format!(
            "UpdateShardCount cannot scale up over double your current open shard count. {counts}"
        )));
    }
    if target * 2 < current {
        return Err(errors::invalid_argument(format!(
            "UpdateShardCount cannot scale down below half your current open shard count. {counts}"
        )));
    }
    if target > MAX_SCALED_SHARDS {
        let message = format!("UpdateShardCount cannot scale over {MAX_SCALED_SHARDS} shards.");
        return Err(errors::limit_exceeded(message));
    }
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    stream.scalings.retain(|scaled| *scaled + DAY > now.instant);
    if stream.scalings.len() >= MAX_SCALINGS_PER_DAY {
        let message = format!(
            "Stream {} was scaled {MAX_SCALINGS_PER_DAY} times in the last 24 hours.",
            stream.name
        );
        return Err(errors::limit_exceeded(message));
    }
    let (arn, name) = (stream.arn.clone(), stream.name.clone());
    check_shards(engine, ctx, usize::try_from(target - current).unwrap_or_default())?;
    if let Some(stream) = engine.streams.get_mut(&arn) {
        stream.scalings.push(now.instant);
        let steps = uniform(stream, target as u32);
        stream.begin(Change::Reshard(steps), now);
    }
    Ok(ShardCounts {
        stream_name: name,
        stream_arn: arn,
        current_shard_count: current as usize,
        target_shard_count: target as usize,
    })
}

fn uniform(stream: &Stream, target: u32) -> Vec<Step> {
    let old: BTreeSet<u128> = stream.open_shards().map(|shard| shard.range.start).collect();
    let new: BTreeSet<u128> = hash::divided(target).map(|range| range.start).collect();
    let splits = new.difference(&old).copied().map(Step::SplitBefore);
    let merges = old.difference(&new).copied().map(Step::MergeBefore);
    splits.chain(merges).collect()
}

/// The number of a shard that is there, in a stream that can be resharded now.
fn reshardable(stream: &Stream, id: &str) -> Result<u32, AwsError> {
    check_can_reshard(stream)?;
    let number = shard::number(id).filter(|number| stream.shards.contains_key(number));
    number.ok_or_else(|| errors::no_such_shard(stream, id))
}

/// On-demand streams are resharded by AWS alone.
fn check_can_reshard(stream: &Stream) -> Result<(), AwsError> {
    if stream.status() != "ACTIVE" {
        return Err(errors::not_active(stream));
    }
    if stream.on_demand {
        let Stream { name, account, .. } = stream;
        return Err(AwsError::sender(
            "ValidationException",
            format!(
                "Request is invalid. Stream {name} under account {account} is in On-Demand mode."
            ),
        ));
    }
    Ok(())
}

fn not_open(stream: &Stream, id: &str) -> AwsError {
    let Stream { name, account, .. } = stream;
    errors::invalid_argument(format!(
        "Shard {id} in stream {name} under account {account} is not open: it was split or merged"
    ))
}
