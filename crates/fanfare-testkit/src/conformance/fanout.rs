//! A topic and its queues.

use anyhow::{Context, Result, ensure};
use aws_sdk_sns::types::PublishBatchRequestEntry;
use aws_sdk_sqs::types::MessageSystemAttributeName;
use serde_json::Value;

use super::aws::Aws;
use super::queue::{attribute, body, system};

pub(super) async fn a_message_reaches_all_three_queues(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let mut queues = Vec::new();
    for _ in 0..3 {
        let queue = aws.queue().await?;
        aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
        queues.push(queue);
    }
    aws.publish(&topic, "placed").await?;
    for queue in queues {
        queue.gets_only("placed").await?;
    }
    Ok(())
}

pub(super) async fn raw_delivery_passes_body_and_attributes_on(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let text = r#"{"é": "\u0000 <&>", "n": 1.0e3}"#;
    let attributes =
        [("type", "String", "shop.orders.OrderPlaced.v1"), ("amount", "Number", "12.50")];
    aws.publish_with(&topic, text, &attributes).await?;
    let messages = queue.take(1).await?;
    ensure!(body(&messages[0])? == text, "{messages:?}");
    for (name, data_type, value) in attributes {
        ensure!(attribute(&messages[0], name)? == (data_type, value), "{messages:?}");
    }
    let count = messages[0].message_attributes().map(|attributes| attributes.len());
    ensure!(count == Some(2), "{messages:?}");
    Ok(())
}

pub(super) async fn an_enveloped_message_is_a_notification(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let subscription = aws.subscribe(&topic, &queue, []).await?;
    let published = aws
        .sns
        .publish()
        .topic_arn(&topic)
        .message("placed")
        .subject("an order")
        .message_attributes("type", super::aws::sns_attribute("String", "OrderPlaced")?)
        .send()
        .await?;
    let messages = queue.take(1).await?;
    ensure!(messages[0].message_attributes().is_none(), "attributes stay inside: {messages:?}");
    let envelope: Value = serde_json::from_str(body(&messages[0])?)?;
    let id = published.message_id.context("Publish answers without a message id")?;
    for (field, expected) in [
        ("/Type", "Notification"),
        ("/MessageId", &id),
        ("/TopicArn", &topic),
        ("/Subject", "an order"),
        ("/Message", "placed"),
        ("/MessageAttributes/type/Type", "String"),
        ("/MessageAttributes/type/Value", "OrderPlaced"),
    ] {
        let found = envelope.pointer(field).and_then(Value::as_str);
        ensure!(found == Some(expected), "{field} is not {expected:?} in {envelope:#}");
    }
    for field in ["Timestamp", "SignatureVersion", "Signature", "SigningCertURL"] {
        ensure!(envelope[field].is_string(), "no {field} in {envelope:#}");
    }
    let unsubscribe = envelope["UnsubscribeURL"].as_str().context("no UnsubscribeURL")?;
    ensure!(unsubscribe.contains(&subscription), "{unsubscribe} does not name the subscription");
    Ok(())
}

pub(super) async fn an_enveloped_message_without_attributes_has_no_such_field(
    aws: &Aws,
) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    aws.subscribe(&topic, &queue, []).await?;
    aws.publish(&topic, "placed").await?;
    let bodies = queue.take_bodies(1).await?;
    let envelope: Value = serde_json::from_str(&bodies[0])?;
    ensure!(envelope.get("MessageAttributes").is_none(), "{envelope:#}");
    ensure!(envelope.get("Subject").is_none(), "{envelope:#}");
    Ok(())
}

pub(super) async fn an_unsubscribed_queue_gets_nothing(aws: &Aws) -> Result<()> {
    let (topic, queue, witness) = (aws.topic().await?, aws.queue().await?, aws.queue().await?);
    let raw = [("RawMessageDelivery", "true")];
    let subscription = aws.subscribe(&topic, &queue, raw).await?;
    aws.subscribe(&topic, &witness, raw).await?;
    aws.publish(&topic, "before").await?;
    queue.gets_only("before").await?;

    aws.sns.unsubscribe().subscription_arn(subscription).send().await?;
    aws.publish(&topic, "after").await?;
    ensure!(witness.take_sorted(2).await? == ["after", "before"]);
    queue.stays_empty().await
}

pub(super) async fn a_queue_that_does_not_allow_the_topic_gets_nothing(aws: &Aws) -> Result<()> {
    let (topic, queue, witness) = (aws.topic().await?, aws.queue().await?, aws.queue().await?);
    let request = aws.sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(&queue.arn);
    request.attributes("RawMessageDelivery", "true").send().await?;
    aws.subscribe(&topic, &witness, [("RawMessageDelivery", "true")]).await?;
    aws.publish(&topic, "placed").await?;
    witness.gets_only("placed").await?;
    queue.stays_empty().await
}

pub(super) async fn a_fifo_topic_feeds_a_standard_queue(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.fifo_topic(true).await?, aws.queue().await?);
    aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    aws.sns.publish().topic_arn(&topic).message("placed").message_group_id("g").send().await?;
    queue.gets_only("placed").await
}

pub(super) async fn a_standard_topic_passes_the_group_on(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let entry = |tenant: &str| {
        let entry = PublishBatchRequestEntry::builder().id(tenant).message(tenant);
        entry.message_group_id(tenant).build()
    };
    let request = aws.sns.publish_batch().topic_arn(&topic);
    let request = request.set_publish_batch_request_entries(Some(vec![entry("a")?, entry("b")?]));
    let answer = request.send().await?;
    ensure!(answer.failed().is_empty(), "{answer:?}");
    // It marks a tenant for fair queues.
    for message in queue.take(2).await? {
        let group = system(&message, MessageSystemAttributeName::MessageGroupId)?;
        ensure!(group == body(&message)?, "{message:?}");
    }
    Ok(())
}
