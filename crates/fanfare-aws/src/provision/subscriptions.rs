//! Subscriptions: who gets what.

use std::collections::HashMap;

use fanfare_topology::{Plan, PlannedTopic};
use serde_json::json;

use super::{ProvisionError, Provisioned, failed, same_json};
use crate::{
    Aws,
    failure::{Class, Failure},
};

/// Makes sure that the services' queues are subscribed to `topic` just as planned.
pub(super) async fn ensure(
    aws: &Aws,
    topic: &PlannedTopic,
    plan: &Plan,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let topic_arn = aws.topic_arn(&topic.name);
    let mut present = list(aws, &topic_arn, &topic.name).await?.unwrap_or_default();
    for queue in &plan.queues {
        let resource = format!("subscription of {} to {}", queue.name, topic.name);
        let there = present.remove(&aws.queue_arn(&queue.name));
        let wanted = plan
            .subscriptions
            .iter()
            .find(|wanted| wanted.queue_name == queue.name && wanted.topic_name == topic.name);
        let dead_letter_arn = aws.queue_arn(&queue.dead_letter_name);
        match (wanted, there) {
            (None, None) => {}
            (None, Some(arn)) => {
                let request = aws.sns().unsubscribe().subscription_arn(arn);
                request.send().await.map_err(failed("removing", &resource))?;
                report.removed(resource);
            }
            (Some(wanted), None) => {
                let attributes = attributes(&wanted.filter_policy(), &dead_letter_arn);
                let attributes = attributes.map(|(name, value)| (name.to_string(), value));
                let request = aws
                    .sns()
                    .subscribe()
                    .topic_arn(&topic_arn)
                    .protocol("sqs")
                    .endpoint(aws.queue_arn(&queue.name))
                    .set_attributes(Some(HashMap::from(attributes)));
                request.send().await.map_err(failed("creating", &resource))?;
                report.created(resource);
            }
            (Some(wanted), Some(arn)) => {
                let attributes = attributes(&wanted.filter_policy(), &dead_letter_arn);
                mend(aws, &arn, attributes, resource, report).await?;
            }
        }
    }
    Ok(())
}

/// Removes the subscription of one queue, if it is there.
pub(super) async fn remove(
    aws: &Aws,
    topic: &PlannedTopic,
    queue: &str,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let present = list(aws, &aws.topic_arn(&topic.name), &topic.name).await?.unwrap_or_default();
    if let Some(arn) = present.get(&aws.queue_arn(queue)) {
        let resource = format!("subscription of {queue} to {}", topic.name);
        let request = aws.sns().unsubscribe().subscription_arn(arn);
        request.send().await.map_err(failed("removing", &resource))?;
        report.removed(resource);
    }
    Ok(())
}

/// The topic's subscriptions: queue ARN to subscription ARN. None if the topic is not there.
pub(super) async fn list(
    aws: &Aws,
    topic_arn: &str,
    name: &str,
) -> Result<Option<HashMap<String, String>>, ProvisionError> {
    let mut present = HashMap::new();
    let request = aws.sns().list_subscriptions_by_topic().topic_arn(topic_arn);
    let mut pages = request.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = match page {
            Err(error) if Failure::of(&error).class == Class::NotFound => return Ok(None),
            page => {
                page.map_err(failed("reading the subscriptions of", &format!("topic {name}")))?
            }
        };
        let pairs = page.subscriptions.unwrap_or_default().into_iter();
        present.extend(pairs.filter_map(|s| Some((s.endpoint?, s.subscription_arn?))));
    }
    Ok(Some(present))
}

/// Sets the attributes that differ.
async fn mend(
    aws: &Aws,
    arn: &str,
    attributes: [(&'static str, String); 4],
    resource: String,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let answer = aws.sns().get_subscription_attributes().subscription_arn(arn).send().await;
    let present = answer.map_err(failed("reading", &resource))?.attributes.unwrap_or_default();
    let mut changed = false;
    for (name, value) in attributes {
        if present.get(name).is_some_and(|there| *there == value || same_json(there, &value)) {
            continue;
        }
        // The scope's default is not given back by every server.
        if name == FILTER_POLICY_SCOPE && !present.contains_key(name) {
            continue;
        }
        let request = aws.sns().set_subscription_attributes().subscription_arn(arn);
        let request = request.attribute_name(name).attribute_value(value);
        request.send().await.map_err(failed("updating", &resource))?;
        report.updated(resource.clone(), name);
        changed = true;
    }
    report.unchanged += usize::from(!changed);
    Ok(())
}

const FILTER_POLICY_SCOPE: &str = "FilterPolicyScope";

fn attributes(filter_policy: &str, dead_letter_arn: &str) -> [(&'static str, String); 4] {
    [
        ("RawMessageDelivery", "true".into()),
        ("FilterPolicy", filter_policy.into()),
        (FILTER_POLICY_SCOPE, "MessageAttributes".into()),
        ("RedrivePolicy", json!({ "deadLetterTargetArn": dead_letter_arn }).to_string()),
    ]
}
