//! Short-cuts over the SDK clients.

use std::time::Duration;

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use fanfare_sim::Sim;

pub(crate) const ACCOUNT: &str = "000000000000";

/// A simulator and clients on it that do not retry, so that a fault is seen.
pub(crate) struct Aws {
    pub(crate) sim: Sim,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
}

impl Aws {
    pub(crate) fn new() -> Self {
        let sim = Sim::new();
        let config = sim.sdk_config().into_builder().retry_config(RetryConfig::disabled()).build();
        let (sns, sqs) = (aws_sdk_sns::Client::new(&config), aws_sdk_sqs::Client::new(&config));
        Self { sim, sns, sqs }
    }

    pub(crate) async fn queue(&self, name: &str) -> String {
        self.queue_with(name, &[]).await
    }

    pub(crate) async fn queue_with(
        &self,
        name: &str,
        attributes: &[(QueueAttributeName, &str)],
    ) -> String {
        let mut create = self.sqs.create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            create = create.attributes(QueueAttributeName::FifoQueue, "true");
        }
        for (attribute, value) in attributes {
            create = create.attributes(attribute.clone(), *value);
        }
        create.send().await.unwrap().queue_url.unwrap()
    }

    pub(crate) async fn set(&self, url: &str, attribute: QueueAttributeName, value: &str) {
        let set = self.sqs.set_queue_attributes().queue_url(url).attributes(attribute, value);
        set.send().await.unwrap();
    }

    pub(crate) async fn send(&self, url: &str, body: &str) -> String {
        let send = self.sqs.send_message().queue_url(url).message_body(body);
        send.send().await.unwrap().message_id.unwrap()
    }

    pub(crate) async fn send_fifo(&self, url: &str, body: &str, group: &str, dedup: &str) {
        let send = self.sqs.send_message().queue_url(url).message_body(body);
        send.message_group_id(group).message_deduplication_id(dedup).send().await.unwrap();
    }

    /// Up to ten messages, with all their attributes, waiting up to `wait` seconds.
    pub(crate) async fn receive(&self, url: &str, wait: i32) -> Vec<Message> {
        let receive = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .wait_time_seconds(wait)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    pub(crate) async fn delete(&self, url: &str, message: &Message) {
        let handle = message.receipt_handle().unwrap();
        self.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
    }

    pub(crate) async fn topic(&self, name: &str) -> String {
        let mut create = self.sns.create_topic().name(name);
        if name.ends_with(".fifo") {
            create = create.attributes("FifoTopic", "true");
        }
        create.send().await.unwrap().topic_arn.unwrap()
    }

    /// Subscribes a queue that lets the topic in.
    pub(crate) async fn subscribe(
        &self,
        topic: &str,
        queue: &str,
        attributes: &[(&str, &str)],
    ) -> String {
        let url = format!("http://any.host/{ACCOUNT}/{queue}");
        self.set(&url, QueueAttributeName::Policy, &policy(&arn(queue), topic)).await;
        self.subscribe_only(topic, queue, attributes).await
    }

    /// Subscribes a queue whatever its policy.
    pub(crate) async fn subscribe_only(
        &self,
        topic: &str,
        queue: &str,
        attributes: &[(&str, &str)],
    ) -> String {
        let mut subscribe =
            self.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(arn(queue));
        for (name, value) in attributes {
            subscribe = subscribe.attributes(*name, *value);
        }
        subscribe.send().await.unwrap().subscription_arn.unwrap()
    }

    pub(crate) async fn publish(&self, topic: &str, message: &str) {
        self.sns.publish().topic_arn(topic).message(message).send().await.unwrap();
    }
}

pub(crate) fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}")
}

/// Lets one topic send to one queue.
pub(crate) fn policy(queue_arn: &str, topic_arn: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",
        "Principal":{{"Service":"sns.amazonaws.com"}},"Action":"sqs:SendMessage",
        "Resource":"{queue_arn}","Condition":{{"ArnEquals":{{"aws:SourceArn":"{topic_arn}"}}}}}}]}}"#
    )
}

pub(crate) fn redrive_policy(queue: &str, max_receives: u32) -> String {
    format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{max_receives}}}"#, arn(queue))
}

pub(crate) fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::body).collect()
}

pub(crate) fn receive_count(message: &Message) -> &str {
    let attributes = message.attributes().unwrap();
    &attributes[&MessageSystemAttributeName::ApproximateReceiveCount]
}

/// The code of the service's error; what is no service error gives its kind.
pub(crate) fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(
    outcome: Result<T, SdkError<E>>,
) -> String {
    match outcome {
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("no code").to_owned(),
        Err(SdkError::DispatchFailure(_)) => "dispatch failure".to_owned(),
        Err(SdkError::TimeoutError(_)) => "time-out".to_owned(),
        Err(_) => "another kind of error".to_owned(),
        Ok(output) => format!("success: {output:?}"),
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
