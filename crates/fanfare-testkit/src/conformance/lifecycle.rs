//! Topics and queues that come, go, or never were.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName;

use super::aws::{Aws, refused};

const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue";

pub(super) async fn an_unknown_queue_is_named_so(aws: &Aws) -> Result<()> {
    let name = aws.name("nowhere");
    refused(aws.sqs.get_queue_url().queue_name(&name).send().await, NO_QUEUE)?;
    let known = aws.queue().await?;
    let url = known.url.replace(&known.name, &name);
    let send = aws.sqs.send_message().queue_url(&url).message_body("placed");
    refused(send.send().await, NO_QUEUE)?;
    refused(aws.sqs.receive_message().queue_url(&url).send().await, NO_QUEUE)?;
    let delete = aws.sqs.delete_message().queue_url(&url).receipt_handle("x");
    refused(delete.send().await, NO_QUEUE)?;
    refused(aws.sqs.purge_queue().queue_url(&url).send().await, NO_QUEUE)?;
    refused(aws.sqs.delete_queue().queue_url(&url).send().await, NO_QUEUE)?;
    let get = aws.sqs.get_queue_attributes().queue_url(&url);
    refused(get.attribute_names(QueueAttributeName::All).send().await, NO_QUEUE)
}

pub(super) async fn a_queue_s_url_is_found_by_its_name(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let output = aws.sqs.get_queue_url().queue_name(&queue.name).send().await?;
    ensure!(output.queue_url() == Some(&*queue.url), "{output:?}");
    ensure!(queue.get(QueueAttributeName::QueueArn).await? == queue.arn);
    Ok(())
}

pub(super) async fn a_deleted_queue_is_unknown(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    aws.sqs.delete_queue().queue_url(&queue.url).send().await?;
    let send = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    refused(send.send().await, NO_QUEUE)?;
    refused(aws.sqs.receive_message().queue_url(&queue.url).send().await, NO_QUEUE)
}

pub(super) async fn a_deleted_queue_s_name_is_free_after_a_minute(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    aws.sqs.delete_queue().queue_url(&queue.url).send().await?;
    let create = || aws.sqs.create_queue().queue_name(&queue.name).send();
    refused(create().await, "AWS.SimpleQueueService.QueueDeletedRecently")?;
    aws.advance(Duration::from_secs(61)).await;
    create().await?;
    queue.stays_empty().await
}

pub(super) async fn an_unknown_topic_is_not_found(aws: &Aws) -> Result<()> {
    let topic = aws.arn("sns", &aws.name("nowhere"));
    let publish = aws.sns.publish().topic_arn(&topic).message("placed");
    refused(publish.send().await, "NotFound")?;
    let get = aws.sns.get_topic_attributes().topic_arn(&topic);
    refused(get.send().await, "NotFound")?;
    let queue = aws.queue().await?;
    let subscribe = aws.sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(queue.arn);
    refused(subscribe.send().await, "NotFound")?;
    let subscription = format!("{topic}:{}", uuid::Uuid::new_v4());
    let get = aws.sns.get_subscription_attributes().subscription_arn(subscription);
    refused(get.send().await, "NotFound")
}

pub(super) async fn a_deleted_topic_is_not_found(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    aws.sns.delete_topic().topic_arn(&topic).send().await?;
    let publish = aws.sns.publish().topic_arn(&topic).message("placed");
    refused(publish.send().await, "NotFound")?;
    // Deleting is idempotent.
    aws.sns.delete_topic().topic_arn(&topic).send().await?;
    queue.stays_empty().await
}

pub(super) async fn a_purge_empties_the_queue(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for text in ["a", "b", "in flight"] {
        queue.send(text).await?;
    }
    let held = queue.hold().await?;
    aws.sqs.purge_queue().queue_url(&queue.url).send().await?;
    // AWS may take a minute.
    queue.comes_to(QueueAttributeName::ApproximateNumberOfMessages, "0").await?;
    queue.comes_to(QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "0").await?;
    queue.stays_empty().await?;
    queue.delete(&held).await?;
    queue.send("new").await?;
    queue.gets_only("new").await
}

pub(super) async fn a_queue_is_purged_once_a_minute(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let purge = || aws.sqs.purge_queue().queue_url(&queue.url).send();
    purge().await?;
    refused(purge().await, "AWS.SimpleQueueService.PurgeQueueInProgress")?;
    aws.advance(Duration::from_secs(61)).await;
    purge().await?;
    Ok(())
}

pub(super) async fn creating_a_queue_again_changes_nothing(aws: &Aws) -> Result<()> {
    let visibility = (QueueAttributeName::VisibilityTimeout, "45");
    let queue = aws.queue_with([visibility.clone()]).await?;
    queue.send("placed").await?;
    let same = aws.create_queue(queue.name.clone(), [visibility]).await?;
    ensure!(same.url == queue.url);
    // Attributes that are not named are not compared.
    aws.create_queue(queue.name.clone(), []).await?;
    queue.gets_only("placed").await
}

pub(super) async fn creating_a_queue_again_with_other_attributes_is_refused(
    aws: &Aws,
) -> Result<()> {
    let queue = aws.queue_with([(QueueAttributeName::VisibilityTimeout, "45")]).await?;
    let request = aws.sqs.create_queue().queue_name(&queue.name);
    let request = request.attributes(QueueAttributeName::VisibilityTimeout, "46");
    refused(request.send().await, "QueueAlreadyExists")?;
    ensure!(queue.get(QueueAttributeName::VisibilityTimeout).await? == "45");
    Ok(())
}

pub(super) async fn creating_a_topic_again_changes_nothing(aws: &Aws) -> Result<()> {
    let topic = aws.topic().await?;
    let name = topic.rsplit(':').next().context("an ARN ends in a name")?;
    ensure!(topic == aws.arn("sns", name), "{topic}");
    let again = aws.sns.create_topic().name(name).send().await?;
    ensure!(again.topic_arn() == Some(&*topic), "{again:?}");
    Ok(())
}

pub(super) async fn creating_a_topic_again_with_other_attributes_is_refused(
    aws: &Aws,
) -> Result<()> {
    let name = aws.name("topic");
    let create = |display: &str| {
        let request = aws.sns.create_topic().name(&name);
        request.attributes("DisplayName", display).send()
    };
    create("orders").await?;
    create("orders").await?;
    refused(create("products").await, "InvalidParameter")
}

pub(super) async fn names_have_their_characters_and_length(aws: &Aws) -> Result<()> {
    for name in ["a b", "é", "a.b"] {
        let queue = aws.sqs.create_queue().queue_name(name).send().await;
        refused(queue, "InvalidParameterValue").map_err(|error| error.context(name))?;
        let topic = aws.sns.create_topic().name(name).send().await;
        refused(topic, "InvalidParameter").map_err(|error| error.context(name))?;
    }
    let queue = aws.sqs.create_queue().queue_name("q".repeat(81)).send().await;
    refused(queue, "InvalidParameterValue")?;
    let topic = aws.sns.create_topic().name("t".repeat(257)).send().await;
    refused(topic, "InvalidParameter")
}

pub(super) async fn the_name_ends_in_fifo_where_the_attribute_says_so(aws: &Aws) -> Result<()> {
    let fifo = QueueAttributeName::FifoQueue;
    let request = aws.sqs.create_queue().queue_name(aws.name("queue")).attributes(fifo, "true");
    refused(request.send().await, "InvalidParameterValue")?;
    let request = aws.sqs.create_queue().queue_name(aws.name("queue") + ".fifo");
    refused(request.send().await, "InvalidParameterValue")?;
    let request = aws.sns.create_topic().name(aws.name("topic")).attributes("FifoTopic", "true");
    refused(request.send().await, "InvalidParameter")?;
    let request = aws.sns.create_topic().name(aws.name("topic") + ".fifo");
    refused(request.send().await, "InvalidParameter")
}
