//! Topics themselves: create, list, configure, delete.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::topic_attributes::TopicAttributes;
use super::{lenient, open, page, parse_arn, tags};
use crate::engine::Engine;
use crate::engine::arn::topic_arn;
use crate::engine::dedup::DedupWindow;
use crate::engine::limits::MAX_TOPIC_NAME;
use crate::error::AwsError;
use crate::wire::{Context, Xml};

/// A topic and its subscriptions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) account: String,
    pub(crate) attributes: TopicAttributes,
    pub(crate) tags: BTreeMap<String, String>,
    /// ARNs, in order of subscription.
    pub(crate) subscriptions: Vec<String>,
    pub(crate) unsubscribed: usize,
    /// Message id and sequence number that a deduplication id was answered with.
    pub(crate) dedup: DedupWindow<(String, Option<String>)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CreateTopic {
    name: String,
    #[serde(deserialize_with = "lenient")]
    attributes: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    tags: Vec<tags::Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneTopic {
    topic_arn: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SetTopicAttributes {
    topic_arn: String,
    attribute_name: String,
    attribute_value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListTopics {
    next_token: Option<String>,
}

pub(super) fn create(
    engine: &mut Engine,
    ctx: &Context,
    request: CreateTopic,
) -> Result<Xml, AwsError> {
    let name = request.name;
    let attributes = TopicAttributes::create(&request.attributes)
        .map_err(|reason| AwsError::invalid_parameter(format!("Attributes Reason: {reason}")))?;
    check_name(&name, attributes.fifo)?;
    let tags = tags::collect(request.tags)?;
    let arn = topic_arn(&ctx.caller.region, &ctx.caller.account, &name);
    match engine.topics.get(&arn) {
        Some(topic) if !topic.attributes.agree_with(&request.attributes) => {
            return Err(AwsError::invalid_parameter(
                "Attributes Reason: Topic already exists with different attributes",
            ));
        }
        Some(topic) if tags.iter().any(|(key, value)| topic.tags.get(key) != Some(value)) => {
            return Err(AwsError::invalid_parameter(
                "Tags Reason: Topic already exists with different tags",
            ));
        }
        Some(_) => {}
        None => {
            let topic = Topic {
                account: ctx.caller.account.clone(),
                attributes,
                tags,
                subscriptions: Vec::new(),
                unsubscribed: 0,
                dedup: DedupWindow::default(),
            };
            engine.topics.insert(arn.clone(), topic);
        }
    }
    let mut xml = Xml::default();
    xml.text("TopicArn", &arn);
    Ok(xml)
}

pub(super) fn delete(
    engine: &mut Engine,
    ctx: &Context,
    request: OneTopic,
) -> Result<Xml, AwsError> {
    parse_arn(&request.topic_arn, "TopicArn")?;
    // Deleting what does not exist is fine, deleting somebody else's is not.
    if engine.topics.contains_key(&request.topic_arn) {
        open(engine, ctx, &request.topic_arn, "DeleteTopic")?;
        engine.topics.remove(&request.topic_arn);
        engine.subscriptions.retain(|_, subscription| subscription.topic != request.topic_arn);
    }
    Ok(Xml::default())
}

pub(super) fn list(
    engine: &mut Engine,
    ctx: &Context,
    request: ListTopics,
) -> Result<Xml, AwsError> {
    let own = topic_arn(&ctx.caller.region, &ctx.caller.account, "");
    let topics = engine.topics.keys().filter(|arn| arn.starts_with(&own)).map(|arn| (arn, arn));
    let (arns, next) = page(topics, request.next_token.as_deref());
    let mut xml = Xml::default();
    xml.list("Topics", arns, |xml, arn| {
        xml.text("TopicArn", arn);
    });
    if let Some(token) = next {
        xml.text("NextToken", &token);
    }
    Ok(xml)
}

pub(super) fn get_attributes(
    engine: &mut Engine,
    ctx: &Context,
    request: OneTopic,
) -> Result<Xml, AwsError> {
    let arn = request.topic_arn;
    let topic = open(engine, ctx, &arn, "GetTopicAttributes")?;
    let retry = json!({
        "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
        "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear",
    });
    let delivery = json!({
        "http": {
            "defaultHealthyRetryPolicy": retry,
            "disableSubscriptionOverrides": false,
            "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
        }
    });
    let mut all: BTreeMap<&str, String> = BTreeMap::from([
        ("TopicArn", arn.clone()),
        ("Owner", topic.account.clone()),
        ("DisplayName", String::new()),
        ("Policy", default_policy(&arn, &topic.account)),
        ("EffectiveDeliveryPolicy", delivery.to_string()),
        ("SubscriptionsConfirmed", topic.subscriptions.len().to_string()),
        ("SubscriptionsDeleted", topic.unsubscribed.to_string()),
        ("SubscriptionsPending", "0".to_owned()),
    ]);
    if topic.attributes.fifo {
        all.insert("FifoTopic", "true".to_owned());
        all.insert("ContentBasedDeduplication", "false".to_owned());
    }
    all.extend(topic.attributes.set.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut xml = Xml::default();
    xml.map("Attributes", all);
    Ok(xml)
}

pub(super) fn set_attribute(
    engine: &mut Engine,
    ctx: &Context,
    request: SetTopicAttributes,
) -> Result<Xml, AwsError> {
    let topic = open(engine, ctx, &request.topic_arn, "SetTopicAttributes")?;
    topic
        .attributes
        .set(&request.attribute_name, &request.attribute_value)
        .map_err(AwsError::invalid_parameter)?;
    Ok(Xml::default())
}

fn check_name(name: &str, fifo: bool) -> Result<(), AwsError> {
    let stem = if fifo { name.strip_suffix(".fifo").unwrap_or_default() } else { name };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !stem.is_empty() && name.len() <= MAX_TOPIC_NAME && stem.bytes().all(legal) {
        return Ok(());
    }
    Err(AwsError::invalid_parameter(if fifo {
        "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase \
         ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 \
         characters long."
    } else {
        "Topic Name"
    }))
}

/// The policy that SNS gives a new topic: its owner may do everything.
fn default_policy(arn: &str, account: &str) -> String {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [
                "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission",
                "SNS:RemovePermission", "SNS:DeleteTopic", "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic", "SNS:Publish",
            ],
            "Resource": arn,
            "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
        }],
    })
    .to_string()
}
