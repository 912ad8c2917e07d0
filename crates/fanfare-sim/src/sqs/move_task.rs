//! Move tasks: messages of a dead-letter queue go back to where they came from, or elsewhere, at
//! a bounded rate and as new messages.

use std::sync::Weak;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::message::{Key, Message, State};
use crate::engine::arn::Arn;
use crate::engine::limits::MAX_MOVES_PER_SECOND;
use crate::engine::{Engine, sequence_number};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::Context;

/// A task, running or over.
#[derive(Debug)]
pub(crate) struct MoveTask {
    handle: String,
    source: String,
    /// `None`: where each message came from.
    destination: Option<String>,
    /// As it was asked for.
    rate: Option<u32>,
    to_move: usize,
    moved: usize,
    status: Status,
    started: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Running,
    Completed,
    Cancelled,
    Failed(&'static str),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct StartMessageMoveTask {
    source_arn: String,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Started {
    pub(super) task_handle: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CancelMessageMoveTask {
    task_handle: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cancelled {
    approximate_number_of_messages_moved: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListMessageMoveTasks {
    source_arn: String,
    max_results: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tasks {
    results: Vec<Task>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    #[serde(skip_serializing_if = "Option::is_none")]
    task_handle: Option<String>,
    status: &'static str,
    source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_messages_per_second: Option<u32>,
    approximate_number_of_messages_moved: usize,
    approximate_number_of_messages_to_move: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'static str>,
    started_timestamp: u64,
}

/// Enters a task; [`drive`] does the moving.
pub(super) fn start(
    engine: &mut Engine,
    ctx: &Context,
    request: StartMessageMoveTask,
) -> Result<Started, AwsError> {
    let source = request.source_arn;
    check_queue(engine, ctx, &source, "SourceArn")?;
    let is_dead_letter_queue = engine.queues.values().any(|queue| {
        queue.attributes.redrive.as_ref().is_some_and(|redrive| redrive.target == source)
    });
    if !is_dead_letter_queue {
        return Err(AwsError::invalid_parameter_value(
            "Source queue must be configured as a Dead Letter Queue.",
        ));
    }
    if let Some(destination) = &request.destination_arn {
        check_queue(engine, ctx, destination, "DestinationArn")?;
        let fifo = |arn: &str| engine.queues.get(arn).map(|queue| queue.attributes.fifo);
        if *destination == source || fifo(destination) != fifo(&source) {
            return Err(AwsError::invalid_parameter_value(
                "Source and destination queues must be different and of the same type.",
            ));
        }
    }
    let rate = match request.max_number_of_messages_per_second {
        None => None,
        Some(rate) if (1..=i64::from(MAX_MOVES_PER_SECOND)).contains(&rate) => Some(rate as u32),
        Some(rate) => {
            let reason = "Must be between 1 and 500, if provided.";
            return Err(AwsError::invalid_value(rate, "MaxNumberOfMessagesPerSecond", reason));
        }
    };
    if engine.move_tasks.iter().any(|t| t.source == source && t.status == Status::Running) {
        return Err(AwsError::invalid_parameter_value(
            "There is already a task running. Only one active task is allowed for a source queue \
             arn at a given time.",
        ));
    }
    let document = format!("{{\"taskId\":\"{}\",\"sourceArn\":\"{source}\"}}", engine.uuid());
    let handle = aws_smithy_types::base64::encode(document);
    let now = Instant::now();
    let to_move = engine.queues.get_mut(&source).map_or(0, |queue| {
        queue.advance(now);
        queue.visible_count()
    });
    engine.move_tasks.push(MoveTask {
        handle: handle.clone(),
        source,
        destination: request.destination_arn,
        rate,
        to_move,
        moved: 0,
        status: Status::Running,
        started: now,
    });
    Ok(Started { task_handle: handle })
}

/// Moves message after message until the task is over or the simulator is gone.
pub(super) async fn drive(sim: Weak<Shared>, handle: String) {
    while let Some(sim) = sim.upgrade() {
        let Some(pause) = step(&mut sim.lock(), &handle) else { return };
        drop(sim);
        sleep(pause).await;
    }
}

/// Moves one message; how long to wait before the next, `None` if the task is over.
fn step(engine: &mut Engine, handle: &str) -> Option<Duration> {
    let index = engine.move_tasks.iter().position(|task| task.handle == handle)?;
    let task = &engine.move_tasks[index];
    if task.status != Status::Running {
        return None;
    }
    let rate = task.rate.unwrap_or(MAX_MOVES_PER_SECOND);
    let outcome = if task.moved < task.to_move { move_one(engine, index) } else { Ok(false) };
    let task = &mut engine.move_tasks[index];
    match outcome {
        Ok(true) => {
            task.moved += 1;
            engine.note_change();
            Some(Duration::from_secs(1) / rate)
        }
        Ok(false) => {
            task.status = Status::Completed;
            None
        }
        Err(reason) => {
            task.status = Status::Failed(reason);
            None
        }
    }
}

/// Moves the oldest visible message, if there is one; the reason why it cannot be.
fn move_one(engine: &mut Engine, index: usize) -> Result<bool, &'static str> {
    const GONE: &str = "AWS.SimpleQueueService.NonExistentQueue";
    let now = Instant::now();
    let (id, new_key) = (engine.uuid(), engine.next_serial());
    let task = &engine.move_tasks[index];
    let source = engine.queues.get_mut(&task.source).ok_or(GONE)?;
    source.advance(now);
    let Some(key): Option<Key> = source.oldest_visible() else { return Ok(false) };
    let origin = source.message(key).and_then(|message| message.dead_letter_source.clone());
    let destination =
        task.destination.clone().or(origin).ok_or("CouldNotDetermineMessageSource")?;
    if !engine.queues.contains_key(&destination) {
        return Err(GONE);
    }
    let message = engine.queues.get_mut(&task.source).and_then(|source| source.remove(key));
    if let (Some(message), Some(queue)) = (message, engine.queues.get_mut(&destination)) {
        let moved = Message {
            id,
            sequence: queue.attributes.fifo.then(|| sequence_number(new_key)),
            sent: now,
            first_received: None,
            last_received: None,
            receives: 0,
            receives_here: 0,
            dead_letter_source: None,
            state: State::Visible,
            receipt: 0,
            ..message
        };
        queue.insert(new_key, moved);
    }
    Ok(true)
}

pub(super) fn cancel(
    engine: &mut Engine,
    _: &Context,
    request: CancelMessageMoveTask,
) -> Result<Cancelled, AwsError> {
    let handle = request.task_handle;
    let Some(task) = engine.move_tasks.iter_mut().find(|task| task.handle == handle) else {
        let document = aws_smithy_types::base64::decode(&handle).unwrap_or_default();
        let parsed = serde_json::from_slice::<serde_json::Value>(&document);
        return Err(if parsed.is_ok_and(|handle| handle.get("taskId").is_some()) {
            not_found("Task does not exist.")
        } else {
            AwsError::invalid_parameter_value("Value for parameter TaskHandle is invalid.")
        });
    };
    if task.status != Status::Running {
        return Err(AwsError::sender(
            "AWS.SimpleQueueService.UnsupportedOperation",
            "Only a running task can be cancelled.",
        ));
    }
    task.status = Status::Cancelled;
    Ok(Cancelled { approximate_number_of_messages_moved: task.moved })
}

pub(super) fn list(
    engine: &mut Engine,
    ctx: &Context,
    request: ListMessageMoveTasks,
) -> Result<Tasks, AwsError> {
    check_queue(engine, ctx, &request.source_arn, "SourceArn")?;
    let max = match request.max_results {
        None => 1,
        Some(max @ 1..=10) => max as usize,
        Some(max) => {
            let reason = "MaxResults must be an integer between 1 and 10.";
            return Err(AwsError::invalid_value(max, "MaxResults", reason));
        }
    };
    let newest_first = engine.move_tasks.iter().rev();
    let tasks = newest_first.filter(|task| task.source == request.source_arn).take(max);
    Ok(Tasks { results: tasks.map(|task| describe(engine, task)).collect() })
}

fn describe(engine: &Engine, task: &MoveTask) -> Task {
    let running = task.status == Status::Running;
    Task {
        task_handle: running.then(|| task.handle.clone()),
        status: match task.status {
            Status::Running => "RUNNING",
            Status::Completed => "COMPLETED",
            Status::Cancelled => "CANCELLED",
            Status::Failed(_) => "FAILED",
        },
        source_arn: task.source.clone(),
        destination_arn: task.destination.clone(),
        max_number_of_messages_per_second: task.rate,
        approximate_number_of_messages_moved: task.moved,
        approximate_number_of_messages_to_move: task.to_move,
        failure_reason: match task.status {
            Status::Failed(reason) => Some(reason),
            _ => None,
        },
        started_timestamp: engine.clock.unix_millis(task.started),
    }
}

/// Checks that an ARN names a queue of the caller's.
fn check_queue(engine: &Engine, ctx: &Context, arn: &str, parameter: &str) -> Result<(), AwsError> {
    let Some(parsed) = Arn::parse(arn).filter(|arn| arn.service == "sqs") else {
        return Err(AwsError::invalid_parameter_value(format!(
            "You must use this format to specify the {parameter}: \
             arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )));
    };
    let own = parsed.account == ctx.caller.account && parsed.region == ctx.caller.region;
    if own && engine.queues.contains_key(arn) {
        return Ok(());
    }
    Err(not_found(&format!(
        "The resource that you specified for the {parameter} parameter doesn't exist."
    )))
}

fn not_found(message: &str) -> AwsError {
    AwsError::sender("ResourceNotFoundException", message).with_status(404)
}
