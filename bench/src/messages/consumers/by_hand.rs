//! What one writes with the SDK alone: four tasks, each of which receives ten messages, handles them side
//! by side, deletes them, and receives again.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName as System,
};
use fanfare::EventType;
use futures_util::future::try_join_all;
use serde::Deserialize;

use crate::event::Placed;
use crate::messages::consumers::{Entry, Handler, TASKS, Work};

pub(crate) const ONES: Entry = Entry {
    name: "receive 10, delete singly",
    notes: "aws-sdk-sqs by hand: four tasks, each with receives of ten, whose messages are handled side by \
        side and deleted by a request each as they are done. The envelope and its data are read with \
        serde_json. No retries, no time-out is prolonged, and nothing happens to an event that cannot be \
        handled.",
    run: |work| Box::pin(run(work, false, false)),
};

pub(crate) const BATCHES: Entry = Entry {
    name: "receive 10, delete 10",
    notes: "The same, but one `DeleteMessageBatch` when all ten are handled. Entries that failed end it with \
        an error.",
    run: |work| Box::pin(run(work, true, false)),
};

pub(crate) const INFORMED: Entry = Entry {
    name: "the same, with attributes",
    notes: "It also asks for what one needs to limit attempts, to measure ages and to pass a message on: its         attributes, its receive count and when it was sent. No bar is about it.",
    run: |work| Box::pin(run(work, true, true)),
};

/// What it wants to know of an envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    data: Placed,
}

async fn run(work: Work, batches: bool, informed: bool) -> Result<()> {
    let client = Client::new(&work.config);
    let tasks = (0..TASKS).map(|_| {
        let (client, work) = (client.clone(), work.clone());
        tokio::spawn(async move {
            let Work { queue_url, handler, stop, .. } = work;
            loop {
                let receive = client.receive_message().queue_url(&queue_url);
                let receive = receive.max_number_of_messages(10).wait_time_seconds(20);
                let receive = if informed { with_attributes(receive) } else { receive }.send();
                let received = tokio::select! {
                    received = receive => received?.messages.unwrap_or_default(),
                    () = stop.cancelled() => return anyhow::Ok(()),
                };
                if batches {
                    handle_all(&client, &queue_url, &handler, received).await?;
                } else {
                    let each = received.iter();
                    try_join_all(each.map(|message| one(&client, &queue_url, &handler, message)))
                        .await?;
                }
            }
        })
    });
    for task in try_join_all(tasks).await? {
        task?;
    }
    Ok(())
}

fn with_attributes(receive: ReceiveMessageFluentBuilder) -> ReceiveMessageFluentBuilder {
    receive
        .message_attribute_names("All")
        .message_system_attribute_names(System::ApproximateReceiveCount)
        .message_system_attribute_names(System::SentTimestamp)
}

async fn one(client: &Client, queue: &str, handler: &Handler, message: &Message) -> Result<()> {
    handle(handler, message).await?;
    let receipt = message.receipt_handle().context("no receipt")?;
    client.delete_message().queue_url(queue).receipt_handle(receipt).send().await?;
    Ok(())
}

async fn handle_all(
    client: &Client,
    queue: &str,
    handler: &Handler,
    messages: Vec<Message>,
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    if handler.takes.is_zero() {
        for message in &messages {
            handle(handler, message).await?;
        }
    } else {
        try_join_all(messages.iter().map(|message| handle(handler, message))).await?;
    }
    let entry = |(index, message): (usize, Message)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .set_receipt_handle(message.receipt_handle)
            .build()
    };
    let entries = messages.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
    let request = client.delete_message_batch().queue_url(queue).set_entries(Some(entries));
    let answer = request.send().await?;
    ensure!(answer.failed().is_empty(), "{} were not deleted", answer.failed().len());
    Ok(())
}

async fn handle(handler: &Handler, message: &Message) -> Result<()> {
    let body = message.body().context("no body")?;
    let envelope: Envelope<'_> = serde_json::from_str(body).context("no envelope")?;
    ensure!(envelope.r#type == Placed::TAG, "another type of event");
    handler.handle(&envelope.data).await;
    Ok(())
}
