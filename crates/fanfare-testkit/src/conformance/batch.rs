//! Batches: what fails alone, and what refuses the whole.

use anyhow::{Result, ensure};
use aws_sdk_sns::operation::publish_batch::builders::PublishBatchFluentBuilder;
use aws_sdk_sns::types::PublishBatchRequestEntry;
use aws_sdk_sqs::operation::send_message_batch::builders::SendMessageBatchFluentBuilder;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};

use super::aws::{Aws, refused, sns_attribute};
use super::queue::Queue;

/// Entries of a batch (SNS and SQS quotas).
const LIMIT: usize = 10;

fn publish(aws: &Aws, topic: &str, ids: &[String]) -> Result<PublishBatchFluentBuilder> {
    let mut request = aws.sns.publish_batch().topic_arn(topic);
    for id in ids {
        let entry = PublishBatchRequestEntry::builder().id(id).message(format!("body {id}"));
        request = request.publish_batch_request_entries(entry.build()?);
    }
    Ok(request)
}

fn send(aws: &Aws, queue: &Queue, ids: &[String]) -> Result<SendMessageBatchFluentBuilder> {
    let mut request = aws.sqs.send_message_batch().queue_url(&queue.url);
    for id in ids {
        let entry =
            SendMessageBatchRequestEntry::builder().id(id).message_body(format!("body {id}"));
        request = request.entries(entry.build()?);
    }
    Ok(request)
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

pub(super) async fn a_published_batch_of_ten_arrives(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let ids = ids(LIMIT);
    let output = publish(aws, &topic, &ids)?.send().await?;
    let published: Vec<&str> = output.successful().iter().filter_map(|entry| entry.id()).collect();
    ensure!(published == ids && output.failed().is_empty(), "{output:?}");
    ensure!(output.successful().iter().all(|entry| entry.message_id().is_some()), "{output:?}");
    let expected: Vec<String> = ids.iter().map(|id| format!("body {id}")).collect();
    ensure!(queue.take_sorted(LIMIT).await? == expected);
    queue.stays_empty().await
}

pub(super) async fn an_sqs_entry_that_is_invalid_fails_alone(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let bad = SendMessageBatchRequestEntry::builder().id("bad").message_body("\u{1}").build()?;
    let output = send(aws, &queue, &ids(LIMIT - 1))?.entries(bad).send().await?;
    ensure!(output.successful().len() == LIMIT - 1, "{output:?}");
    ensure!(output.failed().len() == 1, "{output:?}");
    let failed = &output.failed()[0];
    let seen = (failed.id(), failed.code());
    ensure!(seen == ("bad", "InvalidMessageContents"), "{output:?}");
    queue.take(LIMIT - 1).await?;
    queue.stays_empty().await
}

pub(super) async fn an_sns_entry_that_is_invalid_refuses_the_whole(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let bad = PublishBatchRequestEntry::builder().id("bad").message("bad");
    let bad = bad.message_attributes("type", sns_attribute("Text", "v")?).build()?;
    let request = publish(aws, &topic, &ids(LIMIT - 1))?.publish_batch_request_entries(bad);
    refused(request.send().await, "ParameterValueInvalid")?;
    queue.stays_empty().await
}

pub(super) async fn a_batch_of_eleven_is_refused(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let eleven = ids(LIMIT + 1);
    let result = publish(aws, &topic, &eleven)?.send().await;
    refused(result, "TooManyEntriesInBatchRequest")?;
    let result = send(aws, &queue, &eleven)?.send().await;
    refused(result, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest")?;
    queue.stays_empty().await
}

pub(super) async fn an_empty_sns_batch_is_refused(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let request = aws.sns.publish_batch().topic_arn(&topic);
    let request = request.set_publish_batch_request_entries(Some(Vec::new()));
    refused(request.send().await, "EmptyBatchRequest")
}

pub(super) async fn an_empty_sqs_batch_is_refused(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message_batch().queue_url(&queue.url);
    let result = request.set_entries(Some(Vec::new())).send().await;
    refused(result, "AWS.SimpleQueueService.EmptyBatchRequest")
}

pub(super) async fn entry_ids_must_differ(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let same = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
    let result = publish(aws, &topic, &same)?.send().await;
    refused(result, "BatchEntryIdsNotDistinct")?;
    let result = send(aws, &queue, &same)?.send().await;
    refused(result, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct")?;
    queue.stays_empty().await
}

pub(super) async fn an_sqs_entry_id_has_80_characters_of_a_small_set(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    send(aws, &queue, &["a".repeat(80), "A-z_09".into()])?.send().await?;
    queue.take(2).await?;
    for id in [String::new(), "a".repeat(81), "a b".into(), "a.b".into()] {
        let result = send(aws, &queue, std::slice::from_ref(&id))?.send().await;
        let result = refused(result, "AWS.SimpleQueueService.InvalidBatchEntryId");
        result.map_err(|error| error.context(format!("{id:?}")))?;
    }
    Ok(())
}

pub(super) async fn an_sqs_entry_id_has_only_ascii_letters(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let result = send(aws, &queue, &["é".to_owned()])?.send().await;
    refused(result, "AWS.SimpleQueueService.InvalidBatchEntryId")
}

pub(super) async fn an_sns_entry_id_has_80_characters_of_a_small_set(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    publish(aws, &topic, &["a".repeat(80), "A-z_09".into()])?.send().await?;
    for id in ["a".repeat(81), "a b".into(), "é".into(), "a.b".into()] {
        let result = publish(aws, &topic, std::slice::from_ref(&id))?.send().await;
        let result = refused(result, "InvalidBatchEntryId");
        result.map_err(|error| error.context(format!("{id:?}")))?;
    }
    Ok(())
}

pub(super) async fn a_delete_batch_fails_where_a_handle_is_bad(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    let entry = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build()
    };
    let request = aws.sqs.delete_message_batch().queue_url(&queue.url);
    let request = request.entries(entry("good", super::queue::handle(&message)?)?);
    let output = request.entries(entry("bad", "no handle")?).send().await?;
    ensure!(output.successful().len() == 1 && output.failed().len() == 1, "{output:?}");
    ensure!(output.successful()[0].id() == "good", "{output:?}");
    let failed = &output.failed()[0];
    let seen = (failed.id(), failed.code());
    ensure!(seen == ("bad", "ReceiptHandleIsInvalid"), "{output:?}");
    Ok(())
}

pub(super) async fn an_invalid_entry_is_its_sender_s_fault(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let bad = SendMessageBatchRequestEntry::builder().id("bad").message_body("\u{1}").build()?;
    let output = send(aws, &queue, &[])?.entries(bad).send().await?;
    ensure!(output.failed().iter().all(|entry| entry.sender_fault()), "{output:?}");
    let bad = DeleteMessageBatchRequestEntry::builder().id("bad").receipt_handle("no handle");
    let request = aws.sqs.delete_message_batch().queue_url(&queue.url);
    let output = request.entries(bad.build()?).send().await?;
    ensure!(output.failed().iter().all(|entry| entry.sender_fault()), "{output:?}");
    Ok(())
}
