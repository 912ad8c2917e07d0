//! Message attributes: how many, of what names and types.

use anyhow::{Result, ensure};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};

use super::aws::{Aws, refused, sns_attribute};
use super::queue::{Queue, attribute, receive_count, system};

/// On a message that goes through a raw subscription, or to SQS directly.
const LIMIT: usize = 10;

async fn publish(aws: &Aws, topic: &str, body: &str, attributes: usize) -> Result<()> {
    let mut request = aws.sns.publish().topic_arn(topic).message(body);
    for index in 0..attributes {
        request = request.message_attributes(format!("a{index}"), sns_attribute("String", "v")?);
    }
    request.send().await?;
    Ok(())
}

fn sqs_attribute(data_type: &str, value: &str) -> Result<MessageAttributeValue> {
    let value = MessageAttributeValue::builder().data_type(data_type).string_value(value);
    Ok(value.build()?)
}

pub(super) async fn ten_attributes_pass_a_raw_subscription(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    publish(aws, &topic, "ten", LIMIT).await?;
    let messages = queue.take(1).await?;
    for index in 0..LIMIT {
        ensure!(attribute(&messages[0], &format!("a{index}"))? == ("String", "v"));
    }
    Ok(())
}

pub(super) async fn with_eleven_attributes_a_message_is_published_but_not_delivered_raw(
    aws: &Aws,
) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    publish(aws, &topic, "eleven", LIMIT + 1).await?;
    publish(aws, &topic, "ten", LIMIT).await?;
    queue.gets_only("ten").await
}

pub(super) async fn eleven_attributes_fit_an_envelope(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    aws.subscribe(&topic, &queue, []).await?;
    publish(aws, &topic, "eleven", LIMIT + 1).await?;
    let bodies = queue.take_bodies(1).await?;
    let envelope: serde_json::Value = serde_json::from_str(&bodies[0])?;
    let count = envelope["MessageAttributes"].as_object().map(serde_json::Map::len);
    ensure!(count == Some(LIMIT + 1), "{envelope:#}");
    Ok(())
}

async fn send_with(aws: &Aws, queue: &Queue, attributes: usize) -> Result<bool> {
    let mut request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    for index in 0..attributes {
        request = request.message_attributes(format!("a{index}"), sqs_attribute("String", "v")?);
    }
    let result = request.send().await;
    if attributes <= LIMIT {
        result?;
        return Ok(true);
    }
    refused(result, "InvalidParameterValue")?;
    Ok(false)
}

pub(super) async fn sqs_takes_ten_attributes(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    ensure!(send_with(aws, &queue, LIMIT).await?);
    queue.take(1).await?;
    Ok(())
}

pub(super) async fn sqs_refuses_eleven_attributes(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    ensure!(!send_with(aws, &queue, LIMIT + 1).await?);
    queue.stays_empty().await
}

pub(super) async fn attributes_of_every_type_come_back(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let bytes = Blob::new([0, 159, 255]);
    let binary = MessageAttributeValue::builder().data_type("Binary").binary_value(bytes.clone());
    aws.sqs
        .send_message()
        .queue_url(&queue.url)
        .message_body("placed")
        .message_attributes("text", sqs_attribute("String", "ü <&>")?)
        .message_attributes("labelled", sqs_attribute("String.uuid", "x")?)
        .message_attributes("number", sqs_attribute("Number", "-12.50")?)
        .message_attributes("binary", binary.build()?)
        .send()
        .await?;
    let messages = queue.take(1).await?;
    let message = &messages[0];
    ensure!(attribute(message, "text")? == ("String", "ü <&>"), "{message:?}");
    ensure!(attribute(message, "labelled")? == ("String.uuid", "x"), "{message:?}");
    ensure!(attribute(message, "number")? == ("Number", "-12.50"), "{message:?}");
    let attributes = message.message_attributes();
    let binary = attributes.and_then(|attributes| attributes.get("binary"));
    ensure!(binary.and_then(|value| value.binary_value()) == Some(&bytes), "{message:?}");
    Ok(())
}

pub(super) async fn sent_and_received_md5_sums_agree(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let sent = aws
        .sqs
        .send_message()
        .queue_url(&queue.url)
        .message_body("placed")
        .message_attributes("type", sqs_attribute("String", "OrderPlaced")?)
        .message_attributes("amount", sqs_attribute("Number", "12.50")?)
        .send()
        .await?;
    let messages = queue.take(1).await?;
    // MD5 of "placed", and of the two attributes in SQS's encoding, sorted by name.
    let (body, attributes) =
        ("6ebb25b39f65cab5efa469977b9479e2", "56697d0f3df7badb5572d93abf78ff67");
    ensure!(sent.md5_of_message_body() == Some(body), "{sent:?}");
    ensure!(sent.md5_of_message_attributes() == Some(attributes), "{sent:?}");
    ensure!(messages[0].md5_of_body() == Some(body), "{messages:?}");
    ensure!(messages[0].md5_of_message_attributes() == Some(attributes), "{messages:?}");
    Ok(())
}

pub(super) async fn only_the_attributes_asked_for_are_received(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    aws.sqs
        .send_message()
        .queue_url(&queue.url)
        .message_body("placed")
        .message_attributes("type", sqs_attribute("String", "OrderPlaced")?)
        .message_attributes("shop.country", sqs_attribute("String", "de")?)
        .send()
        .await?;
    for (asked, expected) in
        [(None, 0), (Some("type"), 1), (Some("shop.*"), 1), (Some("other"), 0), (Some("All"), 2)]
    {
        let request = aws.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(5);
        let request = request
            .visibility_timeout(0)
            .set_message_attribute_names(asked.map(|name| vec![name.to_owned()]));
        let messages = request.send().await?.messages.unwrap_or_default();
        ensure!(messages.len() == 1, "{asked:?}: {messages:?}");
        let count = messages[0].message_attributes().map_or(0, |attributes| attributes.len());
        ensure!(count == expected, "{asked:?}: {messages:?}");
        ensure!(messages[0].attributes().is_none(), "system attributes unasked: {messages:?}");
    }
    Ok(())
}

pub(super) async fn system_attributes_tell_who_when_and_how_often(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    queue.send("placed").await?;
    let messages = queue.take(1).await?;
    let message = &messages[0];
    ensure!(receive_count(message)? == 1, "{message:?}");
    ensure!(!system(message, MessageSystemAttributeName::SenderId)?.is_empty());
    let sent: u64 = system(message, MessageSystemAttributeName::SentTimestamp)?.parse()?;
    let first = MessageSystemAttributeName::ApproximateFirstReceiveTimestamp;
    let received: u64 = system(message, first)?.parse()?;
    // Milliseconds since 1970: later than 2020, and in the order of things.
    ensure!(1_577_836_800_000 < sent && sent <= received, "{message:?}");
    Ok(())
}

pub(super) async fn sqs_refuses_attributes_that_are_none(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    for (name, data_type, value) in [
        ("AWS.type", "String", "v"),
        ("Amazon.type", "String", "v"),
        ("white space", "String", "v"),
        (".type", "String", "v"),
        ("type", "Text", "v"),
        ("type", "String", ""),
    ] {
        let request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
        let request = request.message_attributes(name, sqs_attribute(data_type, value)?);
        let result = refused(request.send().await, "InvalidParameterValue");
        result.map_err(|error| error.context(format!("{name:?}: {data_type} {value:?}")))?;
    }
    queue.stays_empty().await
}

pub(super) async fn a_number_attribute_is_a_number(aws: &Aws) -> Result<()> {
    let queue = aws.queue().await?;
    let request = aws.sqs.send_message().queue_url(&queue.url).message_body("placed");
    let request = request.message_attributes("amount", sqs_attribute("Number", "twelve")?);
    refused(request.send().await, "InvalidParameterValue")
}

pub(super) async fn sns_refuses_attributes_that_are_none(aws: &Aws) -> Result<()> {
    let (topic, queue) = aws.raw().await?;
    for (name, data_type, value) in
        [("type", "Text", "v"), ("type", "String", ""), ("white space", "String", "v")]
    {
        let request = aws.sns.publish().topic_arn(&topic).message("placed");
        let request = request.message_attributes(name, sns_attribute(data_type, value)?);
        let result = refused(request.send().await, "ParameterValueInvalid");
        result.map_err(|error| error.context(format!("{name:?}: {data_type} {value:?}")))?;
    }
    queue.stays_empty().await
}
