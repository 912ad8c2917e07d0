//! SNS: dispatch of its actions, which speak the Query protocol.

mod deliver;
mod filter;
mod message;
mod publish;
mod subscription;
mod tags;
mod topic;
mod topic_attributes;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::engine::Engine;
use crate::engine::arn::Arn;
use crate::engine::limits::SNS_PAGE;
use crate::engine::policy::{Access, Principal};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::{Context, Xml, parse_query};

pub(crate) use subscription::Subscription;
pub(crate) use topic::Topic;

/// Performs one action; the answer is the inside of its result element.
pub(crate) fn call(
    sim: &Shared,
    ctx: &Context,
    action: &str,
    form: &[u8],
) -> Result<Bytes, AwsError> {
    match action {
        "CreateTopic" => run(sim, ctx, form, topic::create),
        "DeleteTopic" => run(sim, ctx, form, topic::delete),
        "GetSubscriptionAttributes" => run(sim, ctx, form, subscription::get_attributes),
        "GetTopicAttributes" => run(sim, ctx, form, topic::get_attributes),
        "ListSubscriptions" => run(sim, ctx, form, subscription::list),
        "ListSubscriptionsByTopic" => run(sim, ctx, form, subscription::list_by_topic),
        "ListTagsForResource" => run(sim, ctx, form, tags::list),
        "ListTopics" => run(sim, ctx, form, topic::list),
        "Publish" => run(sim, ctx, form, publish::publish),
        "PublishBatch" => run(sim, ctx, form, publish::publish_batch),
        "SetSubscriptionAttributes" => run(sim, ctx, form, subscription::set_attribute),
        "SetTopicAttributes" => run(sim, ctx, form, topic::set_attribute),
        "Subscribe" => run(sim, ctx, form, subscription::subscribe),
        "TagResource" => run(sim, ctx, form, tags::tag),
        "Unsubscribe" => run(sim, ctx, form, subscription::unsubscribe),
        "UntagResource" => run(sim, ctx, form, tags::untag),
        _ => Err(AwsError::sender(
            "InvalidAction",
            format!("The action {action} is not valid for this web service."),
        )),
    }
}

fn run<I: DeserializeOwned>(
    sim: &Shared,
    ctx: &Context,
    form: &[u8],
    operation: fn(&mut Engine, &Context, I) -> Result<Xml, AwsError>,
) -> Result<Bytes, AwsError> {
    let request = parse_query(form)?;
    Ok(operation(&mut sim.lock(), ctx, request)?.into_bytes())
}

/// The topic behind an ARN, if the caller may do this with it.
fn open<'e>(
    engine: &'e mut Engine,
    ctx: &Context,
    arn: &str,
    action: &str,
) -> Result<&'e mut Topic, AwsError> {
    let parsed = parse_arn(arn, "TopicArn")?;
    if parsed.region != ctx.caller.region || parsed.service != "sns" {
        return Err(AwsError::invalid_parameter("TopicArn"));
    }
    let not_found = || AwsError::not_found("Topic does not exist");
    let topic = engine.topics.get_mut(arn).ok_or_else(not_found)?;
    let access = Access {
        principal: Principal::Account(&ctx.caller.account),
        action: &format!("sns:{action}"),
        resource: arn,
        source_arn: None,
    };
    // An account is at home in its own topics; others need the topic's policy.
    let allowed = || topic.attributes.policy.as_ref().is_some_and(|p| p.allows(access));
    if parsed.account != ctx.caller.account && !allowed() {
        let message = format!(
            "User: arn:aws:iam::{}:root is not authorized to perform: SNS:{action} on resource: \
             {arn}",
            ctx.caller.account
        );
        return Err(AwsError::sender("AuthorizationError", message).with_status(403));
    }
    Ok(topic)
}

fn parse_arn<'a>(arn: &'a str, parameter: &str) -> Result<Arn<'a>, AwsError> {
    Arn::parse(arn).ok_or_else(|| {
        AwsError::invalid_parameter(format!(
            "{parameter} Reason: An ARN must have at least 6 elements, not {}",
            arn.split(':').count()
        ))
    })
}

/// One page of a list whose items come in order of their keys, and the token of the next.
fn page<'a, T>(
    items: impl Iterator<Item = (&'a String, T)>,
    after: Option<&str>,
) -> (Vec<T>, Option<String>) {
    let mut rest = items.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let (mut page, mut last) = (Vec::new(), None);
    for (key, item) in rest.by_ref().take(SNS_PAGE) {
        page.push(item);
        last = Some(key.clone());
    }
    let more = rest.next().is_some();
    (page, last.filter(|_| more))
}

/// Reads a list or map; the Query protocol writes an empty one as an empty string.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient<T> {
        Full(T),
        Empty(#[allow(dead_code)] String),
    }
    Ok(match Lenient::deserialize(deserializer)? {
        Lenient::Full(value) => value,
        Lenient::Empty(_) => T::default(),
    })
}
