//! Dead-letter queues: who may use which, and the move when a message was received too often.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::attributes::QueueAttributes;
use super::message::{Message, State};
use super::{admin, open};
use crate::engine::arn::Arn;
use crate::engine::{Engine, sequence_number};
use crate::error::AwsError;
use crate::wire::Context;

/// Checks that the redrive policy of the queue `arn` can be followed.
pub(super) fn check(
    engine: &Engine,
    arn: &str,
    attributes: &QueueAttributes,
) -> Result<(), AwsError> {
    let Some(redrive) = &attributes.redrive else { return Ok(()) };
    let refuse = |reason: &str| {
        let shown = format!(
            "{{\"deadLetterTargetArn\":\"{}\",\"maxReceiveCount\":{}}}",
            redrive.target, redrive.max_receives
        );
        Err(AwsError::invalid_value(shown, "RedrivePolicy", reason))
    };
    let place = |arn| Arn::parse(arn).map(|arn| (arn.region, arn.account));
    if place(arn) != place(&redrive.target) {
        return refuse("Dead-letter queue must be in the same account and region as the source.");
    }
    let Some(target) = engine.queues.get(&redrive.target) else {
        return refuse("Dead letter target does not exist.");
    };
    if target.attributes.fifo != attributes.fifo {
        return refuse("Dead-letter queue must be same type of queue as the source.");
    }
    if target.attributes.redrive_allow.as_ref().is_some_and(|allow| !allow.admits(arn)) {
        return refuse("Dead-letter queue does not permit this queue to use it.");
    }
    Ok(())
}

/// Moves messages from the queue `source` to its dead-letter queue. They keep their id and, on
/// standard queues, the time of their enqueueing, by which they age.
pub(super) fn bury(engine: &mut Engine, source: &str, target: &str, dead: Vec<Message>) {
    let now = Instant::now();
    for message in dead {
        let key = engine.next_serial();
        let Some(queue) = engine.queues.get_mut(target) else { return };
        let fifo = queue.attributes.fifo;
        let moved = Message {
            receives_here: 0,
            dead_letter_source: Some(source.to_owned()),
            sent: if fifo { now } else { message.sent },
            sequence: fifo.then(|| sequence_number(key)),
            state: State::Visible,
            receipt: 0,
            ..message
        };
        queue.insert(key, moved);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListDeadLetterSourceQueues {
    queue_url: String,
    #[serde(flatten)]
    page: admin::Page,
}

#[derive(Debug, Serialize)]
pub(super) struct Sources {
    #[serde(rename = "queueUrls")]
    urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) fn list_sources(
    engine: &mut Engine,
    ctx: &Context,
    request: ListDeadLetterSourceQueues,
) -> Result<Sources, AwsError> {
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "ListDeadLetterSourceQueues")?;
    let target = queue.arn.clone();
    let sources = engine.queues.values().filter(|queue| {
        queue.attributes.redrive.as_ref().is_some_and(|redrive| redrive.target == target)
    });
    let (urls, next_token) = request.page.of(ctx, sources)?;
    Ok(Sources { urls, next_token })
}
