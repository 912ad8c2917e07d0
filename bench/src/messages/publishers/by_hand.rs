//! What one writes with the SDK alone.

use std::sync::Arc;

use ::fanfare::Message;
use anyhow::{Result, bail};
use aws_sdk_sns::Client;
use aws_sdk_sns::error::BuildError;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use futures_util::future::BoxFuture;

use crate::messages::place::TOPIC_ARN;
use crate::messages::publishers::{Entry, Publishes};

/// How often entries are sent again that failed.
const TRIES: usize = 10;

pub(crate) const ONES: Entry = Entry {
    name: "Publish",
    notes: "aws-sdk-sns by hand, a request for each event.",
    callers: 40,
    call: 1,
    set_up: |config| Box::pin(async move { Ok(Arc::new(Ones(Client::new(&config))) as _) }),
};

pub(crate) const BATCHES: Entry = Entry {
    name: "PublishBatch",
    notes: "aws-sdk-sns by hand, ten events by a request. What the answer names as failed is sent again.",
    callers: 4,
    call: 10,
    set_up: |config| Box::pin(async move { Ok(Arc::new(Batches(Client::new(&config))) as _) }),
};

struct Ones(Client);

impl Publishes for Ones {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for event in events {
                let mut request = self.0.publish().topic_arn(TOPIC_ARN).message(&event.body);
                for (name, value) in &event.attributes {
                    request = request.message_attributes(name.as_str(), attribute(value)?);
                }
                request.send().await?;
            }
            Ok(())
        })
    }
}

struct Batches(Client);

impl Publishes for Batches {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut left: Vec<&Message> = events.iter().collect();
            for _ in 0..TRIES {
                let entries = left.iter().enumerate().map(|(index, event)| entry(index, event));
                let entries = entries.collect::<Result<_, _>>()?;
                let request = self.0.publish_batch().topic_arn(TOPIC_ARN);
                let answer =
                    request.set_publish_batch_request_entries(Some(entries)).send().await?;
                let failed = answer.failed().iter().map(|failed| failed.id().parse::<usize>());
                let failed = failed.collect::<Result<Vec<_>, _>>()?;
                left = failed.into_iter().filter_map(|index| left.get(index).copied()).collect();
                if left.is_empty() {
                    return Ok(());
                }
            }
            bail!("{} entries were refused {TRIES} times", left.len())
        })
    }
}

fn entry(index: usize, event: &Message) -> Result<PublishBatchRequestEntry, BuildError> {
    let mut entry = PublishBatchRequestEntry::builder().id(index.to_string()).message(&event.body);
    for (name, value) in &event.attributes {
        entry = entry.message_attributes(name.as_str(), attribute(value)?);
    }
    entry.build()
}

fn attribute(value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build()
}
