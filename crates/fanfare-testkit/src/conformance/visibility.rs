//! Messages in flight: how long they stay invisible, and what their handles are good for.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName};

use super::aws::{Aws, refused};
use super::queue::{handle, receive_count};

pub(super) async fn a_message_comes_back_when_its_visibility_ends(aws: &Aws) -> Result<()> {
    let queue = aws.queue_with([(QueueAttributeName::VisibilityTimeout, "4")]).await?;
    let id = queue.send("placed").await?;
    let first = queue.hold().await?;
    queue.shows_nothing().await?;
    let second = queue.hold().await?;
    ensure!(first.message_id() == Some(&*id) && second.message_id() == Some(&*id));
    ensure!((receive_count(&first)?, receive_count(&second)?) == (1, 2));
    ensure!(handle(&first)? != handle(&second)?, "each receive has a handle of its own");
    Ok(())
}

pub(super) async fn a_receive_may_set_the_visibility(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let request = aws.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(10);
    let output = request.visibility_timeout(1).send().await?;
    ensure!(output.messages().len() == 1, "{output:?}");
    ensure!(receive_count(&queue.hold().await?)? == 2);
    Ok(())
}

pub(super) async fn visibility_changed_to_0_gives_the_message_back(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    queue.hide(&message, 0).await?;
    ensure!(receive_count(&queue.hold().await?)? == 2);
    Ok(())
}

pub(super) async fn visibility_can_be_extended(aws: &Aws) -> Result<()> {
    let queue = aws.queue_with([(QueueAttributeName::VisibilityTimeout, "4")]).await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    queue.hide(&message, 60).await?;
    aws.advance(Duration::from_secs(6)).await;
    queue.shows_nothing().await?;
    queue.delete(&message).await?;
    queue.stays_empty().await
}

pub(super) async fn visibility_has_a_limit_of_twelve_hours(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    for seconds in [-1, 43_201] {
        let request = aws.sqs.change_message_visibility().queue_url(&queue.url);
        let request = request.receipt_handle(handle(&message)?).visibility_timeout(seconds);
        refused(request.send().await, "InvalidParameterValue")?;
    }
    Ok(())
}

pub(super) async fn a_visibility_batch_fails_where_a_handle_is_bad(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    let entry = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id);
        entry.receipt_handle(handle).visibility_timeout(0).build()
    };
    let request = aws.sqs.change_message_visibility_batch().queue_url(&queue.url);
    let request = request.entries(entry("bad", "no handle")?);
    let output = request.entries(entry("good", handle(&message)?)?).send().await?;
    ensure!(output.successful().len() == 1 && output.failed().len() == 1, "{output:?}");
    ensure!(output.successful()[0].id() == "good", "{output:?}");
    let failed = &output.failed()[0];
    let seen = (failed.id(), failed.code());
    ensure!(seen == ("bad", "ReceiptHandleIsInvalid"), "{output:?}");
    ensure!(receive_count(&queue.hold().await?)? == 2);
    Ok(())
}

pub(super) async fn a_string_that_is_no_handle_is_refused(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let delete = aws.sqs.delete_message().queue_url(&queue.url).receipt_handle("no handle");
    refused(delete.send().await, "ReceiptHandleIsInvalid")?;
    let hide = aws.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(0);
    refused(hide.receipt_handle("no handle").send().await, "ReceiptHandleIsInvalid")
}

pub(super) async fn a_message_can_be_deleted_twice(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    queue.delete(&message).await?;
    queue.delete(&message).await
}

pub(super) async fn a_deleted_message_has_no_visibility_to_change(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    queue.delete(&message).await?;
    let request = aws.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(9);
    let result = request.receipt_handle(handle(&message)?).send().await;
    refused(result, "InvalidParameterValue")
}

pub(super) async fn a_visible_message_has_no_visibility_to_change(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let message = queue.hold().await?;
    queue.hide(&message, 0).await?;
    let request = aws.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(9);
    let result = request.receipt_handle(handle(&message)?).send().await;
    refused(result, "AWS.SimpleQueueService.MessageNotInflight")
}

pub(super) async fn only_the_latest_handle_deletes(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let stale = queue.hold().await?;
    queue.hide(&stale, 0).await?;
    let latest = queue.hold().await?;
    queue.delete(&stale).await?;
    queue.hide(&latest, 0).await?;
    ensure!(receive_count(&queue.hold().await?)? == 3, "the stale handle deleted the message");
    Ok(())
}
