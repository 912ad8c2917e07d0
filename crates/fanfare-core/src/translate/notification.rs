//! What SNS puts around a message where raw delivery is off.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Inward, TranslateError, Translator,
    fields::{Body, Fields},
};
use crate::{Attribute, Attributes, Message, RawDelivery};

const NAME: &str = "SNS notification";

/// An SNS notification, as a subscription without raw delivery puts it around each message:
/// `{"Type":"Notification","MessageId":…,"TopicArn":…,"Subject":…,"Message":"…","Timestamp":…,
/// "MessageAttributes":{…}}`. JustSaying writes the same into queues, with `Subject` and `Message` alone.
///
/// What is inside may be an event of ours, or a message of another format, which the translators behind
/// this one take. The notification's message attributes become those of the delivery, and what it says
/// itself becomes attributes too, by names that no sender can use: SNS and SQS refuse those that begin
/// with `AWS.`.
///
/// ```
/// # use fanfare_core::{Consumer, EventType, translate::{SnsNotification, Translation, format}};
/// # #[derive(EventType)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced {}
/// # fn example(consumer: Consumer) -> Consumer {
/// // JustSaying has the name of the type as the subject.
/// let just_saying = Translation::of(format::PlainJson::tag_in(SnsNotification::SUBJECT))
///     .map::<OrderPlaced>("OrderAccepted");
/// consumer.translator(SnsNotification::new()).translator(just_saying)
/// # }
/// ```
///
/// Outward the message's attributes move into the notification: that is for a queue, as a topic's
/// subscriptions filter by them.
///
/// Signatures are not checked: who may send to the queue is the queue's policy.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html>
#[derive(Clone, Default)]
pub struct SnsNotification {
    inside: Option<Arc<dyn Translator>>,
}

impl SnsNotification {
    /// The attribute that holds a notification's subject while it is translated.
    pub const SUBJECT: &str = "AWS.SNS.Subject";
    /// The attribute that holds a notification's id while it is translated.
    pub const MESSAGE_ID: &str = "AWS.SNS.MessageId";
    /// The attribute that holds a notification's topic while it is translated.
    pub const TOPIC_ARN: &str = "AWS.SNS.TopicArn";
    /// The attribute that holds a notification's time while it is translated.
    pub const TIMESTAMP: &str = "AWS.SNS.Timestamp";

    /// Notifications of anything; outward, of fanfare's own envelope.
    #[must_use]
    pub fn new() -> Self {
        SnsNotification::default()
    }

    /// Notifications of messages that `inside` translates: outward it does so before the notification is
    /// put around.
    #[must_use]
    pub fn around(inside: impl Translator + 'static) -> Self {
        SnsNotification { inside: Some(Arc::new(inside)) }
    }
}

impl fmt::Debug for SnsNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsNotification").finish_non_exhaustive()
    }
}

impl Translator for SnsNotification {
    fn inward(&self, delivery: &RawDelivery) -> Result<Option<Inward>, TranslateError> {
        let Some(inner) = unwrap(delivery)? else { return Ok(None) };
        let translated = self.inside.as_ref().map(|inside| inside.inward(&inner)).transpose()?;
        Ok(Some(translated.flatten().unwrap_or(Inward::Unwrapped(inner))))
    }

    fn outward(&self, message: Message) -> Result<Message, TranslateError> {
        let message = match &self.inside {
            Some(inside) => inside.outward(message)?,
            None => message,
        };
        let (own, attributes): (Vec<_>, _) =
            message.attributes.into_iter().partition(|(name, _)| name == Self::SUBJECT);
        let notification = Notification {
            kind: "Notification",
            message_id: &message.id,
            subject: own.first().map(|(_, subject)| subject.as_str()),
            message: &message.body,
            timestamp: Timestamp::now(),
            message_attributes: &attributes
                .into_iter()
                .map(|(name, value)| {
                    (name, NotifiedAttribute { data_type: "String".into(), value })
                })
                .collect(),
        };
        let body = serde_json::to_string(&notification)
            .map_err(|error| TranslateError::malformed(NAME, ".", error.to_string()))?;
        Ok(Message { body, attributes: Vec::new(), ..message })
    }
}

/// What is in a notification; none if it is something else.
fn unwrap(delivery: &RawDelivery) -> Result<Option<RawDelivery>, TranslateError> {
    const FIELDS: [&str; 7] =
        ["Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "MessageAttributes"];
    let Body::Object(fields) = Fields::read(NAME, &delivery.body, FIELDS)? else {
        return Ok(None);
    };
    let has_text = |name| matches!(fields.text(name), Ok(Some(_)));
    match fields.text("Type").ok().flatten().as_deref() {
        Some("Notification") => {}
        Some("SubscriptionConfirmation") if fields.get("TopicArn").is_some() => {
            let problem =
                "is not a notification: a subscription of this queue waits for its confirmation";
            return Err(fields.malformed("Type", problem));
        }
        None if has_text("Subject") && has_text("Message") => {}
        _ => return Ok(None),
    }
    fields.required("Message")?;
    let mut attributes = delivery.attributes.clone();
    let notified = fields.read_as("MessageAttributes", "attributes with `Type` and `Value`")?;
    for (name, attribute) in notified.unwrap_or_else(BTreeMap::<String, NotifiedAttribute>::new) {
        attributes.insert(name, attribute.read()?);
    }
    let own = [
        ("Subject", SnsNotification::SUBJECT),
        ("MessageId", SnsNotification::MESSAGE_ID),
        ("TopicArn", SnsNotification::TOPIC_ARN),
        ("Timestamp", SnsNotification::TIMESTAMP),
    ];
    for (field, name) in own {
        put(&mut attributes, name, fields.text(field)?);
    }
    let body = fields.text("Message")?.unwrap_or_default();
    Ok(Some(delivery.holding(body, attributes)))
}

/// Sets an attribute, or takes away one that somebody else set.
fn put(attributes: &mut Attributes, name: &str, value: Option<String>) {
    match value {
        Some(value) => drop(attributes.insert(name.into(), Attribute::text(value))),
        None => drop(attributes.remove(name)),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Notification<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    message: &'a str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: &'a BTreeMap<String, NotifiedAttribute>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotifiedAttribute {
    #[serde(rename = "Type")]
    data_type: String,
    /// In base64 if its type is `Binary`.
    value: String,
}

impl NotifiedAttribute {
    fn read(self) -> Result<Attribute, TranslateError> {
        let NotifiedAttribute { data_type, value } = self;
        if data_type.split('.').next() != Some("Binary") {
            return Ok(Attribute::Text { data_type, value });
        }
        let problem = "has a binary attribute that is not base64";
        let value = STANDARD.decode(value);
        let value =
            value.map_err(|_| TranslateError::malformed(NAME, "MessageAttributes", problem))?;
        Ok(Attribute::Binary { data_type, value })
    }
}
