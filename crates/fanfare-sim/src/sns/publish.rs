//! Publish and PublishBatch.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::message::{Outgoing, Publish};
use super::{deliver, lenient, open};
use crate::engine::batch::{self, BatchFailure};
use crate::engine::content::size;
use crate::engine::{Engine, sequence_number};
use crate::error::AwsError;
use crate::wire::{Context, Service, Xml};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PublishBatch {
    topic_arn: String,
    #[serde(deserialize_with = "lenient")]
    publish_batch_request_entries: Vec<Publish>,
}

/// A published message's id and, on FIFO topics, sequence number.
type Accepted = (String, Option<String>);

pub(super) fn publish(
    engine: &mut Engine,
    ctx: &Context,
    request: Publish,
) -> Result<Xml, AwsError> {
    let arn = request.topic_arn.clone().or_else(|| request.target_arn.clone());
    let arn = arn.ok_or_else(|| {
        AwsError::invalid_parameter("TopicArn or TargetArn Reason: no value for required parameter")
    })?;
    let attributes = request.attributes()?;
    let topic = open(engine, ctx, &arn, "Publish")?;
    let message = request.check(&topic.attributes, attributes)?;
    let mut xml = Xml::default();
    write_accepted(&mut xml, accept(engine, &arn, message)?);
    Ok(xml)
}

pub(super) fn publish_batch(
    engine: &mut Engine,
    ctx: &Context,
    request: PublishBatch,
) -> Result<Xml, AwsError> {
    let (arn, entries) = (request.topic_arn, request.publish_batch_request_entries);
    let topic = open(engine, ctx, &arn, "Publish")?.attributes.clone();
    batch::check(Service::Sns, &entries, "PublishBatchRequestEntry")?;
    // Malformed attributes, a missing group and too many bytes refuse the batch as a whole.
    let mut checked = Vec::new();
    let mut sum = 0;
    for entry in &entries {
        let attributes = entry.attributes()?;
        entry.check_fifo_ids(&topic)?;
        sum += size(&entry.message, &attributes);
        checked.push(attributes);
    }
    if sum > topic.max_message_bytes {
        return Err(batch::too_long(Service::Sns, topic.max_message_bytes, sum));
    }
    let mut checked = checked.into_iter();
    let result = batch::run(engine, ctx, entries, |engine, entry| {
        let id = entry.id.clone();
        let message = entry.check(&topic, checked.next().unwrap_or_default())?;
        Ok((id, accept(engine, &arn, message)?))
    });
    let mut xml = Xml::default();
    xml.list("Successful", result.successful, |xml, (id, accepted)| {
        xml.text("Id", &id);
        write_accepted(xml, accepted);
    });
    xml.list("Failed", result.failed, |xml, failure: BatchFailure| {
        xml.text("Id", &failure.id)
            .text("Code", &failure.code)
            .text("Message", &failure.message)
            .text("SenderFault", if failure.sender_fault { "true" } else { "false" });
    });
    Ok(xml)
}

/// Delivers a message, unless a FIFO topic has seen it: then the answer is that of the first.
fn accept(engine: &mut Engine, arn: &str, message: Outgoing) -> Result<Accepted, AwsError> {
    let now = Instant::now();
    let id = engine.uuid();
    let serial = engine.next_serial();
    let topic =
        engine.topics.get_mut(arn).ok_or_else(|| AwsError::not_found("Topic does not exist"))?;
    let mut message = message;
    let mut sequence = None;
    if topic.attributes.fifo {
        let content = || hex::encode(Sha256::digest(message.body.as_bytes()));
        let dedup = message.dedup.clone().unwrap_or_else(content);
        let remembered = match &message.group {
            Some(group) if topic.attributes.dedup_per_group => format!("{group} {dedup}"),
            _ => dedup.clone(),
        };
        if let Some(first) = topic.dedup.answer(now, &remembered) {
            return Ok(first);
        }
        sequence = Some(sequence_number(serial));
        topic.dedup.remember(now, remembered, (id.clone(), sequence.clone()));
        message.dedup = Some(dedup);
    }
    deliver::deliver(engine, arn, &message, &id, sequence.as_deref());
    Ok((id, sequence))
}

fn write_accepted(xml: &mut Xml, (id, sequence): Accepted) {
    xml.text("MessageId", &id);
    if let Some(sequence) = sequence {
        xml.text("SequenceNumber", &sequence);
    }
}
