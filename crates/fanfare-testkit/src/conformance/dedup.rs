//! Deduplication on FIFO queues and topics.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName;

use super::aws::Aws;

/// How long a deduplication id is remembered (SQS and SNS developer guides).
const WINDOW: Duration = Duration::from_secs(300);

pub(super) async fn a_queue_swallows_a_repeated_deduplication_id(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    let first = queue.send_fifo("g", "1", "placed").await?;
    let second = queue.send_fifo("g", "1", "another body").await?;
    ensure!(first == second, "a swallowed message has the id of the first: {first} {second}");
    queue.gets_only("placed").await
}

pub(super) async fn a_deleted_message_is_still_remembered(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    queue.send_fifo("g", "1", "placed").await?;
    queue.gets_only("placed").await?;
    queue.send_fifo("g", "1", "placed").await?;
    queue.stays_empty().await
}

pub(super) async fn a_deduplication_id_holds_for_all_groups(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    queue.send_fifo("a", "1", "placed").await?;
    queue.send_fifo("b", "1", "placed").await?;
    queue.gets_only("placed").await
}

pub(super) async fn in_high_throughput_mode_it_holds_for_one_group(aws: &Aws) -> Result<()> {
    let scope = (QueueAttributeName::DeduplicationScope, "messageGroup");
    let limit = (QueueAttributeName::FifoThroughputLimit, "perMessageGroupId");
    let queue = aws.fifo_queue_with([scope, limit]).await?;
    queue.send_fifo("a", "1", "of a").await?;
    queue.send_fifo("b", "1", "of b").await?;
    queue.send_fifo("a", "1", "of a, again").await?;
    ensure!(queue.take_sorted(2).await? == ["of a", "of b"]);
    queue.stays_empty().await
}

pub(super) async fn after_five_minutes_it_is_forgotten(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    queue.send_fifo("g", "1", "placed").await?;
    queue.gets_only("placed").await?;
    aws.advance(WINDOW - Duration::from_secs(10)).await;
    queue.send_fifo("g", "1", "within").await?;
    queue.stays_empty().await?;
    aws.advance(Duration::from_secs(10)).await;
    queue.send_fifo("g", "1", "after").await?;
    queue.gets_only("after").await
}

pub(super) async fn a_queue_can_go_by_the_body(aws: &Aws) -> Result<()> {
    let content = (QueueAttributeName::ContentBasedDeduplication, "true");
    let queue = aws.fifo_queue_with([content]).await?;
    for body in ["placed", "placed", "paid"] {
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body(body);
        request.message_group_id("g").send().await?;
    }
    // An explicit id goes before the body's.
    queue.send_fifo("g", "explicit", "placed").await?;
    ensure!(queue.take_bodies(3).await? == ["placed", "paid", "placed"]);
    queue.stays_empty().await
}

pub(super) async fn a_topic_swallows_a_repeated_deduplication_id(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.fifo_topic(false).await?, aws.fifo_queue().await?);
    aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    for (dedup, body) in [("1", "placed"), ("1", "another body"), ("2", "paid")] {
        let request = aws.sns.publish().topic_arn(&topic).message(body).message_group_id("g");
        request.message_deduplication_id(dedup).send().await?;
    }
    ensure!(queue.take_bodies(2).await? == ["placed", "paid"]);
    queue.stays_empty().await
}

pub(super) async fn a_topic_can_go_by_the_body(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.fifo_topic(true).await?, aws.fifo_queue().await?);
    aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    for body in ["placed", "placed", "paid"] {
        let request = aws.sns.publish().topic_arn(&topic).message(body).message_group_id("g");
        request.send().await?;
    }
    ensure!(queue.take_bodies(2).await? == ["placed", "paid"]);
    queue.stays_empty().await
}
