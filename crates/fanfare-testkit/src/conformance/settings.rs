//! Attributes of topics, queues and subscriptions, written and read.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use super::aws::{Aws, refused};

async fn subscription(aws: &Aws, arn: &str) -> Result<HashMap<String, String>> {
    let request = aws.sns.get_subscription_attributes().subscription_arn(arn);
    request.send().await?.attributes.context("a subscription without attributes")
}

pub(super) async fn a_queue_keeps_its_attributes(aws: &Aws) -> Result<()> {
    let dead = aws.queue().await?;
    let policy = json!({ "deadLetterTargetArn": dead.arn, "maxReceiveCount": 5 });
    let redrive = policy.to_string();
    let attributes = [
        (QueueAttributeName::VisibilityTimeout, "45"),
        (QueueAttributeName::MessageRetentionPeriod, "1209600"),
        (QueueAttributeName::DelaySeconds, "3"),
        (QueueAttributeName::ReceiveMessageWaitTimeSeconds, "20"),
        (QueueAttributeName::MaximumMessageSize, "2048"),
        (QueueAttributeName::RedrivePolicy, redrive.as_str()),
    ];
    let queue = aws.queue_with(attributes.clone()).await?;
    for (name, value) in &attributes[..5] {
        ensure!(queue.get(name.clone()).await? == *value, "{name}");
    }
    let read: Value = serde_json::from_str(&queue.get(QueueAttributeName::RedrivePolicy).await?)?;
    ensure!(read["deadLetterTargetArn"] == policy["deadLetterTargetArn"], "{read}");
    let count = &read["maxReceiveCount"];
    ensure!(*count == json!(5) || *count == json!("5"), "{read}");

    queue.set(QueueAttributeName::VisibilityTimeout, "46").await?;
    ensure!(queue.get(QueueAttributeName::VisibilityTimeout).await? == "46");
    ensure!(queue.get(QueueAttributeName::DelaySeconds).await? == "3", "the rest stays");
    Ok(())
}

pub(super) async fn a_new_queue_has_the_defaults(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for (name, value) in [
        (QueueAttributeName::VisibilityTimeout, "30"),
        (QueueAttributeName::MessageRetentionPeriod, "345600"),
        (QueueAttributeName::DelaySeconds, "0"),
        (QueueAttributeName::ReceiveMessageWaitTimeSeconds, "0"),
        (QueueAttributeName::MaximumMessageSize, "1048576"),
        (QueueAttributeName::ApproximateNumberOfMessages, "0"),
        (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "0"),
        (QueueAttributeName::ApproximateNumberOfMessagesDelayed, "0"),
    ] {
        ensure!(queue.get(name.clone()).await? == value, "{name}");
    }
    Ok(())
}

pub(super) async fn a_queue_counts_its_messages(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for text in ["a", "b", "c"] {
        queue.send(text).await?;
    }
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body("later");
    request.delay_seconds(900).send().await?;
    queue.hold().await?;
    queue.comes_to(QueueAttributeName::ApproximateNumberOfMessages, "2").await?;
    queue.comes_to(QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "1").await?;
    queue.comes_to(QueueAttributeName::ApproximateNumberOfMessagesDelayed, "1").await
}

pub(super) async fn a_queue_refuses_values_out_of_range(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for (name, value) in [
        (QueueAttributeName::VisibilityTimeout, "43201"),
        (QueueAttributeName::MessageRetentionPeriod, "59"),
        (QueueAttributeName::DelaySeconds, "901"),
        (QueueAttributeName::ReceiveMessageWaitTimeSeconds, "21"),
        (QueueAttributeName::MaximumMessageSize, "1023"),
        (QueueAttributeName::VisibilityTimeout, "soon"),
    ] {
        let request = aws.sqs.set_queue_attributes().queue_url(&queue.url);
        let result = request.attributes(name.clone(), value).send().await;
        refused(result, "InvalidAttributeValue")
            .map_err(|error| error.context(format!("{name} {value}")))?;
    }
    Ok(())
}

pub(super) async fn a_queue_refuses_attributes_that_it_does_not_know(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let unknown = QueueAttributeName::from("Colour");
    let request = aws.sqs.set_queue_attributes().queue_url(&queue.url);
    let result = request.attributes(unknown.clone(), "red").send().await;
    refused(result, "InvalidAttributeName")?;
    let request = aws.sqs.get_queue_attributes().queue_url(&queue.url);
    refused(request.attribute_names(unknown).send().await, "InvalidAttributeName")
}

pub(super) async fn a_subscription_keeps_its_attributes(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let policy = r#"{"type": [{"prefix": "shop."}]}"#;
    let attributes = [("RawMessageDelivery", "true"), ("FilterPolicy", policy)];
    let arn = aws.subscribe(&topic, &queue, attributes).await?;
    ensure!(arn.starts_with(&topic), "{arn}");
    let read = subscription(aws, &arn).await?;
    for (name, expected) in [
        ("SubscriptionArn", &*arn),
        ("TopicArn", &topic),
        ("Protocol", "sqs"),
        ("Endpoint", &queue.arn),
        ("Owner", &aws.account),
        ("RawMessageDelivery", "true"),
        ("FilterPolicyScope", "MessageAttributes"),
        ("PendingConfirmation", "false"),
    ] {
        ensure!(read.get(name).is_some_and(|value| value == expected), "{name} in {read:?}");
    }
    let kept: Value = serde_json::from_str(read.get("FilterPolicy").context("no policy")?)?;
    ensure!(kept == serde_json::from_str::<Value>(policy)?, "{kept}");

    let set = aws.sns.set_subscription_attributes().subscription_arn(&arn);
    set.attribute_name("RawMessageDelivery").attribute_value("false").send().await?;
    let read = subscription(aws, &arn).await?;
    ensure!(read.get("RawMessageDelivery").is_some_and(|value| value == "false"), "{read:?}");
    Ok(())
}

pub(super) async fn an_empty_policy_takes_the_filter_away(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let attributes = [("RawMessageDelivery", "true"), ("FilterPolicy", r#"{"type": ["paid"]}"#)];
    let arn = aws.subscribe(&topic, &queue, attributes).await?;
    let set = aws.sns.set_subscription_attributes().subscription_arn(&arn);
    set.attribute_name("FilterPolicy").attribute_value("{}").send().await?;
    aws.publish(&topic, "placed").await?;
    queue.gets_only("placed").await
}

pub(super) async fn subscribing_again_finds_the_subscription(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let first = aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    let second = aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    ensure!(first == second);
    aws.publish(&topic, "placed").await?;
    queue.gets_only("placed").await
}

pub(super) async fn subscribing_again_with_other_attributes_is_refused(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    let request = aws.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn);
    let request = request.attributes("RawMessageDelivery", "false");
    refused(request.send().await, "InvalidParameter")
}

pub(super) async fn a_standard_topic_does_not_feed_a_fifo_queue(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.fifo_queue().await?);
    let request = aws.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn);
    refused(request.send().await, "InvalidParameter")
}

pub(super) async fn a_topic_lists_its_subscriptions(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let queue = aws.queue().await?;
        expected.push((aws.subscribe(&topic, &queue, []).await?, queue.arn));
    }
    let output = aws.sns.list_subscriptions_by_topic().topic_arn(&topic).send().await?;
    let mut listed: Vec<(String, String)> = output
        .subscriptions()
        .iter()
        .filter_map(|entry| Some((entry.subscription_arn()?.into(), entry.endpoint()?.into())))
        .collect();
    listed.sort();
    expected.sort();
    ensure!(listed == expected, "{listed:?}");
    ensure!(output.next_token().is_none(), "three fit a page: {output:?}");
    Ok(())
}

pub(super) async fn a_topic_keeps_its_attributes(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let set = aws.sns.set_topic_attributes().topic_arn(&topic);
    set.attribute_name("DisplayName").attribute_value("orders").send().await?;
    let output = aws.sns.get_topic_attributes().topic_arn(&topic).send().await?;
    let read = output.attributes.context("a topic without attributes")?;
    for (name, expected) in
        [("TopicArn", &*topic), ("DisplayName", "orders"), ("Owner", &aws.account)]
    {
        ensure!(read.get(name).is_some_and(|value| value == expected), "{name} in {read:?}");
    }
    ensure!(read.contains_key("Policy"), "{read:?}");
    Ok(())
}

pub(super) async fn a_fifo_topic_says_so(aws: &Aws) -> Result<()> {
    let topic = aws.fifo_topic(true).await?;
    let output = aws.sns.get_topic_attributes().topic_arn(&topic).send().await?;
    let read = output.attributes.context("a topic without attributes")?;
    for name in ["FifoTopic", "ContentBasedDeduplication"] {
        ensure!(read.get(name).is_some_and(|value| value == "true"), "{name} in {read:?}");
    }
    Ok(())
}
