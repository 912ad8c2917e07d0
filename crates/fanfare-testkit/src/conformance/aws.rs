//! What a case is run on: clients for SNS, SQS and Kinesis, and the few things that every case does.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_sns::error::ProvideErrorMetadata;
use aws_sdk_sns::types::MessageAttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;
use uuid::Uuid;

use super::queue::Queue;

/// SNS, SQS and Kinesis, simulated or real. Every resource gets a name of its own, so that cases can run
/// side by side on one account.
#[derive(Clone, Debug)]
pub struct Aws {
    /// The SNS client.
    pub sns: aws_sdk_sns::Client,
    /// The SQS client.
    pub sqs: aws_sdk_sqs::Client,
    /// The Kinesis client.
    pub kinesis: aws_sdk_kinesis::Client,
    /// The Region of every resource.
    pub region: String,
    /// The account of every resource, 12 digits.
    pub account: String,
}

impl Aws {
    /// Clients for what `config` leads to. `account` is the one that its credentials belong to.
    #[must_use]
    pub fn new(config: &SdkConfig, account: &str) -> Self {
        // Retries would see through the throttling that some cases look for.
        let kinesis = aws_sdk_kinesis::config::Builder::from(config)
            .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
            .build();
        Self {
            sns: aws_sdk_sns::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis),
            region: config.region().map_or_else(String::new, ToString::to_string),
            account: account.to_owned(),
        }
    }

    /// A name that nobody else has.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{what}-{}", Uuid::new_v4().simple())
    }

    /// The ARN of a resource in this account and Region.
    pub(super) fn arn(&self, service: &str, name: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{name}", self.region, self.account)
    }

    /// A new standard topic's ARN.
    pub(super) async fn topic(&self) -> Result<String> {
        let output = self.sns.create_topic().name(self.name("topic")).send().await?;
        output.topic_arn.context("CreateTopic answers without an ARN")
    }

    /// A new FIFO topic's ARN.
    pub(super) async fn fifo_topic(&self, content_based_deduplication: bool) -> Result<String> {
        let output = self
            .sns
            .create_topic()
            .name(self.name("topic") + ".fifo")
            .attributes("FifoTopic", "true")
            .attributes("ContentBasedDeduplication", content_based_deduplication.to_string())
            .send()
            .await?;
        output.topic_arn.context("CreateTopic answers without an ARN")
    }

    /// A new standard queue.
    pub(super) async fn queue(&self) -> Result<Queue> {
        self.queue_with([]).await
    }

    /// A new standard queue with attributes.
    pub(super) async fn queue_with<const N: usize>(
        &self,
        attributes: [(QueueAttributeName, &str); N],
    ) -> Result<Queue> {
        self.create_queue(self.name("queue"), attributes).await
    }

    /// A new FIFO queue.
    pub(super) async fn fifo_queue(&self) -> Result<Queue> {
        self.fifo_queue_with([]).await
    }

    /// A new FIFO queue with attributes.
    pub(super) async fn fifo_queue_with<const N: usize>(
        &self,
        attributes: [(QueueAttributeName, &str); N],
    ) -> Result<Queue> {
        let fifo = (QueueAttributeName::FifoQueue, "true");
        let attributes = attributes.into_iter().chain([fifo]);
        self.create_queue(self.name("queue") + ".fifo", attributes).await
    }

    /// A new queue with the name and the attributes given.
    pub(super) async fn create_queue(
        &self,
        name: String,
        attributes: impl IntoIterator<Item = (QueueAttributeName, &str)>,
    ) -> Result<Queue> {
        let mut request = self.sqs.create_queue().queue_name(&name);
        for (attribute, value) in attributes {
            request = request.attributes(attribute, value);
        }
        let url = request.send().await?.queue_url.context("CreateQueue answers without a URL")?;
        Ok(Queue { sqs: self.sqs.clone(), arn: self.arn("sqs", &name), url, name })
    }

    /// Lets the topic send to the queue, which AWS asks for.
    pub(super) async fn allow(&self, topic: &str, queue: &Queue) -> Result<()> {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": queue.arn,
                "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
            }],
        });
        queue.set(QueueAttributeName::Policy, &policy.to_string()).await
    }

    /// Subscribes the queue to the topic, with the permission that it takes: the subscription's
    /// ARN.
    pub(super) async fn subscribe<const N: usize>(
        &self,
        topic: &str,
        queue: &Queue,
        attributes: [(&str, &str); N],
    ) -> Result<String> {
        self.allow(topic, queue).await?;
        let mut request =
            self.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(&queue.arn);
        for (name, value) in attributes {
            request = request.attributes(name, value);
        }
        let output = request.return_subscription_arn(true).send().await?;
        output.subscription_arn.context("Subscribe answers without an ARN")
    }

    /// A topic with a raw subscription of a new queue, with a filter policy on attributes.
    pub(super) async fn filtered(&self, policy: &str) -> Result<(String, Queue)> {
        let (topic, queue) = (self.topic().await?, self.queue().await?);
        let attributes = [("RawMessageDelivery", "true"), ("FilterPolicy", policy)];
        self.subscribe(&topic, &queue, attributes).await?;
        Ok((topic, queue))
    }

    /// A topic with a raw subscription of a new queue.
    pub(super) async fn raw(&self) -> Result<(String, Queue)> {
        let (topic, queue) = (self.topic().await?, self.queue().await?);
        self.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
        Ok((topic, queue))
    }

    /// Publishes a message without attributes: its id.
    pub(super) async fn publish(&self, topic: &str, message: &str) -> Result<String> {
        let output = self.sns.publish().topic_arn(topic).message(message).send().await?;
        output.message_id.context("Publish answers without a message id")
    }

    /// Publishes a message with attributes: name, data type, value.
    pub(super) async fn publish_with(
        &self,
        topic: &str,
        message: &str,
        attributes: &[(&str, &str, &str)],
    ) -> Result<()> {
        let mut request = self.sns.publish().topic_arn(topic).message(message);
        for (name, data_type, value) in attributes {
            request = request.message_attributes(*name, sns_attribute(data_type, value)?);
        }
        request.send().await?;
        Ok(())
    }

    /// Time passes: the simulator's paused clock moves on, LocalStack is really waited for.
    pub(super) async fn advance(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A message attribute for SNS.
pub(super) fn sns_attribute(data_type: &str, value: &str) -> Result<MessageAttributeValue> {
    let value = MessageAttributeValue::builder().data_type(data_type).string_value(value);
    Ok(value.build()?)
}

/// The request was refused with this error code.
pub(super) fn refused<T: Debug, E>(result: Result<T, E>, code: &str) -> Result<()>
where
    E: ProvideErrorMetadata + Debug,
{
    refused_by_one(result, [code])
}

/// The request was refused with one of these error codes: where services differ in the code, not
/// in the refusal. The first is AWS's.
pub(super) fn refused_by_one<T: Debug, E, const N: usize>(
    result: Result<T, E>,
    codes: [&str; N],
) -> Result<()>
where
    E: ProvideErrorMetadata + Debug,
{
    match result {
        Ok(output) => anyhow::bail!("expected {codes:?}, but it succeeded: {output:?}"),
        Err(error) => {
            let expected = error.code().is_some_and(|code| codes.contains(&code));
            ensure!(expected, "expected {codes:?}, got {error:?}");
            Ok(())
        }
    }
}
