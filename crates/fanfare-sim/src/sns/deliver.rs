//! From a published message to the subscribed queues, raw or in a notification envelope.
//!
//! A queue that is gone, does not let SNS in or cannot take the message is a client error to SNS:
//! never retried, the message goes to the subscription's dead-letter queue or is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use tokio::time::Instant;

use super::message::Outgoing;
use super::subscription::Subscription;
use crate::engine::Engine;
use crate::engine::arn::Arn;
use crate::engine::content::{
    AttributeValue, Attributes, Content, check_attributes, check_body, size,
};
use crate::engine::policy::{Access, Principal};
use crate::sqs::NewMessage;

/// The id under which the SNS service sends to queues.
const SNS_SENDER: &str = "AIDAIT2UOQQY3AUEKVGXU";

/// The notification envelope of a delivery that is not raw.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Notification<'a> {
    r#type: &'static str,
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    topic_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    message: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'static str>,
    #[serde(rename = "SigningCertURL", skip_serializing_if = "Option::is_none")]
    signing_cert_url: Option<String>,
    #[serde(rename = "UnsubscribeURL")]
    unsubscribe_url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<&'a str, NotificationAttribute<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NotificationAttribute<'a> {
    r#type: &'a str,
    value: String,
}

/// One delivery to make.
struct Delivery {
    queue: String,
    dead_letters: Option<String>,
    content: Arc<Content>,
}

/// Delivers a message to every subscription that wants it.
pub(super) fn deliver(
    engine: &mut Engine,
    topic: &str,
    message: &Outgoing,
    id: &str,
    sequence: Option<&str>,
) {
    let raw = OnceLock::new();
    let no_attributes = Attributes::new();
    let delivered = if message.per_protocol { &no_attributes } else { &message.attributes };
    let subscriptions = engine.topics.get(topic).map(|topic| topic.subscriptions.as_slice());
    let deliveries: Vec<Delivery> = subscriptions
        .unwrap_or_default()
        .iter()
        .filter_map(|arn| Some((arn, engine.subscriptions.get(arn)?)))
        .filter(|(_, subscription)| wants(subscription, message))
        .map(|(arn, subscription)| Delivery {
            queue: subscription.endpoint.clone(),
            dead_letters: subscription.settings.dead_letters.clone(),
            content: if subscription.settings.raw {
                // All raw subscribers share one content.
                let content = || Arc::new(Content::new(message.body.clone(), delivered.clone()));
                Arc::clone(raw.get_or_init(content))
            } else {
                let body = envelope(engine, topic, arn, message, delivered, id, sequence);
                Arc::new(Content::new(body, Attributes::new()))
            },
        })
        .collect();
    for delivery in deliveries {
        let targets = [Some(delivery.queue), delivery.dead_letters];
        let open = |queue: &String| admits(engine, topic, queue, &delivery.content);
        if let Some(queue) = targets.into_iter().flatten().find(open) {
            send(engine, topic, &queue, message, delivery.content);
        }
    }
}

fn wants(subscription: &Subscription, message: &Outgoing) -> bool {
    let filter = subscription.settings.filter.as_ref();
    filter.is_none_or(|filter| filter.matches(&message.attributes, &message.body))
}

/// Whether the queue exists, lets SNS in on behalf of the topic, and can take the message.
fn admits(engine: &Engine, topic: &str, arn: &str, content: &Content) -> bool {
    let Some(queue) = engine.queues.get(arn) else { return false };
    let access = Access {
        principal: Principal::Service("sns.amazonaws.com"),
        action: "sqs:SendMessage",
        resource: arn,
        source_arn: Some(topic),
    };
    queue.attributes.policy.as_ref().is_some_and(|policy| policy.allows(access))
        && size(&content.body, &content.attributes) <= queue.attributes.max_message_bytes as usize
        && check_body(&content.body).is_ok()
        && check_attributes(&content.attributes).is_ok()
}

fn send(engine: &mut Engine, topic: &str, queue: &str, message: &Outgoing, content: Arc<Content>) {
    let (fifo_topic, fifo_queue) = (topic.ends_with(".fifo"), queue.ends_with(".fifo"));
    // A FIFO topic's group means nothing to a standard queue; a standard topic's marks a tenant.
    let group = message.group.clone().filter(|_| fifo_topic == fifo_queue);
    let new = NewMessage {
        content,
        trace_header: None,
        sender: SNS_SENDER.to_owned(),
        group,
        dedup: message.dedup.clone().filter(|_| fifo_queue),
        delay: None,
    };
    if engine.enqueue(queue, new).is_none() {
        tracing::debug!(topic, queue, "a delivery found no queue");
    }
}

fn envelope(
    engine: &Engine,
    topic: &str,
    subscription: &str,
    message: &Outgoing,
    attributes: &Attributes,
    id: &str,
    sequence: Option<&str>,
) -> String {
    let region = Arn::parse(topic).map_or("us-east-1", |arn| arn.region);
    let host = format!("https://sns.{region}.amazonaws.com");
    // FIFO topics do not sign.
    let signed = sequence.is_none();
    let message_attributes = attributes
        .iter()
        .map(|(name, attribute)| {
            let value = match &attribute.value {
                AttributeValue::String(text) => text.clone(),
                AttributeValue::Binary(bytes) => aws_smithy_types::base64::encode(bytes),
            };
            (name.as_str(), NotificationAttribute { r#type: &attribute.data_type, value })
        })
        .collect();
    let notification = Notification {
        r#type: "Notification",
        message_id: id,
        sequence_number: sequence,
        topic_arn: topic,
        subject: message.subject.as_deref(),
        message: &message.body,
        timestamp: engine.clock.iso8601(Instant::now()),
        signature_version: signed.then_some("1"),
        // No signature of AWS's, and no certificate that could verify it.
        signature: signed.then_some("c2ltdWxhdGVk"),
        signing_cert_url: signed.then(|| format!("{host}/SimpleNotificationService-simulated.pem")),
        unsubscribe_url: format!("{host}/?Action=Unsubscribe&SubscriptionArn={subscription}"),
        message_attributes,
    };
    serde_json::to_string(&notification).unwrap_or_default()
}
