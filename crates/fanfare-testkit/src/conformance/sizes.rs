//! Sizes at the limit and one over, and the characters that a body may have.

use anyhow::{Result, ensure};
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::aws::{Aws, refused, sns_attribute};
use super::queue::body;

/// Bytes of a message with its attributes, and of a batch, by default (SNS quotas).
const SNS_LIMIT: usize = 262_144;

/// Bytes of a message with its attributes, and of a batch (SQS quotas).
const SQS_LIMIT: usize = 1_048_576;

/// What an attribute counts: name, data type and value.
const ATTRIBUTE: (&str, &str, &str) = ("type", "String", "OrderPlaced");
const ATTRIBUTE_BYTES: usize = 4 + 6 + 11;

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

pub(super) async fn sns_takes_a_message_at_the_limit(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    aws.publish(&topic, &text(SNS_LIMIT)).await?;
    let messages = queue.take(1).await?;
    ensure!(body(&messages[0])?.len() == SNS_LIMIT);
    Ok(())
}

pub(super) async fn sns_refuses_a_message_over_the_limit(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let request = aws.sns.publish().topic_arn(topic).message(text(SNS_LIMIT + 1));
    refused(request.send().await, "InvalidParameter")
}

pub(super) async fn sns_counts_bytes_not_characters(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let request = aws.sns.publish().topic_arn(topic).message("é".repeat(SNS_LIMIT / 2 + 1));
    refused(request.send().await, "InvalidParameter")
}

pub(super) async fn sns_counts_the_attributes(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let fits = text(SNS_LIMIT - ATTRIBUTE_BYTES);
    aws.publish_with(&topic, &fits, &[ATTRIBUTE]).await?;
    let (name, data_type, value) = ATTRIBUTE;
    let request = aws.sns.publish().topic_arn(topic).message(fits + "x");
    let request = request.message_attributes(name, sns_attribute(data_type, value)?);
    refused(request.send().await, "InvalidParameter")
}

pub(super) async fn sqs_takes_a_message_at_the_limit(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send(&text(SQS_LIMIT)).await?;
    let messages = queue.take(1).await?;
    ensure!(body(&messages[0])?.len() == SQS_LIMIT);
    Ok(())
}

pub(super) async fn sqs_refuses_a_message_over_the_limit(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body(text(SQS_LIMIT + 1));
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn sqs_counts_the_attributes(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let (name, data_type, value) = ATTRIBUTE;
    let value = MessageAttributeValue::builder().data_type(data_type).string_value(value);
    let value = value.build()?;
    let send = |body: String| {
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body(body);
        request.message_attributes(name, value.clone()).send()
    };
    send(text(SQS_LIMIT - ATTRIBUTE_BYTES)).await?;
    refused(send(text(SQS_LIMIT - ATTRIBUTE_BYTES + 1)).await, "InvalidParameterValue")
}

pub(super) async fn a_queue_may_have_a_lower_limit(aws: &Aws) -> Result<()> {
    let name = aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize;
    let queue = aws.queue_with([(name, "1024")]).await?;
    queue.send(&text(1024)).await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body(text(1025));
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn sqs_takes_every_character_of_xml(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let body = "\t\n\r \u{7f}\u{85}é\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}<&>\"'";
    queue.send(body).await?;
    ensure!(queue.take_bodies(1).await? == [body]);
    Ok(())
}

pub(super) async fn sqs_refuses_other_characters(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for character in ['\0', '\u{1}', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
        let body = format!("a{character}b");
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body(body);
        let result = refused(request.send().await, "InvalidMessageContents");
        result.map_err(|error| error.context(format!("{character:?}")))?;
    }
    queue.stays_empty().await
}

pub(super) async fn an_empty_message_is_refused(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let publish = aws.sns.publish().topic_arn(topic).message("");
    refused(publish.send().await, "InvalidParameter")?;
    let send = aws.sqs.send_message().queue_url(&queue.url).message_body("");
    refused(send.send().await, "MissingParameter")
}

fn entry(id: &str, body: String) -> Result<SendMessageBatchRequestEntry> {
    Ok(SendMessageBatchRequestEntry::builder().id(id).message_body(body).build()?)
}

pub(super) async fn an_sqs_batch_at_the_limit_is_taken(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message_batch().queue_url(&queue.url);
    let half = text(SQS_LIMIT / 2);
    let output = request.entries(entry("a", half.clone())?).entries(entry("b", half)?).send();
    let output = output.await?;
    ensure!(output.successful().len() == 2 && output.failed().is_empty(), "{output:?}");
    queue.take(2).await?;
    Ok(())
}

pub(super) async fn an_sqs_batch_over_the_limit_is_refused_whole(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message_batch().queue_url(&queue.url);
    let half = text(SQS_LIMIT / 2);
    let request = request.entries(entry("a", half.clone())?).entries(entry("b", half + "x")?);
    refused(request.send().await, "AWS.SimpleQueueService.BatchRequestTooLong")?;
    queue.stays_empty().await
}

pub(super) async fn an_sns_batch_over_the_limit_is_refused_whole(aws: &Aws) -> Result<()> {
    use aws_sdk_sns::types::PublishBatchRequestEntry;
    let (topic, queue) = aws.raw().await?;
    let entry =
        |id: &str, bytes| PublishBatchRequestEntry::builder().id(id).message(text(bytes)).build();
    let half = SNS_LIMIT / 2;
    let request = aws.sns.publish_batch().topic_arn(&topic);
    let request = request.publish_batch_request_entries(entry("a", half)?);
    let request = request.publish_batch_request_entries(entry("b", half + 1)?);
    refused(request.send().await, "BatchRequestTooLong")?;
    queue.stays_empty().await?;

    let request = aws.sns.publish_batch().topic_arn(&topic);
    let request = request.publish_batch_request_entries(entry("a", half)?);
    request.publish_batch_request_entries(entry("b", half)?).send().await?;
    queue.take(2).await?;
    Ok(())
}
