//! Dead-letter queues: of a queue, of a subscription, and the way back.

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use super::aws::{Aws, refused};
use super::queue::{Queue, attribute, body, system};

/// A queue whose messages go to the second one after `receives`.
async fn redriven(aws: &Aws, receives: u32, fifo: bool) -> Result<(Queue, Queue)> {
    let dead = if fifo { aws.fifo_queue().await? } else { aws.queue().await? };
    let policy =
        format!(r#"{{"deadLetterTargetArn": "{}", "maxReceiveCount": "{receives}"}}"#, dead.arn);
    let policy = (QueueAttributeName::RedrivePolicy, policy.as_str());
    let source =
        if fifo { aws.fifo_queue_with([policy]).await? } else { aws.queue_with([policy]).await? };
    Ok((source, dead))
}

/// Receives the next message and gives it back, as often as said; then it is gone.
async fn exhaust(source: &Queue, receives: u32) -> Result<()> {
    for _ in 0..receives {
        let message = source.hold().await?;
        source.hide(&message, 0).await?;
    }
    source.stays_empty().await
}

pub(super) async fn a_message_received_too_often_moves_to_the_dead_letter_queue(
    aws: &Aws,
) -> Result<()> {
    let (source, dead) = redriven(aws, 2, false).await?;
    let value = aws_sdk_sqs::types::MessageAttributeValue::builder().data_type("String");
    let request = aws.sqs.send_message().queue_url(&source.url).message_body("poison");
    request.message_attributes("type", value.string_value("v").build()?).send().await?;
    exhaust(&source, 2).await?;
    let messages = dead.take(1).await?;
    ensure!(body(&messages[0])? == "poison");
    ensure!(attribute(&messages[0], "type")? == ("String", "v"));
    let from = system(&messages[0], MessageSystemAttributeName::DeadLetterQueueSourceArn)?;
    ensure!(from == source.arn, "{from}");
    source.stays_empty().await
}

pub(super) async fn a_fifo_message_received_too_often_frees_its_group(aws: &Aws) -> Result<()> {
    let (source, dead) = redriven(aws, 1, true).await?;
    source.send_fifo("g", "1", "poison").await?;
    source.send_fifo("g", "2", "good").await?;
    let poison = source.hold().await?;
    source.hide(&poison, 0).await?;
    source.gets_only("good").await?;
    let messages = dead.take(1).await?;
    ensure!(body(&messages[0])? == "poison");
    let group = system(&messages[0], MessageSystemAttributeName::MessageGroupId)?;
    ensure!(group == "g", "{group}");
    Ok(())
}

pub(super) async fn a_move_task_brings_messages_back_to_their_source(aws: &Aws) -> Result<()> {
    let (source, dead) = redriven(aws, 1, false).await?;
    source.send("mended").await?;
    exhaust(&source, 1).await?;
    dead.comes_to(QueueAttributeName::ApproximateNumberOfMessages, "1").await?;
    let task = aws.sqs.start_message_move_task().source_arn(&dead.arn).send().await?;
    ensure!(task.task_handle().is_some(), "{task:?}");
    source.gets_only("mended").await?;
    dead.stays_empty().await
}

pub(super) async fn a_move_task_can_go_to_another_queue(aws: &Aws) -> Result<()> {
    let (source, dead) = redriven(aws, 1, false).await?;
    let other = aws.queue().await?;
    dead.send("sent here directly").await?;
    let request = aws.sqs.start_message_move_task().source_arn(&dead.arn);
    request.destination_arn(&other.arn).send().await?;
    other.gets_only("sent here directly").await?;
    dead.stays_empty().await?;
    source.stays_empty().await
}

pub(super) async fn a_move_task_starts_at_a_dead_letter_queue_only(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.start_message_move_task().source_arn(&queue.arn);
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn a_move_task_needs_a_queue_that_exists(aws: &Aws) -> Result<()> {
    let arn = aws.arn("sqs", &aws.name("nowhere"));
    let request = aws.sqs.start_message_move_task().source_arn(arn);
    refused(request.send().await, "ResourceNotFoundException")
}

pub(super) async fn a_dead_letter_queue_must_exist(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let arn = aws.arn("sqs", &aws.name("nowhere"));
    let policy = format!(r#"{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "3"}}"#);
    let request = aws.sqs.set_queue_attributes().queue_url(&queue.url);
    let request = request.attributes(QueueAttributeName::RedrivePolicy, policy);
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn a_redrive_policy_has_both_its_fields(aws: &Aws) -> Result<()> {
    let (queue, dead) = (aws.queue().await?, aws.queue().await?);
    for policy in [
        "not JSON".to_owned(),
        format!(r#"{{"deadLetterTargetArn": "{}"}}"#, dead.arn),
        format!(r#"{{"deadLetterTargetArn": "{}", "maxReceiveCount": "0"}}"#, dead.arn),
        r#"{"maxReceiveCount": "3"}"#.to_owned(),
    ] {
        let request = aws.sqs.set_queue_attributes().queue_url(&queue.url);
        let request = request.attributes(QueueAttributeName::RedrivePolicy, &policy);
        let result = refused(request.send().await, "InvalidParameterValue");
        result.map_err(|error| error.context(policy))?;
    }
    Ok(())
}

pub(super) async fn a_subscription_s_dead_letter_queue_gets_what_a_deleted_queue_cannot(
    aws: &Aws,
) -> Result<()> {
    let (topic, queue, dead) = (aws.topic().await?, aws.queue().await?, aws.queue().await?);
    aws.allow(&topic, &dead).await?;
    let redrive = format!(r#"{{"deadLetterTargetArn": "{}"}}"#, dead.arn);
    let attributes = [("RawMessageDelivery", "true"), ("RedrivePolicy", redrive.as_str())];
    aws.subscribe(&topic, &queue, attributes).await?;
    aws.sqs.delete_queue().queue_url(&queue.url).send().await?;

    aws.publish_with(&topic, "placed", &[("type", "String", "OrderPlaced")]).await?;
    let messages = dead.take(1).await?;
    let message = messages.first().context("no message")?;
    ensure!(body(message)? == "placed", "{message:?}");
    ensure!(attribute(message, "type")? == ("String", "OrderPlaced"), "{message:?}");
    Ok(())
}
