//! A mapping of a queue.

use std::pin::pin;

use aws_sdk_sqs::{
    Client, Error,
    types::{DeleteMessageBatchRequestEntry, Message, MessageAttributeValue},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Invoked, PAUSE, TIMEOUT};

/// As AWS recommends: six times the function's time-out.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const VISIBILITY_SECONDS: i32 = 6 * TIMEOUT.as_secs() as i32;

/// Receives from a queue until `stop` resolves, and deletes what the function does not report.
pub(in super::super) async fn poll_queue(
    client: Client,
    name: String,
    mut function: Invoked,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let queue = client.get_queue_url().queue_name(&name).send().await;
    let url = queue.map_err(|error| Error::from(error).to_string())?.queue_url;
    let url = url.unwrap_or_default();
    let mut stop = pin!(stop);
    loop {
        let mut receiving = pin!(receive(&client, &url));
        let (messages, stopping) = tokio::select! {
            biased;
            messages = &mut receiving => (messages, false),
            // What a dropped poll brings would be seen by nobody.
            () = &mut stop => (receiving.await, true),
        };
        match messages {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => handle(&client, &url, &name, messages, &mut function).await,
            Err(error) => {
                tracing::debug!(%error, queue = name, "receiving failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
        if stopping {
            return Ok(());
        }
    }
}

async fn receive(client: &Client, url: &str) -> Result<Vec<Message>, Error> {
    let request = client.receive_message().queue_url(url).max_number_of_messages(10);
    let request = request.wait_time_seconds(20).visibility_timeout(VISIBILITY_SECONDS);
    let request = request
        .message_attribute_names("All")
        .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::All);
    Ok(request.send().await?.messages.unwrap_or_default())
}

async fn handle(
    client: &Client,
    url: &str,
    name: &str,
    messages: Vec<Message>,
    function: &mut Invoked,
) {
    let records = messages.iter().map(|message| record(name, message)).collect();
    let Some(reported) = function.invoke(records).await else { return };
    let is_done = |message: &&Message| {
        message.message_id().is_some_and(|id| !reported.iter().any(|reported| reported == id))
    };
    let entry = |(place, message): (usize, &Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
        entry.set_receipt_handle(message.receipt_handle.clone()).build().ok()
    };
    let entries: Vec<_> = messages.iter().filter(is_done).enumerate().filter_map(entry).collect();
    if entries.is_empty() {
        return;
    }
    let request = client.delete_message_batch().queue_url(url).set_entries(Some(entries));
    if let Err(error) = request.send().await.map_err(Error::from) {
        tracing::debug!(%error, queue = name, "not deleted: it comes again");
    }
}

/// A message as Lambda writes it.
fn record(queue: &str, message: &Message) -> Value {
    let system = message.attributes.iter().flatten();
    let system: Map<_, _> =
        system.map(|(name, value)| (name.as_str().into(), value.clone().into())).collect();
    let own = message.message_attributes.iter().flatten();
    let own: Map<_, _> = own.map(|(name, value)| (name.clone(), attribute(value))).collect();
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": system,
        "messageAttributes": own,
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:{}:{queue}", super::super::ACCOUNT),
        "awsRegion": "us-east-1",
    })
}

fn attribute(value: &MessageAttributeValue) -> Value {
    let mut attribute = json!({
        "dataType": value.data_type,
        "stringListValues": [],
        "binaryListValues": [],
    });
    if let Some(text) = &value.string_value {
        attribute["stringValue"] = text.as_str().into();
    }
    if let Some(bytes) = &value.binary_value {
        attribute["binaryValue"] = STANDARD.encode(bytes).into();
    }
    attribute
}
