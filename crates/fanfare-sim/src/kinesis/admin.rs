//! Streams themselves: create, describe, list, delete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stream::{Change, Stream};
use super::{Target, errors, open};
use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::arn::stream_arn;
use crate::engine::limits::{
    KINESIS_MAX_RECORD_BYTES, MAX_CREATING_STREAMS, MAX_SHARDS, ON_DEMAND_SHARDS,
};
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CreateStream {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<StreamModeDetails>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StreamModeDetails {
    stream_mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneStream {
    #[serde(flatten)]
    stream: Target,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Summarized {
    stream_description_summary: Summary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: Mode,
    retention_period_hours: i64,
    /// Seconds since 1970.
    stream_creation_timestamp: f64,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
    open_shard_count: usize,
    consumer_count: usize,
    max_record_size_in_ki_b: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    stream_mode: &'static str,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: [(); 0],
}

pub(super) fn create_stream(
    engine: &mut Engine,
    ctx: &Context,
    request: CreateStream,
) -> Result<(), AwsError> {
    let name = request.stream_name.ok_or_else(|| errors::missing("streamName"))?;
    errors::check_name(&name, "streamName")?;
    let details = request.stream_mode_details.unwrap_or_default();
    let on_demand = match details.stream_mode.as_deref() {
        None | Some("PROVISIONED") => false,
        Some("ON_DEMAND") => true,
        Some(mode) => return Err(unknown_mode(mode)),
    };
    let shards = match request.shard_count {
        Some(_) if on_demand => {
            let message = "ShardCount must not be specified for a stream in On-Demand mode.";
            return Err(errors::invalid_argument(message));
        }
        None if on_demand => ON_DEMAND_SHARDS,
        None => return Err(errors::missing("shardCount")),
        Some(count) => {
            errors::check_range(count, "shardCount", 1..=100_000)?;
            count as u32
        }
    };
    let (account, region) = (&ctx.caller.account, &ctx.caller.region);
    let arn = stream_arn(region, account, &name);
    let now = engine.clock.now();
    if open(&mut engine.streams, &arn, now).is_ok() {
        let message = format!("Stream {name} under account {account} already exists.");
        return Err(errors::in_use(message));
    }
    let prefix = stream_arn(region, account, "");
    let neighbours = || engine.streams.values().filter(|stream| stream.arn.starts_with(&prefix));
    let creating = |stream: &&Stream| {
        stream.status() == "CREATING"
            && stream.next_event().is_some_and(|end| end.instant > now.instant)
    };
    if neighbours().filter(creating).count() >= MAX_CREATING_STREAMS {
        return Err(errors::limit_exceeded(format!(
            "No more than {MAX_CREATING_STREAMS} streams can be in the state CREATING at a time."
        )));
    }
    check_shards(neighbours(), shards as usize)?;
    let serial = engine.next_serial();
    let mut stream = Stream::new(serial, name, arn.clone(), account.clone(), shards, now);
    stream.on_demand = on_demand;
    stream.tags = request.tags;
    stream.begin(Change::Create, now);
    engine.streams.insert(arn, stream);
    Ok(())
}

/// Whether the account may have that many open shards more.
pub(super) fn check_shards<'s>(
    streams: impl Iterator<Item = &'s Stream>,
    more: usize,
) -> Result<(), AwsError> {
    let open: usize = streams.map(|stream| stream.open_shards().count()).sum();
    if open + more <= MAX_SHARDS {
        return Ok(());
    }
    Err(errors::limit_exceeded(format!(
        "This request would exceed the shard limit for the account. Current shard count for the \
         account: {open}. Limit: {MAX_SHARDS}. Number of additional shards that would have \
         resulted from this request: {more}."
    )))
}

pub(super) fn delete_stream(
    engine: &mut Engine,
    ctx: &Context,
    request: OneStream,
) -> Result<(), AwsError> {
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    if stream.status() != "ACTIVE" {
        return Err(errors::not_active(stream));
    }
    stream.begin(Change::Delete, now);
    engine.note_change();
    Ok(())
}

pub(super) fn describe_stream_summary(
    engine: &mut Engine,
    ctx: &Context,
    request: OneStream,
) -> Result<Summarized, AwsError> {
    let now: Now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    Ok(Summarized {
        stream_description_summary: Summary {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.clone(),
            stream_status: stream.status(),
            stream_mode_details: Mode { stream_mode: mode(stream) },
            retention_period_hours: stream.retention_hours,
            stream_creation_timestamp: (stream.created / 1000) as f64,
            enhanced_monitoring: [Monitoring::default()],
            encryption_type: "NONE",
            open_shard_count: stream.open_shards().count(),
            consumer_count: 0,
            max_record_size_in_ki_b: KINESIS_MAX_RECORD_BYTES / 1024,
        },
    })
}

fn mode(stream: &Stream) -> &'static str {
    if stream.on_demand { "ON_DEMAND" } else { "PROVISIONED" }
}

fn unknown_mode(mode: &str) -> AwsError {
    let must = "satisfy enum value set: [PROVISIONED, ON_DEMAND]";
    errors::constraint(format_args!("'{mode}'"), "streamModeDetails.streamMode", must)
}
