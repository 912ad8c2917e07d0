//! DeleteMessage and ChangeMessageVisibility, one by one and in batches: what a caller does with
//! the receipt handle of a delivery.

use serde::Deserialize;
use tokio::time::Instant;

use super::message::{Receipt, State};
use super::open;
use super::queue::Queue;
use crate::clock::seconds;
use crate::engine::Engine;
use crate::engine::batch::{self, BatchResult, Done, Entry};
use crate::engine::limits::MAX_VISIBILITY_SECONDS;
use crate::error::AwsError;
use crate::wire::{Context, Service};

/// One handle: by itself, with the queue's URL, or in a batch, with an id.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Settle {
    queue_url: String,
    id: String,
    receipt_handle: String,
    visibility_timeout: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SettleBatch {
    queue_url: String,
    entries: Vec<Settle>,
}

impl Entry for Settle {
    fn id(&self) -> &str {
        &self.id
    }
}

type Operation = fn(&mut Queue, &Context, &Settle) -> Result<(), AwsError>;

pub(super) fn delete_message(
    engine: &mut Engine,
    ctx: &Context,
    request: Settle,
) -> Result<(), AwsError> {
    single(engine, ctx, &request, "DeleteMessage", delete)
}

pub(super) fn delete_message_batch(
    engine: &mut Engine,
    ctx: &Context,
    request: SettleBatch,
) -> Result<BatchResult<Done>, AwsError> {
    let entry_type = "DeleteMessageBatchRequestEntry";
    several(engine, ctx, request, "DeleteMessage", entry_type, delete)
}

pub(super) fn change_visibility(
    engine: &mut Engine,
    ctx: &Context,
    request: Settle,
) -> Result<(), AwsError> {
    single(engine, ctx, &request, "ChangeMessageVisibility", change)
}

pub(super) fn change_visibility_batch(
    engine: &mut Engine,
    ctx: &Context,
    request: SettleBatch,
) -> Result<BatchResult<Done>, AwsError> {
    let entry_type = "ChangeMessageVisibilityBatchRequestEntry";
    several(engine, ctx, request, "ChangeMessageVisibility", entry_type, change)
}

fn single(
    engine: &mut Engine,
    ctx: &Context,
    request: &Settle,
    action: &str,
    operation: Operation,
) -> Result<(), AwsError> {
    operation(open(&mut engine.queues, ctx, &request.queue_url, action)?, ctx, request)?;
    engine.note_change();
    Ok(())
}

fn several(
    engine: &mut Engine,
    ctx: &Context,
    request: SettleBatch,
    action: &str,
    entry_type: &str,
    operation: Operation,
) -> Result<BatchResult<Done>, AwsError> {
    open(&mut engine.queues, ctx, &request.queue_url, action)?;
    batch::check(Service::Sqs, &request.entries, entry_type)?;
    let result = batch::run(engine, ctx, request.entries, |engine, entry| {
        operation(open(&mut engine.queues, ctx, &request.queue_url, action)?, ctx, &entry)?;
        Ok(Done { id: entry.id })
    });
    engine.note_change();
    Ok(result)
}

fn delete(queue: &mut Queue, ctx: &Context, request: &Settle) -> Result<(), AwsError> {
    let receipt = receipt(queue, request)?;
    let Some(message) = queue.message(receipt.key) else {
        return Ok(()); // deleting twice is fine
    };
    let stale = ctx.expired || message.receipt != receipt.receipt;
    let in_flight = matches!(message.state, State::InFlight(_));
    if queue.attributes.fifo && (stale || !in_flight) {
        let reason = "The receipt handle has expired.";
        return Err(AwsError::invalid_value(&request.receipt_handle, "ReceiptHandle", reason));
    }
    // A standard queue takes a stale handle without a word, and keeps the message.
    if !stale {
        queue.remove(receipt.key);
    }
    Ok(())
}

fn change(queue: &mut Queue, ctx: &Context, request: &Settle) -> Result<(), AwsError> {
    let Some(timeout) = request.visibility_timeout else {
        return Err(AwsError::missing_parameter("VisibilityTimeout"));
    };
    if !(0..=i64::from(MAX_VISIBILITY_SECONDS)).contains(&timeout) {
        let reason = "VisibilityTimeout must be an integer between 0 and 43200.";
        return Err(AwsError::invalid_value(timeout, "VisibilityTimeout", reason));
    }
    let receipt = receipt(queue, request)?;
    let current = queue
        .message(receipt.key)
        .filter(|message| message.receipt == receipt.receipt && !ctx.expired);
    let Some(message) = current else {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        return Err(AwsError::invalid_value(&request.receipt_handle, "ReceiptHandle", reason));
    };
    if !matches!(message.state, State::InFlight(_)) {
        return Err(AwsError::sender(
            "AWS.SimpleQueueService.MessageNotInflight",
            "The specified message isn't in flight.",
        ));
    }
    let now = Instant::now();
    let until = now + seconds(timeout as u32);
    let latest = message.last_received.unwrap_or(now) + seconds(MAX_VISIBILITY_SECONDS);
    if until > latest {
        let reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds].";
        return Err(AwsError::invalid_value(timeout, "VisibilityTimeout", reason));
    }
    queue
        .set_state(receipt.key, if timeout == 0 { State::Visible } else { State::InFlight(until) });
    Ok(())
}

/// The handle taken apart, if it is one of this queue's.
fn receipt(queue: &Queue, request: &Settle) -> Result<Receipt, AwsError> {
    let handle = &request.receipt_handle;
    if handle.is_empty() {
        return Err(AwsError::missing_parameter("ReceiptHandle"));
    }
    Receipt::decode(handle).filter(|receipt| receipt.queue == queue.serial).ok_or_else(|| {
        let message =
            format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
        AwsError::sender("ReceiptHandleIsInvalid", message)
    })
}
