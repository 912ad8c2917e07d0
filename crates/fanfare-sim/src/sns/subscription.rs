//! Subscriptions of SQS queues to topics.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::filter::{FilterPolicy, Scope};
use super::{lenient, open, page, parse_arn};
use crate::engine::Engine;
use crate::engine::arn::Arn;
use crate::error::AwsError;
use crate::wire::{Context, Xml};

/// A queue's subscription to a topic.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) topic: String,
    /// ARN of the queue.
    pub(crate) endpoint: String,
    pub(crate) owner: String,
    pub(crate) settings: Settings,
}

/// What the attributes of a subscription come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) raw: bool,
    pub(crate) filter: Option<FilterPolicy>,
    /// ARN of the queue for what cannot be delivered.
    pub(crate) dead_letters: Option<String>,
    /// What was set, as it was set.
    set: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Subscribe {
    topic_arn: String,
    protocol: String,
    endpoint: String,
    #[serde(deserialize_with = "lenient")]
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneSubscription {
    subscription_arn: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SetSubscriptionAttributes {
    subscription_arn: String,
    attribute_name: String,
    attribute_value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListSubscriptions {
    topic_arn: String,
    next_token: Option<String>,
}

impl Settings {
    /// Sets attributes, all or none; the error is what follows `Invalid parameter: `.
    fn with(
        &self,
        given: &BTreeMap<String, String>,
        topic: &str,
        endpoint: &str,
    ) -> Result<Self, String> {
        let mut settings = self.clone();
        for (name, value) in given {
            settings.apply(name, value, topic, endpoint)?;
            if value.is_empty() {
                settings.set.remove(name);
            } else {
                settings.set.insert(name.clone(), value.clone());
            }
        }
        // Last, because the policy is read in the light of its scope, whichever was set now.
        let policy = settings.set.get("FilterPolicy").filter(|policy| !is_empty_object(policy));
        settings.filter = policy
            .map(|policy| FilterPolicy::parse(policy, settings.scope()))
            .transpose()
            .map_err(|reason| format!("FilterPolicy: {reason}"))?;
        Ok(settings)
    }

    fn apply(
        &mut self,
        name: &str,
        value: &str,
        topic: &str,
        endpoint: &str,
    ) -> Result<(), String> {
        match name {
            "FilterPolicy" | "DeliveryPolicy" | "SubscriptionRoleArn" => {}
            "FilterPolicyScope" => {
                if !["MessageAttributes", "MessageBody"].contains(&value) {
                    return Err(format!(
                        "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody \
                         or MessageAttributes"
                    ));
                }
            }
            "RawMessageDelivery" => {
                self.raw = match value.to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => {
                        return Err(format!(
                            "RawMessageDelivery: Invalid value [{value}]. Must be true or false."
                        ));
                    }
                }
            }
            "RedrivePolicy" if value.is_empty() => self.dead_letters = None,
            "RedrivePolicy" => self.dead_letters = Some(redrive_target(value, topic, endpoint)?),
            _ => return Err("AttributeName".to_owned()),
        }
        Ok(())
    }

    fn scope(&self) -> Scope {
        match self.set.get("FilterPolicyScope").map(String::as_str) {
            Some("MessageBody") => Scope::Body,
            _ => Scope::Attributes,
        }
    }

    fn agree_with(&self, given: &BTreeMap<String, String>) -> bool {
        given.iter().all(|(name, value)| match name.as_str() {
            "RawMessageDelivery" => {
                value.eq_ignore_ascii_case(if self.raw { "true" } else { "false" })
            }
            "FilterPolicyScope" if !self.set.contains_key(name) => value == "MessageAttributes",
            _ => {
                let own = self.set.get(name).map(String::as_str).unwrap_or_default();
                own == value || same_json(own, value)
            }
        })
    }
}

pub(super) fn subscribe(
    engine: &mut Engine,
    ctx: &Context,
    request: Subscribe,
) -> Result<Xml, AwsError> {
    let Subscribe { topic_arn, protocol, endpoint, attributes } = request;
    let topic = open(engine, ctx, &topic_arn, "Subscribe")?;
    let (fifo_topic, account) = (topic.attributes.fifo, topic.account.clone());
    let existing = topic.subscriptions.clone();
    if protocol != "sqs" {
        return Err(AwsError::invalid_parameter(format!(
            "Amazon SNS does not support this protocol string: {protocol}"
        )));
    }
    let queue = Arn::parse(&endpoint).filter(|arn| arn.service == "sqs");
    let queue = queue.ok_or_else(|| AwsError::invalid_parameter("SQS endpoint ARN"))?;
    if queue.account != account || ctx.caller.account != account {
        // AWS would wait for the other account to confirm, which is not simulated.
        return Err(AwsError::invalid_parameter(
            "Endpoint Reason: subscriptions across accounts are not simulated",
        ));
    }
    if queue.resource.ends_with(".fifo") && !fifo_topic {
        return Err(AwsError::invalid_parameter(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard \
             SNS topics",
        ));
    }
    let settings = Settings::default()
        .with(&attributes, &topic_arn, &endpoint)
        .map_err(|reason| AwsError::invalid_parameter(format!("Attributes Reason: {reason}")))?;

    let subscribed = existing.into_iter().find_map(|arn| {
        let subscription = engine.subscriptions.get(&arn)?;
        (subscription.endpoint == endpoint).then_some((arn, subscription))
    });
    let arn = match subscribed {
        Some((_, subscription)) if !subscription.settings.agree_with(&attributes) => {
            return Err(AwsError::invalid_parameter(
                "Attributes Reason: Subscription already exists with different attributes",
            ));
        }
        Some((arn, _)) => arn,
        None => {
            let arn = format!("{topic_arn}:{}", engine.uuid());
            open(engine, ctx, &topic_arn, "Subscribe")?.subscriptions.push(arn.clone());
            let owner = ctx.caller.account.clone();
            let subscription = Subscription { topic: topic_arn, endpoint, owner, settings };
            engine.subscriptions.insert(arn.clone(), subscription);
            arn
        }
    };
    let mut xml = Xml::default();
    xml.text("SubscriptionArn", &arn);
    Ok(xml)
}

pub(super) fn unsubscribe(
    engine: &mut Engine,
    ctx: &Context,
    request: OneSubscription,
) -> Result<Xml, AwsError> {
    let arn = request.subscription_arn;
    if !parse_arn(&arn, "SubscriptionArn")?.resource.contains(':') {
        return Err(AwsError::invalid_parameter("SubscriptionId"));
    }
    // Unsubscribing what is not subscribed is fine.
    if let Some(subscription) = engine.subscriptions.get(&arn).cloned() {
        if subscription.owner != ctx.caller.account {
            return Err(AwsError::sender("AuthorizationError", "Not authorized").with_status(403));
        }
        engine.subscriptions.remove(&arn);
        if let Some(topic) = engine.topics.get_mut(&subscription.topic) {
            topic.subscriptions.retain(|other| *other != arn);
            topic.unsubscribed += 1;
        }
    }
    Ok(Xml::default())
}

pub(super) fn get_attributes(
    engine: &mut Engine,
    ctx: &Context,
    request: OneSubscription,
) -> Result<Xml, AwsError> {
    let arn = request.subscription_arn;
    let subscription = find(engine, ctx, &arn)?;
    let text = str::to_owned;
    let mut all: BTreeMap<&str, String> = BTreeMap::from([
        ("SubscriptionArn", arn.clone()),
        ("TopicArn", subscription.topic.clone()),
        ("Protocol", text("sqs")),
        ("Endpoint", subscription.endpoint.clone()),
        ("Owner", subscription.owner.clone()),
        ("ConfirmationWasAuthenticated", text("true")),
        ("PendingConfirmation", text("false")),
        ("RawMessageDelivery", text("false")),
        ("SubscriptionPrincipal", format!("arn:aws:iam::{}:root", subscription.owner)),
    ]);
    let set = &subscription.settings.set;
    all.extend(set.iter().map(|(name, value)| (name.as_str(), value.clone())));
    all.insert("RawMessageDelivery", subscription.settings.raw.to_string());
    if set.contains_key("FilterPolicy") {
        all.entry("FilterPolicyScope").or_insert_with(|| text("MessageAttributes"));
    } else {
        all.remove("FilterPolicyScope");
    }
    let mut xml = Xml::default();
    xml.map("Attributes", all);
    Ok(xml)
}

pub(super) fn set_attribute(
    engine: &mut Engine,
    ctx: &Context,
    request: SetSubscriptionAttributes,
) -> Result<Xml, AwsError> {
    let subscription = find(engine, ctx, &request.subscription_arn)?;
    let given = BTreeMap::from([(request.attribute_name, request.attribute_value)]);
    subscription.settings = subscription
        .settings
        .with(&given, &subscription.topic, &subscription.endpoint)
        .map_err(AwsError::invalid_parameter)?;
    Ok(Xml::default())
}

pub(super) fn list(
    engine: &mut Engine,
    ctx: &Context,
    request: ListSubscriptions,
) -> Result<Xml, AwsError> {
    let region = format!(":{}:", ctx.caller.region);
    let own = engine.subscriptions.iter().filter(|(arn, subscription)| {
        subscription.owner == ctx.caller.account && arn.contains(&region)
    });
    Ok(describe(own, request.next_token.as_deref()))
}

pub(super) fn list_by_topic(
    engine: &mut Engine,
    ctx: &Context,
    request: ListSubscriptions,
) -> Result<Xml, AwsError> {
    open(engine, ctx, &request.topic_arn, "ListSubscriptionsByTopic")?;
    let of_topic = engine.subscriptions.iter().filter(|(_, s)| s.topic == request.topic_arn);
    Ok(describe(of_topic, request.next_token.as_deref()))
}

fn describe<'a>(
    subscriptions: impl Iterator<Item = (&'a String, &'a Subscription)>,
    after: Option<&str>,
) -> Xml {
    let (members, next) = page(subscriptions.map(|(arn, s)| (arn, (arn, s))), after);
    let mut xml = Xml::default();
    xml.list("Subscriptions", members, |xml, (arn, subscription)| {
        xml.text("SubscriptionArn", arn)
            .text("Owner", &subscription.owner)
            .text("Protocol", "sqs")
            .text("Endpoint", &subscription.endpoint)
            .text("TopicArn", &subscription.topic);
    });
    if let Some(token) = next {
        xml.text("NextToken", &token);
    }
    xml
}

fn find<'e>(
    engine: &'e mut Engine,
    ctx: &Context,
    arn: &str,
) -> Result<&'e mut Subscription, AwsError> {
    parse_arn(arn, "SubscriptionArn")?;
    engine
        .subscriptions
        .get_mut(arn)
        .filter(|subscription| subscription.owner == ctx.caller.account)
        .ok_or_else(|| AwsError::not_found("Subscription does not exist"))
}

fn redrive_target(policy: &str, topic: &str, endpoint: &str) -> Result<String, String> {
    let parsed: Value = serde_json::from_str(policy)
        .map_err(|_| "RedrivePolicy: failed to parse JSON.".to_owned())?;
    let target = parsed.get("deadLetterTargetArn").and_then(Value::as_str).unwrap_or_default();
    let place = |arn: Arn<'_>| (arn.region.to_owned(), arn.account.to_owned());
    let arn = Arn::parse(target)
        .filter(|arn| arn.service == "sqs")
        .ok_or_else(|| "RedrivePolicy: deadLetterTargetArn is an invalid arn".to_owned())?;
    if Arn::parse(topic).map(place) != Some(place(arn)) {
        return Err(
            "RedrivePolicy: deadLetterTargetArn must be in the subscription's account and \
                    region"
                .to_owned(),
        );
    }
    if endpoint.ends_with(".fifo") != target.ends_with(".fifo") {
        return Err(
            "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO \
                    Topic."
                .to_owned(),
        );
    }
    Ok(target.to_owned())
}

fn is_empty_object(policy: &str) -> bool {
    serde_json::from_str::<Value>(policy).is_ok_and(|p| p.as_object().is_some_and(|o| o.is_empty()))
}

fn same_json(a: &str, b: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    parse(a).is_some_and(|a| Some(a) == parse(b))
}
