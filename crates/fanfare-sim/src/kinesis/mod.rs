//! Kinesis Data Streams: dispatch of its actions, which speak AWS JSON 1.1.

mod admin;
mod consumers;
mod errors;
mod get;
mod hash;
mod iterator;
mod pace;
mod page;
mod put;
mod rates;
mod reshard;
mod sequence;
mod settings;
mod shard;
mod shards;
mod stream;
mod subscribe;
mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::arn::{Arn, stream_arn};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::{Body, Context};

pub(crate) use rates::Rates;
pub(crate) use shard::{Record, id as shard_id};
pub(crate) use stream::Stream;

/// Performs one action; the answer is JSON, or empty where the action answers nothing, or a stream
/// of events.
pub(crate) fn call(
    sim: &Arc<Shared>,
    ctx: &Context,
    action: &str,
    body: &[u8],
) -> Result<Body, AwsError> {
    let counted = {
        let mut engine = sim.lock();
        engine.stream_rates.count(&ctx.caller, action, Instant::now())
    };
    counted?;
    let json = match action {
        "AddTagsToStream" => run(sim, ctx, body, tags::add),
        "CreateStream" => run(sim, ctx, body, admin::create_stream),
        "DecreaseStreamRetentionPeriod" => run(sim, ctx, body, settings::decrease_retention),
        "DeleteStream" => run(sim, ctx, body, admin::delete_stream),
        "DeregisterStreamConsumer" => run(sim, ctx, body, consumers::deregister_stream_consumer),
        "DescribeStream" => run(sim, ctx, body, admin::describe_stream),
        "DescribeStreamConsumer" => run(sim, ctx, body, consumers::describe_stream_consumer),
        "DescribeStreamSummary" => run(sim, ctx, body, admin::describe_stream_summary),
        "GetRecords" => answer(&get::get_records(sim, ctx, &parse(body)?)?),
        "GetShardIterator" => run(sim, ctx, body, iterator::get_shard_iterator),
        "IncreaseStreamRetentionPeriod" => run(sim, ctx, body, settings::increase_retention),
        "ListShards" => run(sim, ctx, body, shards::list_shards),
        "ListStreamConsumers" => run(sim, ctx, body, consumers::list_stream_consumers),
        "ListStreams" => run(sim, ctx, body, admin::list_streams),
        "ListTagsForStream" => run(sim, ctx, body, tags::list),
        "MergeShards" => run(sim, ctx, body, reshard::merge_shards),
        "PutRecord" => answer(&put::put_record(sim, ctx, &parse(body)?)?),
        "PutRecords" => answer(&put::put_records(sim, ctx, &parse(body)?)?),
        "RegisterStreamConsumer" => run(sim, ctx, body, consumers::register_stream_consumer),
        "RemoveTagsFromStream" => run(sim, ctx, body, tags::remove),
        "SplitShard" => run(sim, ctx, body, reshard::split_shard),
        "SubscribeToShard" => return subscribe::subscribe_to_shard(sim, ctx, parse(body)?),
        "UpdateShardCount" => run(sim, ctx, body, reshard::update_shard_count),
        "UpdateStreamMode" => run(sim, ctx, body, settings::update_stream_mode),
        _ => Err(AwsError::sender(
            "UnknownOperationException",
            format!("{action} is no action of Kinesis that is simulated"),
        )),
    };
    json.map(Body::from)
}

fn run<'b, I: Deserialize<'b>, O: Serialize>(
    sim: &Shared,
    ctx: &Context,
    body: &'b [u8],
    operation: fn(&mut Engine, &Context, I) -> Result<O, AwsError>,
) -> Result<Bytes, AwsError> {
    let request = parse(body)?;
    let output = operation(&mut sim.lock(), ctx, request)?;
    answer(&output)
}

fn parse<'b, I: Deserialize<'b>>(body: &'b [u8]) -> Result<I, AwsError> {
    // An action without parameters may come with an empty body.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| AwsError::sender("SerializationException", error.to_string()))
}

fn answer<O: Serialize>(output: &O) -> Result<Bytes, AwsError> {
    let json = serde_json::to_vec(output).map_err(|_| AwsError::internal())?;
    // Actions that answer nothing return `()`.
    Ok(if json == b"null" { Bytes::new() } else { json.into() })
}

/// How nearly every request names its stream: by name, by ARN, or by both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    #[serde(rename = "StreamName")]
    name: Option<String>,
    #[serde(rename = "StreamARN")]
    arn: Option<String>,
}

impl Target {
    /// The stream's ARN.
    fn resolve(&self, ctx: &Context) -> Result<String, AwsError> {
        let caller = &ctx.caller;
        if let Some(name) = &self.name {
            errors::check_name(name, "streamName")?;
        }
        let Some(arn) = &self.arn else {
            let name = self.name.as_ref().ok_or_else(|| {
                errors::invalid_argument("Either StreamName or StreamARN must be specified.")
            })?;
            return Ok(stream_arn(&caller.region, &caller.account, name));
        };
        let name = stream_name(arn, ctx)?;
        if self.name.as_ref().is_some_and(|other| other != name) {
            let message = "StreamName and StreamARN do not name the same stream.";
            return Err(errors::invalid_argument(message));
        }
        Ok(arn.clone())
    }

    /// The stream, up to date.
    fn open<'s>(
        &self,
        streams: &'s mut BTreeMap<String, Stream>,
        ctx: &Context,
        now: Now,
    ) -> Result<&'s mut Stream, AwsError> {
        let arn = self.resolve(ctx)?;
        open(streams, &arn, now)
    }
}

/// The name in a stream's ARN, which has to be of the caller's account and region.
fn stream_name<'a>(arn: &'a str, ctx: &Context) -> Result<&'a str, AwsError> {
    let parsed = Arn::parse(arn).filter(|parsed| parsed.service == "kinesis");
    let name = parsed.and_then(|parsed| parsed.resource.strip_prefix("stream/"));
    let (Some(parsed), Some(name)) = (parsed, name) else {
        let must = "satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+";
        return Err(errors::constraint(format_args!("'{arn}'"), "streamARN", must));
    };
    if parsed.account != ctx.caller.account {
        let message = format!(
            "User: arn:aws:iam::{}:root is not authorized to access resource: {arn}",
            ctx.caller.account
        );
        return Err(AwsError::sender("AccessDeniedException", message));
    }
    if parsed.region != ctx.caller.region {
        return Err(errors::stream_not_found(name, parsed.account));
    }
    Ok(name)
}

/// The stream with an ARN, up to date.
pub(crate) fn open<'s>(
    streams: &'s mut BTreeMap<String, Stream>,
    arn: &str,
    now: Now,
) -> Result<&'s mut Stream, AwsError> {
    if streams.get_mut(arn).is_some_and(|stream| !stream.advance(now)) {
        streams.remove(arn);
    }
    streams.get_mut(arn).ok_or_else(|| {
        let parsed = Arn::parse(arn);
        let name = parsed.and_then(|parsed| parsed.resource.strip_prefix("stream/"));
        errors::stream_not_found(name.unwrap_or(arn), parsed.map_or("", |parsed| parsed.account))
    })
}
