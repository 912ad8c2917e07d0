//! Streams themselves: create, describe, list, delete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::shards::{self, ListedShard};
use super::stream::{Change, Stream};
use super::{Target, errors, open, page, tags};
use crate::engine::Engine;
use crate::engine::arn::stream_arn;
use crate::engine::limits::{
    DESCRIBED_SHARDS, KINESIS_MAX_RECORD_BYTES, MAX_CREATING_STREAMS, MAX_SHARDS, ON_DEMAND_SHARDS,
    STREAM_PAGE,
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
pub(super) struct StreamModeDetails {
    stream_mode: Option<String>,
}

impl StreamModeDetails {
    pub(super) fn on_demand(&self) -> Result<bool, AwsError> {
        match self.stream_mode.as_deref() {
            None => Err(errors::missing("streamModeDetails.streamMode")),
            Some("PROVISIONED") => Ok(false),
            Some("ON_DEMAND") => Ok(true),
            Some(mode) => {
                let must = "satisfy enum value set: [PROVISIONED, ON_DEMAND]";
                let member = "streamModeDetails.streamMode";
                Err(errors::constraint(format_args!("'{mode}'"), member, must))
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DeleteStream {
    #[serde(flatten)]
    stream: Target,
    enforce_consumer_deletion: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DescribeStream {
    #[serde(flatten)]
    stream: Target,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListStreams {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
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
    #[serde(flatten)]
    heading: Heading,
    #[serde(flatten)]
    settings: Settings,
    open_shard_count: usize,
    consumer_count: usize,
    max_record_size_in_ki_b: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    stream_description: Description,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    heading: Heading,
    #[serde(flatten)]
    settings: Settings,
    shards: Vec<ListedShard>,
    has_more_shards: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Streams {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<Heading>,
}

/// What all descriptions of a stream begin with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Heading {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: Mode,
    /// Seconds since 1970.
    stream_creation_timestamp: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    retention_period_hours: i64,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
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
    let details = request.stream_mode_details;
    let on_demand = details.map_or(Ok(false), |details| details.on_demand())?;
    tags::check(&request.tags)?;
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
    let creating = |stream: &&Stream| {
        stream.status() == "CREATING" && stream.next_event().is_some_and(|end| end > now.instant)
    };
    if of_caller(engine, ctx).filter(creating).count() >= MAX_CREATING_STREAMS {
        return Err(errors::limit_exceeded(format!(
            "No more than {MAX_CREATING_STREAMS} streams can be in the state CREATING at a time."
        )));
    }
    check_shards(engine, ctx, shards as usize)?;
    let serial = engine.next_serial();
    let mut stream = Stream::new(serial, name, arn.clone(), account.clone(), shards, now);
    stream.on_demand = on_demand;
    stream.tags = request.tags;
    stream.begin(Change::Create, now);
    engine.streams.insert(arn, stream);
    Ok(())
}

/// The streams of the caller's account and region, in the order of their names.
fn of_caller<'e>(engine: &'e Engine, ctx: &Context) -> impl Iterator<Item = &'e Stream> {
    let prefix = stream_arn(&ctx.caller.region, &ctx.caller.account, "");
    let from = engine.streams.range(prefix.clone()..);
    from.map(|(_, stream)| stream).take_while(move |stream| stream.arn.starts_with(&prefix))
}

/// Whether the account may have that many open shards more.
pub(super) fn check_shards(engine: &Engine, ctx: &Context, more: usize) -> Result<(), AwsError> {
    let open: usize = of_caller(engine, ctx).map(|stream| stream.open_shards().count()).sum();
    if open + more <= MAX_SHARDS {
        return Ok(());
    }
    let (account, region) = (&ctx.caller.account, &ctx.caller.region);
    Err(errors::limit_exceeded(format!(
        "This request would exceed the shard limit for the account {account} in {region}. Current \
         shard count for the account: {open}. Limit: {MAX_SHARDS}. Number of additional shards that \
         would have resulted from this request: {more}."
    )))
}

pub(super) fn delete_stream(
    engine: &mut Engine,
    ctx: &Context,
    request: DeleteStream,
) -> Result<(), AwsError> {
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    if stream.status() != "ACTIVE" {
        return Err(errors::not_active(stream));
    }
    if !stream.consumers.is_empty() && !request.enforce_consumer_deletion {
        let Stream { name, account, .. } = &*stream;
        return Err(errors::in_use(format!(
            "Stream {name} under account {account} has registered consumers: deregister them, or \
             set EnforceConsumerDeletion."
        )));
    }
    stream.begin(Change::Delete, now);
    engine.note_change();
    Ok(())
}

pub(super) fn list_streams(
    engine: &mut Engine,
    ctx: &Context,
    request: ListStreams,
) -> Result<Streams, AwsError> {
    let max = request.limit.unwrap_or(STREAM_PAGE as i64);
    errors::check_range(max, "limit", 1..=10_000)?;
    let now = engine.clock.now();
    let token = request.next_token.as_deref().map(|token| page::decode(token, now)).transpose()?;
    let after = token.or(request.exclusive_start_stream_name);
    engine.streams.retain(|_, stream| stream.advance(now));
    let mut rest = of_caller(engine, ctx)
        .filter(|stream| after.as_ref().is_none_or(|after| stream.name > *after))
        .peekable();
    let page: Vec<&Stream> = rest.by_ref().take((max as usize).min(STREAM_PAGE)).collect();
    let last = page.last().filter(|_| rest.peek().is_some());
    Ok(Streams {
        stream_names: page.iter().map(|stream| stream.name.clone()).collect(),
        has_more_streams: last.is_some(),
        next_token: last.map(|last| page::encode(&last.name, now)),
        stream_summaries: page.iter().map(|stream| Heading::of(stream)).collect(),
    })
}

pub(super) fn describe_stream(
    engine: &mut Engine,
    ctx: &Context,
    request: DescribeStream,
) -> Result<Described, AwsError> {
    let max = request.limit.unwrap_or(DESCRIBED_SHARDS as i64);
    errors::check_range(max, "limit", 1..=10_000)?;
    let after = request.exclusive_start_shard_id.as_deref().map(shards::after).transpose()?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    let shards = stream.shards.values();
    let mut rest = shards.filter(|shard| after.is_none_or(|after| shard.number > after));
    let page = rest.by_ref().take((max as usize).min(DESCRIBED_SHARDS));
    Ok(Described {
        stream_description: Description {
            shards: page.map(ListedShard::from).collect(),
            has_more_shards: rest.next().is_some(),
            heading: Heading::of(stream),
            settings: Settings::of(stream),
        },
    })
}

pub(super) fn describe_stream_summary(
    engine: &mut Engine,
    ctx: &Context,
    request: OneStream,
) -> Result<Summarized, AwsError> {
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    Ok(Summarized {
        stream_description_summary: Summary {
            heading: Heading::of(stream),
            settings: Settings::of(stream),
            open_shard_count: stream.open_shards().count(),
            consumer_count: stream.consumers.len(),
            max_record_size_in_ki_b: KINESIS_MAX_RECORD_BYTES / 1024,
        },
    })
}

impl Heading {
    fn of(stream: &Stream) -> Self {
        Self {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.clone(),
            stream_status: stream.status(),
            stream_mode_details: Mode {
                stream_mode: if stream.on_demand { "ON_DEMAND" } else { "PROVISIONED" },
            },
            stream_creation_timestamp: stream.created / 1000,
        }
    }
}

impl Settings {
    fn of(stream: &Stream) -> Self {
        Self {
            retention_period_hours: stream.retention_hours,
            enhanced_monitoring: [Monitoring::default()],
            encryption_type: "NONE",
        }
    }
}
