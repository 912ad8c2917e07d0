//! Stream consumers: who may subscribe with enhanced fan-out.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::stream::TRANSITION;
use super::{Stream, errors, open, page, stream_name};
use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::limits::{CONSUMER_PAGE, MAX_CONSUMERS, MAX_CREATING_CONSUMERS};
use crate::error::AwsError;
use crate::wire::Context;

/// A registered consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// Milliseconds since 1970.
    pub(crate) created: u64,
    pub(crate) status: Status,
    /// By shard.
    pub(crate) subscriptions: HashMap<u32, Subscription>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Status {
    Creating { until: Instant },
    Active,
    Deleting { until: Instant },
}

/// The latest subscription of a consumer to a shard, whether it still goes on or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) id: u64,
    pub(crate) since: Instant,
}

impl Consumer {
    pub(crate) fn status(&self) -> &'static str {
        match self.status {
            Status::Creating { .. } => "CREATING",
            Status::Active => "ACTIVE",
            Status::Deleting { .. } => "DELETING",
        }
    }

    /// Lets the time pass; false if it is gone.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        match self.status {
            Status::Creating { until } if until <= now => self.status = Status::Active,
            Status::Deleting { until } if until <= now => return false,
            _ => {}
        }
        true
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RegisterStreamConsumer {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
}

/// A consumer by its ARN, or by its stream's and its name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneConsumer {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListStreamConsumers {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    /// Seconds since 1970.
    stream_creation_timestamp: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registered {
    consumer: Description,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    consumer_description: Description,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Consumers {
    consumers: Vec<Description>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    /// Seconds since 1970.
    consumer_creation_timestamp: u64,
    #[serde(rename = "StreamARN", skip_serializing_if = "Option::is_none")]
    stream_arn: Option<String>,
}

impl Description {
    fn of(consumer: &Consumer) -> Self {
        Self {
            consumer_name: consumer.name.clone(),
            consumer_arn: consumer.arn.clone(),
            consumer_status: consumer.status(),
            consumer_creation_timestamp: consumer.created / 1000,
            stream_arn: None,
        }
    }
}

pub(super) fn register_stream_consumer(
    engine: &mut Engine,
    ctx: &Context,
    request: RegisterStreamConsumer,
) -> Result<Registered, AwsError> {
    let name = request.consumer_name.ok_or_else(|| errors::missing("consumerName"))?;
    errors::check_name(&name, "consumerName")?;
    let now = engine.clock.now();
    let stream = stream(engine, ctx, request.stream_arn.as_deref(), now)?;
    if !stream.is_usable() {
        return Err(errors::not_active(stream));
    }
    if stream.consumers.contains_key(&name) {
        let Stream { name: stream, account, .. } = &*stream;
        return Err(errors::in_use(format!(
            "Consumer {name} under stream {stream} already exists for account {account}."
        )));
    }
    let creating = |consumer: &&Consumer| matches!(consumer.status, Status::Creating { .. });
    if stream.consumers.len() >= MAX_CONSUMERS {
        let message = format!("A stream has at most {MAX_CONSUMERS} consumers.");
        return Err(errors::limit_exceeded(message));
    }
    if stream.consumers.values().filter(creating).count() >= MAX_CREATING_CONSUMERS {
        return Err(errors::limit_exceeded(format!(
            "No more than {MAX_CREATING_CONSUMERS} consumers can be in the state CREATING at a time."
        )));
    }
    let consumer = Consumer {
        arn: format!("{}/consumer/{name}:{}", stream.arn, now.millis / 1000),
        name: name.clone(),
        created: now.millis,
        status: Status::Creating { until: now.instant + TRANSITION },
        subscriptions: HashMap::new(),
    };
    let registered = Registered { consumer: Description::of(&consumer) };
    stream.consumers.insert(name, consumer);
    Ok(registered)
}

pub(super) fn deregister_stream_consumer(
    engine: &mut Engine,
    ctx: &Context,
    request: OneConsumer,
) -> Result<(), AwsError> {
    let now = engine.clock.now();
    let (stream, name) = request.find(engine, ctx, now)?;
    if let Some(consumer) = stream.consumers.get_mut(&name) {
        if !matches!(consumer.status, Status::Active) {
            let message = format!("Consumer {name} is not in ACTIVE status.");
            return Err(errors::in_use(message));
        }
        consumer.status = Status::Deleting { until: now.instant + TRANSITION };
    }
    stream.wake.notify_waiters();
    Ok(())
}

pub(super) fn describe_stream_consumer(
    engine: &mut Engine,
    ctx: &Context,
    request: OneConsumer,
) -> Result<Described, AwsError> {
    let now = engine.clock.now();
    let (stream, name) = request.find(engine, ctx, now)?;
    let consumer = stream.consumers.get(&name).ok_or_else(|| no_such_consumer(&name))?;
    let consumer_description =
        Description { stream_arn: Some(stream.arn.clone()), ..Description::of(consumer) };
    Ok(Described { consumer_description })
}

pub(super) fn list_stream_consumers(
    engine: &mut Engine,
    ctx: &Context,
    request: ListStreamConsumers,
) -> Result<Consumers, AwsError> {
    let max = request.max_results.unwrap_or(CONSUMER_PAGE as i64);
    errors::check_range(max, "maxResults", 1..=10_000)?;
    let now = engine.clock.now();
    let after: Option<String> =
        request.next_token.as_deref().map(|token| page::decode(token, now)).transpose()?;
    let stream = stream(engine, ctx, request.stream_arn.as_deref(), now)?;
    stream.check_creation(request.stream_creation_timestamp)?;
    let mut rest = stream
        .consumers
        .values()
        .filter(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after))
        .peekable();
    let page: Vec<&Consumer> = rest.by_ref().take((max as usize).min(CONSUMER_PAGE)).collect();
    let last = page.last().filter(|_| rest.peek().is_some());
    let next_token = last.map(|last| page::encode(&last.name, now));
    Ok(Consumers { consumers: page.into_iter().map(Description::of).collect(), next_token })
}

impl OneConsumer {
    fn find<'e>(
        &self,
        engine: &'e mut Engine,
        ctx: &Context,
        now: Now,
    ) -> Result<(&'e mut Stream, String), AwsError> {
        let (stream_arn, name) = match (&self.consumer_arn, &self.stream_arn, &self.consumer_name) {
            (Some(arn), stream, name) => {
                let (stream_arn, found) = split_arn(arn)?;
                let conflict = stream.as_ref().is_some_and(|stream| stream != stream_arn)
                    || name.as_ref().is_some_and(|name| name != found);
                if conflict {
                    let message =
                        "ConsumerARN, StreamARN and ConsumerName name different consumers.";
                    return Err(errors::invalid_argument(message));
                }
                (stream_arn, found)
            }
            (None, Some(stream), Some(name)) => (stream.as_str(), name.as_str()),
            _ => {
                let message =
                    "Either ConsumerARN, or both StreamARN and ConsumerName, must be given.";
                return Err(errors::invalid_argument(message));
            }
        };
        let stream = self::stream(engine, ctx, Some(stream_arn), now)?;
        let consumer = stream.consumers.get(name);
        let known = consumer.is_some_and(|consumer| {
            self.consumer_arn.as_ref().is_none_or(|arn| *arn == consumer.arn)
        });
        if !known {
            return Err(no_such_consumer(name));
        }
        Ok((stream, name.to_owned()))
    }
}

/// The stream's ARN and the name in a consumer's ARN.
pub(super) fn split_arn(arn: &str) -> Result<(&str, &str), AwsError> {
    let parts = arn.split_once("/consumer/").and_then(|(stream, rest)| {
        let (name, created) = rest.rsplit_once(':')?;
        let legal = !created.is_empty() && created.bytes().all(|b| b.is_ascii_digit());
        legal.then_some((stream, name))
    });
    parts.ok_or_else(|| {
        let must = r"satisfy regular expression pattern: ^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+";
        errors::constraint(format_args!("'{arn}'"), "consumerARN", must)
    })
}

pub(super) fn no_such_consumer(name: &str) -> AwsError {
    errors::not_found(format!("Consumer {name} not found."))
}

fn stream<'e>(
    engine: &'e mut Engine,
    ctx: &Context,
    arn: Option<&str>,
    now: Now,
) -> Result<&'e mut Stream, AwsError> {
    let arn = arn.ok_or_else(|| errors::missing("streamARN"))?;
    stream_name(arn, ctx)?;
    open(&mut engine.streams, arn, now)
}

/// By name.
pub(crate) type ByName = BTreeMap<String, Consumer>;
