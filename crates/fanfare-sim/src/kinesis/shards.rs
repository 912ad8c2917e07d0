//! ListShards, and what a shard looks like.

use serde::{Deserialize, Serialize};

use super::hash::HashKeyRange;
use super::shard::{self, Shard};
use super::{Stream, Target, errors, open, page};
use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::limits::SHARD_PAGE;
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListShards {
    #[serde(flatten)]
    stream: Target,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    /// Seconds since 1970.
    stream_creation_timestamp: Option<f64>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Debug, Default, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct ShardFilter {
    r#type: Option<String>,
    shard_id: Option<String>,
    /// Seconds since 1970.
    timestamp: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardList {
    shards: Vec<ListedShard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedShard {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

impl From<&Shard> for ListedShard {
    fn from(shard: &Shard) -> Self {
        Self {
            shard_id: shard::id(shard.number),
            parent_shard_id: shard.parent.map(shard::id),
            adjacent_parent_shard_id: shard.adjacent_parent.map(shard::id),
            hash_key_range: shard.range,
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: shard.start.to_string(),
                ending_sequence_number: shard.end().map(|end| end.to_string()),
            },
        }
    }
}

/// Where the next page begins, of which stream, with which filter.
#[derive(Debug, Deserialize, Serialize)]
struct Token {
    stream: u64,
    after: u32,
    filter: Option<ShardFilter>,
}

pub(super) fn list_shards(
    engine: &mut Engine,
    ctx: &Context,
    request: ListShards,
) -> Result<ShardList, AwsError> {
    let max = request.max_results.unwrap_or(SHARD_PAGE as i64);
    errors::check_range(max, "maxResults", 1..=10_000)?;
    let now = engine.clock.now();
    let (arn, after, filter) = match &request.next_token {
        Some(token) => {
            let others = [request.stream.name.is_some(), request.stream.arn.is_some()];
            if others.contains(&true) {
                let message = "NextToken and StreamName cannot be provided together.";
                return Err(errors::invalid_argument(message));
            }
            if request.exclusive_start_shard_id.is_some()
                || request.stream_creation_timestamp.is_some()
            {
                let message = "NextToken can be provided together with MaxResults only.";
                return Err(errors::invalid_argument(message));
            }
            let token: Token = page::decode(token, now)?;
            let mut streams = engine.streams.values();
            let stream = streams.find(|stream| stream.serial == token.stream);
            let stream = stream.ok_or_else(|| errors::not_found("The stream was deleted."))?;
            (stream.arn.clone(), Some(token.after), token.filter)
        }
        None if request.stream.name.is_none() && request.stream.arn.is_none() => {
            let message = "Either NextToken or StreamName should be provided.";
            return Err(errors::invalid_argument(message));
        }
        None => {
            let start = request.exclusive_start_shard_id.as_deref();
            (request.stream.resolve(ctx)?, start.map(after).transpose()?, request.shard_filter)
        }
    };
    let stream = open(&mut engine.streams, &arn, now)?;
    stream.check_creation(request.stream_creation_timestamp)?;
    if !stream.is_usable() {
        return Err(errors::not_active(stream));
    }
    let matching = filter.as_ref().unwrap_or(&ShardFilter::default()).apply(stream, now)?;
    let mut rest = matching
        .into_iter()
        .filter(|shard| after.is_none_or(|after| shard.number > after))
        .peekable();
    let page: Vec<&Shard> = rest.by_ref().take((max as usize).min(SHARD_PAGE)).collect();
    let last = page.last().filter(|_| rest.peek().is_some());
    let token = last.map(|last| {
        let token = Token { stream: stream.serial, after: last.number, filter };
        page::encode(token, now)
    });
    Ok(ShardList { shards: page.into_iter().map(ListedShard::from).collect(), next_token: token })
}

/// The number after which to begin.
pub(super) fn after(id: &str) -> Result<u32, AwsError> {
    errors::check_name(id, "exclusiveStartShardId")?;
    shard::number(id).ok_or_else(|| errors::invalid_argument(format!("{id} is no shard id.")))
}

impl ShardFilter {
    /// The shards that match, in the order of their numbers.
    fn apply<'s>(&self, stream: &'s Stream, now: Now) -> Result<Vec<&'s Shard>, AwsError> {
        let all = stream.shards.values();
        let Some(kind) = self.r#type.as_deref() else {
            return Ok(all.collect());
        };
        let timestamp = || {
            let timestamp = self.timestamp.map(|seconds| (seconds * 1000.0) as u64);
            timestamp.ok_or_else(|| {
                errors::invalid_argument(format!(
                    "A shard filter of type {kind} needs a Timestamp."
                ))
            })
        };
        let open_at = |shard: &&Shard, at: u64| {
            shard.opened <= at && shard.closed.is_none_or(|closed| closed >= at)
        };
        Ok(match kind {
            "FROM_TRIM_HORIZON" => all.collect(),
            "AT_LATEST" => all.filter(|shard| shard.is_open()).collect(),
            "AT_TRIM_HORIZON" => {
                let at = stream.horizon(now).max(stream.created);
                all.filter(|shard| open_at(shard, at)).collect()
            }
            "AFTER_SHARD_ID" => {
                let id = self.shard_id.as_deref().ok_or_else(|| {
                    errors::invalid_argument(
                        "A shard filter of type AFTER_SHARD_ID needs a ShardId.",
                    )
                })?;
                let after = after(id)?;
                all.filter(|shard| shard.number > after).collect()
            }
            "AT_TIMESTAMP" => {
                let at = timestamp()?;
                all.filter(|shard| open_at(shard, at)).collect()
            }
            "FROM_TIMESTAMP" => {
                let from = timestamp()?;
                all.filter(|shard| shard.closed.is_none_or(|closed| closed >= from)).collect()
            }
            _ => {
                let must = "satisfy enum value set: [AFTER_SHARD_ID, AT_TIMESTAMP, AT_TRIM_HORIZON, \
                            FROM_TRIM_HORIZON, FROM_TIMESTAMP, AT_LATEST]";
                return Err(errors::constraint(format_args!("'{kind}'"), "shardFilter.type", must));
            }
        })
    }
}
