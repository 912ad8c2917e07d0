//! FIFO: order within a group, and groups that do not wait for one another.

use anyhow::{Context, Result, ensure};
use aws_sdk_sns::types::PublishBatchRequestEntry;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use super::aws::{Aws, refused};
use super::queue::{body, handle, receive_count, system};

pub(super) async fn a_group_keeps_its_order(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    let mut expected = Vec::new();
    for index in 0..25 {
        expected.push(format!("{index}"));
        queue.send_fifo("g", &expected[index], &expected[index]).await?;
    }
    ensure!(queue.take_bodies(25).await? == expected);
    Ok(())
}

pub(super) async fn a_group_keeps_its_order_through_a_topic(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.fifo_topic(false).await?, aws.fifo_queue().await?);
    aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    let mut expected = Vec::new();
    for batch in 0..3 {
        let mut request = aws.sns.publish_batch().topic_arn(&topic);
        for index in 0..10 {
            let text = format!("{batch}.{index}");
            let entry = PublishBatchRequestEntry::builder().id(index.to_string()).message(&text);
            let entry = entry.message_group_id("g").message_deduplication_id(&text);
            request = request.publish_batch_request_entries(entry.build()?);
            expected.push(text);
        }
        let output = request.send().await?;
        ensure!(output.successful().len() == 10, "{output:?}");
        ensure!(output.successful().iter().all(|entry| entry.sequence_number().is_some()));
    }
    ensure!(queue.take_bodies(30).await? == expected);
    Ok(())
}

pub(super) async fn a_topic_passes_group_and_deduplication_id_on(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.fifo_topic(false).await?, aws.fifo_queue().await?);
    aws.subscribe(&topic, &queue, [("RawMessageDelivery", "true")]).await?;
    let request = aws.sns.publish().topic_arn(&topic).message("placed");
    let output = request.message_group_id("order-1").message_deduplication_id("e-1").send().await?;
    ensure!(output.sequence_number().is_some(), "{output:?}");
    let messages = queue.take(1).await?;
    let group = system(&messages[0], MessageSystemAttributeName::MessageGroupId)?;
    let dedup = system(&messages[0], MessageSystemAttributeName::MessageDeduplicationId)?;
    ensure!((group, dedup) == ("order-1", "e-1"), "{messages:?}");
    Ok(())
}

pub(super) async fn sequence_numbers_grow(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    let mut last = 0_u128;
    for index in 0..5 {
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
        let dedup = index.to_string();
        let output = request.message_group_id("g").message_deduplication_id(dedup).send().await?;
        let number = output.sequence_number().context("no sequence number")?.parse()?;
        ensure!(number > last, "{number} after {last}");
        last = number;
    }
    let messages = queue.take(5).await?;
    let received = system(&messages[4], MessageSystemAttributeName::SequenceNumber)?;
    ensure!(received.parse() == Ok(last), "{received} is not {last}");
    Ok(())
}

pub(super) async fn a_group_waits_while_one_of_its_messages_is_in_flight(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    queue.send_fifo("g", "1", "first").await?;
    queue.send_fifo("g", "2", "second").await?;
    let first = queue.hold().await?;
    ensure!(body(&first)? == "first");
    queue.stays_empty().await?;
    queue.delete(&first).await?;
    queue.gets_only("second").await
}

pub(super) async fn a_group_starts_again_with_the_message_given_back(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    queue.send_fifo("g", "1", "first").await?;
    queue.send_fifo("g", "2", "second").await?;
    let first = queue.hold().await?;
    queue.hide(&first, 0).await?;
    let again = queue.hold().await?;
    ensure!(body(&again)? == "first" && receive_count(&again)? == 2, "{again:?}");
    queue.delete(&again).await?;
    queue.gets_only("second").await
}

pub(super) async fn a_group_starts_again_when_visibility_ends(aws: &Aws) -> Result<()> {
    let visibility = (QueueAttributeName::VisibilityTimeout, "3");
    let queue = aws.fifo_queue_with([visibility]).await?;
    queue.send_fifo("g", "1", "first").await?;
    queue.send_fifo("g", "2", "second").await?;
    ensure!(body(&queue.hold().await?)? == "first");
    ensure!(queue.take_bodies(2).await? == ["first", "second"]);
    Ok(())
}

pub(super) async fn one_receive_returns_several_messages_of_a_group(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    for index in ["1", "2", "3"] {
        queue.send_fifo("g", index, index).await?;
    }
    let messages = queue.receive(10, 5).await?;
    let bodies: Vec<&str> = messages.iter().filter_map(|message| message.body()).collect();
    ensure!(bodies == ["1", "2", "3"], "{bodies:?}");
    // Two of three deleted: the group still waits for the third.
    queue.send_fifo("g", "4", "4").await?;
    queue.delete(&messages[0]).await?;
    queue.delete(&messages[1]).await?;
    queue.stays_empty().await?;
    queue.delete(&messages[2]).await?;
    queue.gets_only("4").await
}

pub(super) async fn groups_do_not_wait_for_one_another(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    for (group, text) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1"), ("b", "b2")] {
        queue.send_fifo(group, text, text).await?;
    }
    let held = queue.hold().await?;
    ensure!(body(&held)? == "a1", "{held:?}");
    let others = queue.take_bodies(3).await?;
    let of_b: Vec<&String> = others.iter().filter(|body| body.starts_with('b')).collect();
    ensure!(of_b == ["b1", "b2"] && others.contains(&"c1".into()), "{others:?}");
    queue.delete(&held).await?;
    queue.gets_only("a2").await
}

pub(super) async fn a_message_without_a_group_is_refused(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.fifo_topic(true).await?, aws.fifo_queue().await?);
    let publish = aws.sns.publish().topic_arn(topic).message("placed");
    refused(publish.send().await, "InvalidParameter")?;
    let send = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    refused(send.message_deduplication_id("1").send().await, "MissingParameter")
}

pub(super) async fn a_topic_asks_for_a_deduplication_id(aws: &Aws) -> Result<()> {
    let topic = aws.fifo_topic(false).await?;
    let publish = aws.sns.publish().topic_arn(topic).message("placed").message_group_id("g");
    refused(publish.send().await, "InvalidParameter")
}

pub(super) async fn a_queue_asks_for_a_deduplication_id(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    let send = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    refused(send.message_group_id("g").send().await, "InvalidParameterValue")
}

pub(super) async fn a_group_id_has_128_characters_of_ascii(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    queue.send_fifo(&"g".repeat(128), "1", "longest").await?;
    queue.send_fifo("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "2", "punctuation").await?;
    for group in ["g".repeat(129), "white space".into(), "größe".into()] {
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
        let request = request.message_group_id(&group).message_deduplication_id("3");
        let result = refused(request.send().await, "InvalidParameterValue");
        result.map_err(|error| error.context(format!("group {group:?}")))?;
    }
    queue.take(2).await?;
    Ok(())
}

pub(super) async fn a_fifo_message_has_no_delay_of_its_own(aws: &Aws) -> Result<()> {
    let queue = aws.fifo_queue().await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    let request = request.message_group_id("g").message_deduplication_id("1").delay_seconds(1);
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn a_fifo_handle_of_an_ended_visibility_deletes_nothing(aws: &Aws) -> Result<()> {
    let visibility = (QueueAttributeName::VisibilityTimeout, "1");
    let queue = aws.fifo_queue_with([visibility]).await?;
    queue.send_fifo("g", "1", "placed").await?;
    let stale = queue.hold().await?;
    queue.hold().await?;
    let request = aws.sqs.delete_message().queue_url(&queue.url);
    refused(request.receipt_handle(handle(&stale)?).send().await, "InvalidParameterValue")?;
    queue.gets_only("placed").await
}
