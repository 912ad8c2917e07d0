//! Receiving: long polls, delays, and how much at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::time::Instant;

use super::aws::{Aws, refused};
use super::queue::body;

pub(super) async fn a_long_poll_wakes_when_a_message_arrives(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let start = Instant::now();
    let (messages, sent) = tokio::join!(queue.receive(10, 20), async {
        aws.advance(Duration::from_secs(1)).await;
        queue.send("placed").await
    });
    sent?;
    ensure!(messages?.len() == 1, "the poll saw no message");
    // Far from the moment of sending, and still well before the poll would have ended.
    ensure!(start.elapsed() < Duration::from_secs(15), "it woke after {:?}", start.elapsed());
    Ok(())
}

pub(super) async fn a_long_poll_wakes_when_a_topic_delivers(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    let start = Instant::now();
    let (messages, published) = tokio::join!(queue.receive(10, 20), async {
        aws.advance(Duration::from_secs(1)).await;
        aws.publish(&topic, "placed").await
    });
    published?;
    ensure!(messages?.len() == 1, "the poll saw no message");
    ensure!(start.elapsed() < Duration::from_secs(15), "it woke after {:?}", start.elapsed());
    Ok(())
}

pub(super) async fn a_queue_may_have_long_polls_by_default(aws: &Aws) -> Result<()> {
    let wait = (QueueAttributeName::ReceiveMessageWaitTimeSeconds, "20");
    let queue = aws.queue_with([wait]).await?;
    let (output, sent) =
        tokio::join!(aws.sqs.receive_message().queue_url(&queue.url).send(), async {
            aws.advance(Duration::from_secs(1)).await;
            queue.send("placed").await
        });
    sent?;
    ensure!(output?.messages().len() == 1, "the poll saw no message");
    Ok(())
}

pub(super) async fn an_empty_queue_answers_without_messages(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for wait in [0, 1] {
        let request = aws.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(wait);
        let output = request.send().await?;
        ensure!(output.messages.is_none(), "not even an empty list: {output:?}");
    }
    Ok(())
}

pub(super) async fn one_receive_returns_one_message_by_default(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("a").await?;
    queue.send("b").await?;
    let request = aws.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(10);
    let output = request.send().await?;
    ensure!(output.messages().len() == 1, "{output:?}");
    queue.take(1).await?;
    Ok(())
}

pub(super) async fn one_receive_returns_ten_messages_at_most(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(11);
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn one_receive_returns_one_message_at_least(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(0);
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn a_long_poll_lasts_twenty_seconds_at_most(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for wait in [-1, 21] {
        let request = aws.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(wait);
        refused(request.send().await, "InvalidParameterValue")?;
    }
    Ok(())
}

pub(super) async fn a_receive_hides_for_twelve_hours_at_most(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for seconds in [-1, 43_201] {
        let request = aws.sqs.receive_message().queue_url(&queue.url).visibility_timeout(seconds);
        refused(request.send().await, "InvalidParameterValue")?;
    }
    Ok(())
}

pub(super) async fn a_message_may_be_delayed(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body("later");
    request.delay_seconds(4).send().await?;
    queue.shows_nothing().await?;
    queue.send("now").await?;
    ensure!(queue.take_bodies(2).await? == ["now", "later"]);
    Ok(())
}

pub(super) async fn a_queue_may_delay_every_message(aws: &Aws) -> Result<()> {
    let queue = aws.queue_with([(QueueAttributeName::DelaySeconds, "4")]).await?;
    queue.send("later").await?;
    queue.shows_nothing().await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body("now");
    request.delay_seconds(0).send().await?;
    ensure!(queue.take_bodies(2).await? == ["now", "later"]);
    Ok(())
}

pub(super) async fn a_delay_has_a_limit_of_fifteen_minutes(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    refused(request.delay_seconds(901).send().await, "InvalidParameterValue")
}

pub(super) async fn a_message_is_kept_for_the_retention_period(aws: &Aws) -> Result<()> {
    let queue = aws.queue_with([(QueueAttributeName::MessageRetentionPeriod, "60")]).await?;
    queue.send("old").await?;
    aws.advance(Duration::from_secs(30)).await;
    queue.send("young").await?;
    aws.advance(Duration::from_secs(31)).await;
    queue.gets_only("young").await
}

pub(super) async fn a_standard_queue_takes_a_group_id(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for text in ["a", "b"] {
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body(text);
        request.message_group_id("tenant").send().await?;
    }
    // It marks a tenant for fair queues, and holds nothing back.
    let first = queue.hold().await?;
    let second = queue.hold().await?;
    ensure!(body(&first)? != body(&second)?);
    Ok(())
}
