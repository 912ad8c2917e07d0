//! SQS: dispatch of its actions, which speak AWS JSON 1.0.

mod admin;
mod attributes;
mod fifo;
mod message;
mod move_task;
mod queue;
#[cfg(test)]
mod queue_properties;
mod receive;
mod redrive;
mod send;
mod settle;
mod tags;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::engine::arn::queue_arn;
use crate::engine::policy::{Access, Principal};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::Context;

pub(crate) use message::Message;
pub(crate) use move_task::MoveTask;
pub(crate) use queue::Queue;
pub(crate) use send::NewMessage;

/// Performs one action; the answer is JSON, or empty where the action answers nothing.
pub(crate) async fn call(
    sim: &std::sync::Arc<Shared>,
    ctx: &Context,
    action: &str,
    body: &[u8],
) -> Result<Bytes, AwsError> {
    match action {
        "CancelMessageMoveTask" => run(sim, ctx, body, move_task::cancel),
        "ChangeMessageVisibility" => run(sim, ctx, body, settle::change_visibility),
        "ChangeMessageVisibilityBatch" => run(sim, ctx, body, settle::change_visibility_batch),
        "CreateQueue" => run(sim, ctx, body, admin::create_queue),
        "DeleteMessage" => run(sim, ctx, body, settle::delete_message),
        "DeleteMessageBatch" => run(sim, ctx, body, settle::delete_message_batch),
        "DeleteQueue" => run(sim, ctx, body, admin::delete_queue),
        "GetQueueAttributes" => run(sim, ctx, body, admin::get_queue_attributes),
        "GetQueueUrl" => run(sim, ctx, body, admin::get_queue_url),
        "ListDeadLetterSourceQueues" => run(sim, ctx, body, redrive::list_sources),
        "ListMessageMoveTasks" => run(sim, ctx, body, move_task::list),
        "ListQueueTags" => run(sim, ctx, body, tags::list),
        "ListQueues" => run(sim, ctx, body, admin::list_queues),
        "PurgeQueue" => run(sim, ctx, body, admin::purge_queue),
        "ReceiveMessage" => answer(&receive::receive(sim, ctx, parse(body)?).await?),
        "SendMessage" => run(sim, ctx, body, send::send_message),
        "SendMessageBatch" => run(sim, ctx, body, send::send_message_batch),
        "SetQueueAttributes" => run(sim, ctx, body, admin::set_queue_attributes),
        "StartMessageMoveTask" => {
            let started = move_task::start(&mut sim.lock(), ctx, parse(body)?)?;
            tokio::spawn(move_task::drive(
                std::sync::Arc::downgrade(sim),
                started.task_handle.clone(),
            ));
            answer(&started)
        }
        "TagQueue" => run(sim, ctx, body, tags::tag),
        "UntagQueue" => run(sim, ctx, body, tags::untag),
        _ => Err(AwsError::sender(
            "InvalidAction",
            format!("The action {action} is not valid for this endpoint."),
        )),
    }
}

fn run<I: DeserializeOwned, O: Serialize>(
    sim: &Shared,
    ctx: &Context,
    body: &[u8],
    operation: fn(&mut Engine, &Context, I) -> Result<O, AwsError>,
) -> Result<Bytes, AwsError> {
    let request = parse(body)?;
    let output = operation(&mut sim.lock(), ctx, request)?;
    answer(&output)
}

fn parse<I: DeserializeOwned>(body: &[u8]) -> Result<I, AwsError> {
    // An action without parameters may come with an empty body.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| AwsError::sender("SerializationException", error.to_string()))
}

fn answer<O: Serialize>(output: &O) -> Result<Bytes, AwsError> {
    let json = serde_json::to_vec(output).map_err(|_| AwsError::internal())?;
    // Actions that answer nothing return `()`.
    Ok(if json == b"null" { Bytes::new() } else { json.into() })
}

/// The queue behind a URL, up to date. Only the URL's last two segments count, account and name,
/// so that it works under whatever host the simulator is reached.
fn open<'q>(
    queues: &'q mut BTreeMap<String, Queue>,
    ctx: &Context,
    url: &str,
    action: &str,
) -> Result<&'q mut Queue, AwsError> {
    if url.is_empty() {
        return Err(AwsError::missing_parameter("QueueUrl"));
    }
    let mut segments = url.trim_end_matches('/').rsplit('/');
    let (name, account) = (segments.next().unwrap_or_default(), segments.next());
    let is_account = |text: &&str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    let Some(account) = account.filter(is_account) else {
        let message = format!("The address {url} is not valid for this endpoint.");
        return Err(AwsError::sender("InvalidAddress", message).with_status(404));
    };
    let arn = queue_arn(&ctx.caller.region, account, name);
    let queue = queues.get_mut(&arn).ok_or_else(queue_does_not_exist)?;
    let access = Access {
        principal: Principal::Account(&ctx.caller.account),
        action: &format!("sqs:{action}"),
        resource: &arn,
        source_arn: None,
    };
    // An account is at home in its own queues; others need the queue's policy.
    let allowed = || queue.attributes.policy.as_ref().is_some_and(|p| p.allows(access));
    if account != ctx.caller.account && !allowed() {
        let message = format!(
            "User: arn:aws:iam::{}:root is not authorized to perform: sqs:{} on resource: {arn}",
            ctx.caller.account,
            action.to_ascii_lowercase()
        );
        return Err(AwsError::sender("AccessDenied", message).with_status(403));
    }
    queue.advance(Instant::now());
    Ok(queue)
}

fn queue_does_not_exist() -> AwsError {
    AwsError::sender(
        "AWS.SimpleQueueService.NonExistentQueue",
        "The specified queue does not exist.",
    )
}
