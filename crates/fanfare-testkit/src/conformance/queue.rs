//! A queue under test. Waiting is polling with a deadline: long polls, never a fixed sleep.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use tokio::time::Instant;

/// Within this, whatever has to happen has happened, on LocalStack under load too.
const DEADLINE: Duration = Duration::from_secs(30);

/// One long poll, in seconds; short, because LocalStack wakes it late for some events.
const POLL: i32 = 1;

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) arn: String,
}

impl Queue {
    /// Sends a message without attributes: its id.
    pub(super) async fn send(&self, body: &str) -> Result<String> {
        let output = self.sqs.send_message().queue_url(&self.url).message_body(body).send().await?;
        output.message_id.context("SendMessage answers without a message id")
    }

    /// Sends a message to a FIFO queue: its id.
    pub(super) async fn send_fifo(&self, group: &str, dedup: &str, body: &str) -> Result<String> {
        let output = self
            .sqs
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_group_id(group)
            .message_deduplication_id(dedup)
            .send()
            .await?;
        output.message_id.context("SendMessage answers without a message id")
    }

    /// One ReceiveMessage: up to `max` messages with everything about them.
    pub(super) async fn receive(&self, max: i32, wait_seconds: i32) -> Result<Vec<Message>> {
        let output = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(max)
            .wait_time_seconds(wait_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await?;
        Ok(output.messages.unwrap_or_default())
    }

    /// Waits for one message and keeps it in flight.
    pub(super) async fn hold(&self) -> Result<Message> {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(message) = self.receive(1, POLL).await?.pop() {
                return Ok(message);
            }
        }
        bail!("no message came within {DEADLINE:?}")
    }

    /// Receives and deletes until `count` messages have come, in their order of arrival; more
    /// than that is an error.
    pub(super) async fn take(&self, count: usize) -> Result<Vec<Message>> {
        let start = Instant::now();
        let mut taken = Vec::new();
        while taken.len() < count {
            ensure!(
                start.elapsed() < DEADLINE,
                "{} of {count} messages came within {DEADLINE:?}",
                taken.len()
            );
            for message in self.receive(10, POLL).await? {
                self.delete(&message).await?;
                taken.push(message);
            }
        }
        ensure!(taken.len() == count, "{} messages came, {count} were expected", taken.len());
        Ok(taken)
    }

    /// The bodies of the next `count` messages, in their order of arrival.
    pub(super) async fn take_bodies(&self, count: usize) -> Result<Vec<String>> {
        self.take(count).await?.iter().map(|message| Ok(body(message)?.to_owned())).collect()
    }

    /// The bodies of the next `count` messages, sorted: a standard queue promises no order.
    pub(super) async fn take_sorted(&self, count: usize) -> Result<Vec<String>> {
        let mut bodies = self.take_bodies(count).await?;
        bodies.sort();
        Ok(bodies)
    }

    /// The next message is this one, and no further one comes.
    pub(super) async fn gets_only(&self, expected: &str) -> Result<()> {
        let bodies = self.take_bodies(1).await?;
        ensure!(bodies == [expected], "expected {expected:?}, got {bodies:?}");
        self.stays_empty().await
    }

    /// Nothing comes within a long poll.
    pub(super) async fn stays_empty(&self) -> Result<()> {
        let messages = self.receive(10, POLL).await?;
        ensure!(messages.is_empty(), "expected no message, got {messages:?}");
        Ok(())
    }

    /// Nothing can be received at this moment.
    pub(super) async fn shows_nothing(&self) -> Result<()> {
        let messages = self.receive(10, 0).await?;
        ensure!(messages.is_empty(), "expected no visible message, got {messages:?}");
        Ok(())
    }

    pub(super) async fn delete(&self, message: &Message) -> Result<()> {
        let handle = handle(message)?;
        self.sqs.delete_message().queue_url(&self.url).receipt_handle(handle).send().await?;
        Ok(())
    }

    /// Changes how long from now on the message stays invisible.
    pub(super) async fn hide(&self, message: &Message, seconds: i32) -> Result<()> {
        self.sqs
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(handle(message)?)
            .visibility_timeout(seconds)
            .send()
            .await?;
        Ok(())
    }

    /// Sets one attribute.
    pub(super) async fn set(&self, name: QueueAttributeName, value: &str) -> Result<()> {
        self.sqs.set_queue_attributes().queue_url(&self.url).attributes(name, value).send().await?;
        Ok(())
    }

    /// Reads one attribute; an error if the queue has none of that name.
    pub(super) async fn get(&self, name: QueueAttributeName) -> Result<String> {
        let output = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(name.clone())
            .send()
            .await?;
        let value = output.attributes.and_then(|mut attributes| attributes.remove(&name));
        value.with_context(|| format!("the queue has no attribute {name}"))
    }

    /// Waits until an attribute has this value: AWS calls the counts approximate.
    pub(super) async fn comes_to(&self, name: QueueAttributeName, value: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let current = self.get(name.clone()).await?;
            if current == value {
                return Ok(());
            }
            ensure!(start.elapsed() < DEADLINE, "{name} is {current}, not {value}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

pub(super) fn body(message: &Message) -> Result<&str> {
    message.body().context("a message without a body")
}

pub(super) fn handle(message: &Message) -> Result<&str> {
    message.receipt_handle().context("a message without a receipt handle")
}

/// A system attribute; an error if the message has none of that name.
pub(super) fn system(message: &Message, name: MessageSystemAttributeName) -> Result<&str> {
    let value = message.attributes().and_then(|attributes| attributes.get(&name));
    value.map(String::as_str).with_context(|| format!("a message without {name}"))
}

/// How often the message has been received.
pub(super) fn receive_count(message: &Message) -> Result<u32> {
    let count = system(message, MessageSystemAttributeName::ApproximateReceiveCount)?;
    Ok(count.parse()?)
}

/// A message attribute's data type and string value.
pub(super) fn attribute<'a>(message: &'a Message, name: &str) -> Result<(&'a str, &'a str)> {
    let attributes = message.message_attributes();
    let value = attributes.and_then(|attributes| attributes.get(name));
    let value = value.with_context(|| format!("a message without the attribute {name}"))?;
    Ok((value.data_type(), value.string_value().unwrap_or_default()))
}
