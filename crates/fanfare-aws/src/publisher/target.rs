//! Where a lane's messages go: one request to it, one result per entry.

use std::borrow::Cow;

use aws_sdk_sns::types::{MessageAttributeValue as SnsAttribute, PublishBatchRequestEntry};
use aws_sdk_sqs::types::{MessageAttributeValue as SqsAttribute, SendMessageBatchRequestEntry};
use aws_smithy_types::error::operation::BuildError;
use fanfare_core::{
    Message, PAYLOAD_SIZE_ATTRIBUTE, PublishError,
    telemetry::{AWS_SNS, AWS_SQS, Channel},
};
use fanfare_topology::{Bindings, Kind, Tenant};

use super::delay;
use crate::{
    Aws,
    failure::Failure,
    limits::{self, SNS_BYTES, SQS_BYTES, legal_id},
};

#[derive(Debug)]
pub(super) struct Target<'a> {
    aws: &'a Aws,
    address: Address,
    kind: Kind,
    /// Of a fair one.
    tenant: Option<&'a Tenant>,
}

#[derive(Debug)]
enum Address {
    TopicArn(String),
    QueueUrl(String),
}

impl<'a> Target<'a> {
    /// A topic on SNS.
    pub(super) fn topic(aws: &'a Aws, bindings: &'a Bindings, topic: &str, kind: Kind) -> Self {
        let address = Address::TopicArn(aws.topic_arn(&bindings.topic_name(topic)));
        Target { aws, address, kind, tenant: bindings.topic_tenant(topic) }
    }

    /// The queue of a service.
    pub(super) fn queue(aws: &'a Aws, bindings: &'a Bindings, service: &str) -> Self {
        let kind = bindings.task_kind(service);
        let address = Address::QueueUrl(aws.queue_url(&bindings.queue_name(service, kind)));
        Target { aws, address, kind, tenant: bindings.task_tenant(service) }
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.kind == Kind::Fifo
    }

    /// The most bytes of a message and of a batch.
    pub(super) fn bytes(&self) -> usize {
        match self.address {
            Address::TopicArn(_) => SNS_BYTES,
            Address::QueueUrl(_) => SQS_BYTES,
        }
    }

    /// Its ARN or URL.
    pub(super) fn resource(&self) -> &str {
        match &self.address {
            Address::TopicArn(address) | Address::QueueUrl(address) => address,
        }
    }

    /// As telemetry names it, and what it calls sending.
    pub(super) fn channel(&self) -> (Channel, &'static str) {
        let (system, separator, operation) = match self.address {
            Address::TopicArn(_) => (AWS_SNS, ':', "publish"),
            Address::QueueUrl(_) => (AWS_SQS, '/', "send"),
        };
        let name = self.resource().rsplit(separator).next().unwrap_or_default();
        (Channel::new(system, name), operation)
    }

    /// Refuses what would be refused, or silently dropped.
    pub(super) fn check(&self, message: &Message) -> Result<(), PublishError> {
        let queue = matches!(self.address, Address::QueueUrl(_)).then_some(self.kind);
        delay::check(message, queue)?;
        limits::check(message, self.bytes())
    }

    /// The message group: what order is kept by, or whose the message is on a fair queue.
    fn group(&self, message: &Message) -> Option<String> {
        if self.is_ordered() {
            return Some(legal_id(&message.key));
        }
        let tenant = match self.tenant? {
            Tenant::Field(field) => {
                message.attributes.iter().find(|(name, _)| name == field).map(|(_, value)| value)
            }
            _ => Some(&message.key),
        };
        tenant.filter(|tenant| !tenant.is_empty()).map(|tenant| legal_id(tenant))
    }

    fn deduplication_id(&self, message: &Message) -> Option<String> {
        self.is_ordered().then(|| legal_id(&message.id))
    }

    /// One batch request; one result per message, in order.
    pub(super) async fn send(&self, messages: &[&Message]) -> Vec<Result<(), Failure>> {
        let answer = match &self.address {
            Address::TopicArn(arn) => self.publish(arn, messages).await,
            Address::QueueUrl(url) => self.enqueue(url, messages).await,
        };
        answer.unwrap_or_else(|failure| vec![Err(failure); messages.len()])
    }

    async fn publish(&self, arn: &str, messages: &[&Message]) -> Result<Results, Failure> {
        let entry = |(i, message): (usize, &&Message)| -> Result<_, BuildError> {
            let mut entry = PublishBatchRequestEntry::builder()
                .id(i.to_string())
                .message(&message.body)
                .set_message_group_id(self.group(message))
                .set_message_deduplication_id(self.deduplication_id(message));
            for (name, data_type, value) in attributes(message) {
                let value =
                    SnsAttribute::builder().data_type(data_type).string_value(value).build()?;
                entry = entry.message_attributes(name, value);
            }
            entry.build()
        };
        let entries: Result<_, _> = messages.iter().enumerate().map(entry).collect();
        let request = self.aws.sns().publish_batch().topic_arn(arn);
        let request =
            request.set_publish_batch_request_entries(Some(entries.map_err(Failure::unbuildable)?));
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        let accepted =
            answer.successful().iter().map(|entry| (entry.id().unwrap_or_default(), Ok(())));
        let failed = answer.failed().iter().map(|entry| {
            let failure = Failure::of_entry(entry.code(), entry.message(), entry.sender_fault());
            (entry.id(), Err(failure))
        });
        Ok(in_order(messages.len(), accepted.chain(failed)))
    }

    async fn enqueue(&self, url: &str, messages: &[&Message]) -> Result<Results, Failure> {
        let entry = |(i, message): (usize, &&Message)| -> Result<_, BuildError> {
            let mut entry = SendMessageBatchRequestEntry::builder()
                .id(i.to_string())
                .message_body(&message.body)
                .set_delay_seconds(delay::of(message))
                .set_message_group_id(self.group(message))
                .set_message_deduplication_id(self.deduplication_id(message));
            for (name, data_type, value) in attributes(message) {
                let value =
                    SqsAttribute::builder().data_type(data_type).string_value(value).build()?;
                entry = entry.message_attributes(name, value);
            }
            entry.build()
        };
        let entries: Result<_, _> = messages.iter().enumerate().map(entry).collect();
        let request = self.aws.sqs().send_message_batch().queue_url(url);
        let request = request.set_entries(Some(entries.map_err(Failure::unbuildable)?));
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        let accepted = answer.successful().iter().map(|entry| (entry.id(), Ok(())));
        let failed = answer.failed().iter().map(|entry| {
            let failure = Failure::of_entry(entry.code(), entry.message(), entry.sender_fault());
            (entry.id(), Err(failure))
        });
        Ok(in_order(messages.len(), accepted.chain(failed)))
    }
}

/// Name, data type and value of a message's attributes: of its own, and of what says that its body is a
/// pointer.
fn attributes(message: &Message) -> impl Iterator<Item = (&str, &'static str, Cow<'_, str>)> {
    let own = message.attributes.iter();
    let own = own.map(|(name, value)| (&**name, "String", Cow::Borrowed(&**value)));
    let size = message.offloaded;
    let size = size.map(|bytes| (PAYLOAD_SIZE_ATTRIBUTE, "Number", bytes.to_string().into()));
    own.chain(size)
}

/// One result per entry.
type Results = Vec<Result<(), Failure>>;

/// Results by the places that the entries have as their ids.
fn in_order<'a>(
    count: usize,
    answered: impl Iterator<Item = (&'a str, Result<(), Failure>)>,
) -> Results {
    let mut results = vec![None; count];
    for (id, result) in answered {
        if let Some(place) = id.parse().ok().and_then(|place: usize| results.get_mut(place)) {
            *place = Some(result);
        }
    }
    let unanswered = || Err(Failure::transient("the answer left this entry out", ""));
    results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect()
}
