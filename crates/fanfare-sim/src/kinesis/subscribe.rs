//! SubscribeToShard: enhanced fan-out. A task looks at the shard and sends what it finds.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::consumers::{Status, Subscription, no_such_consumer, split_arn};
use super::get::{Batch, ChildShard, Shown, children};
use super::iterator::{Position, open_shard};
use super::pace::share;
use super::{Stream, errors, open, shard, stream_name};
use crate::engine::Engine;
use crate::engine::limits::{
    MAX_READ_RECORDS, SUBSCRIPTION_BYTES_PER_SECOND, SUBSCRIPTION_GUARD, SUBSCRIPTION_LIFETIME,
};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::{Body, Context, events};

/// AWS sends an event at least this often, without records if there are none.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Data plus partition keys of one event. AWS says nothing; this keeps a frame small.
const MAX_EVENT_BYTES: usize = 1_048_576;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SubscribeToShard {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    starting_position: Option<StartingPosition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartingPosition {
    r#type: Option<String>,
    sequence_number: Option<String>,
    /// Seconds since 1970.
    timestamp: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SubscribeToShardEvent {
    records: Vec<Shown>,
    /// Absent at the shard's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

/// A subscription that goes on.
#[derive(Debug)]
struct Going {
    id: u64,
    stream_arn: String,
    consumer_arn: String,
    consumer: String,
    shard: u32,
    /// Of the next record to send.
    index: u64,
    ends: Instant,
    /// When an event has to be sent, be there records or not.
    due: Instant,
}

/// What a look at the shard comes to.
enum Look {
    /// To be sent, and when the next may follow; the last one if the shard is at its end.
    Event { event: SubscribeToShardEvent, next: Instant, last: bool },
    /// Nothing there: wait for the stream's wake-up, or until then.
    Wait { woken: OwnedNotified, until: Instant },
}

pub(super) fn subscribe_to_shard(
    sim: &Arc<Shared>,
    ctx: &Context,
    request: SubscribeToShard,
) -> Result<Body, AwsError> {
    let going = begin(&mut sim.lock(), ctx, &request)?;
    let (sender, frames) = mpsc::channel(1);
    tokio::spawn(drive(Arc::downgrade(sim), Arc::clone(&sim.drain), going, sender));
    Ok(Body::events(frames))
}

fn begin(
    engine: &mut Engine,
    ctx: &Context,
    request: &SubscribeToShard,
) -> Result<Going, AwsError> {
    let arn = request.consumer_arn.as_deref().ok_or_else(|| errors::missing("consumerARN"))?;
    let id = request.shard_id.as_deref().ok_or_else(|| errors::missing("shardId"))?;
    errors::check_name(id, "shardId")?;
    let position = request.starting_position.as_ref();
    let position = position.ok_or_else(|| errors::missing("startingPosition"))?;
    let kind = position.r#type.as_deref();
    let position = Position {
        kind: kind.ok_or_else(|| errors::missing("startingPosition.type"))?,
        member: "startingPosition.type",
        operation: "SubscribeToShard",
        number: position.sequence_number.as_deref(),
        timestamp: position.timestamp,
    };
    position.check()?;
    let (stream_arn, name) = split_arn(arn)?;
    stream_name(stream_arn, ctx)?;
    let now = engine.clock.now();
    let subscription = Subscription { id: engine.next_serial(), since: now.instant };
    let stream = open(&mut engine.streams, stream_arn, now)?;
    let consumer = stream.consumers.get(name).filter(|consumer| consumer.arn == arn);
    let consumer = consumer.ok_or_else(|| no_such_consumer(name))?;
    let Stream { name: stream_name, account, .. } = &*stream;
    if !matches!(consumer.status, Status::Active) {
        return Err(errors::in_use(format!(
            "Consumer {name} with creation timestamp {} under stream: {stream_name}, account \
             {account} is not in ACTIVE status.",
            consumer.created / 1000
        )));
    }
    let number = shard::number(id).ok_or_else(|| errors::no_such_shard(stream, id))?;
    let index = position.find(stream, open_shard(stream, number)?, now)?;
    let earlier = consumer.subscriptions.get(&number);
    if earlier.is_some_and(|earlier| earlier.since + SUBSCRIPTION_GUARD > now.instant) {
        return Err(other_subscription(stream, number, name));
    }
    let going = Going {
        id: subscription.id,
        stream_arn: stream.arn.clone(),
        consumer_arn: arn.to_owned(),
        consumer: name.to_owned(),
        shard: number,
        index,
        ends: now.instant + SUBSCRIPTION_LIFETIME,
        due: now.instant + HEARTBEAT,
    };
    if let Some(consumer) = stream.consumers.get_mut(name) {
        consumer.subscriptions.insert(number, subscription);
    }
    // An earlier subscription learns that it was taken over.
    stream.wake.notify_waiters();
    Ok(going)
}

/// Sends until the subscription ends or nobody reads it.
async fn drive(
    sim: Weak<Shared>,
    drain: Arc<Notify>,
    mut going: Going,
    frames: mpsc::Sender<Bytes>,
) {
    let send_all = async {
        if send(&frames, events::initial_response()).await.is_none() {
            return;
        }
        while Instant::now() < going.ends {
            let look = match sim.upgrade() {
                Some(sim) => going.look(&mut sim.lock()),
                None => return,
            };
            match look {
                Ok(Look::Event { event, next, last }) => {
                    let json = serde_json::to_vec(&event).unwrap_or_default();
                    let frame = events::event("SubscribeToShardEvent", json.into());
                    if send(&frames, frame).await.is_none() || last {
                        return;
                    }
                    going.due = Instant::now() + HEARTBEAT;
                    sleep_until(next.min(going.ends)).await;
                }
                Ok(Look::Wait { woken, until }) => {
                    tokio::select! {
                        () = woken => {}
                        () = sleep_until(until.min(going.ends)) => {}
                    }
                }
                Err(error) => {
                    send(&frames, events::exception(&error)).await;
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = send_all => {}
        () = frames.closed() => {}
        () = drain.notified() => {}
    }
}

/// None if nobody reads, or there is no frame.
async fn send(frames: &mpsc::Sender<Bytes>, frame: Option<Bytes>) -> Option<()> {
    frames.send(frame?).await.ok()
}

impl Going {
    /// Finds what is to be sent next, and moves on behind it.
    fn look(&mut self, engine: &mut Engine) -> Result<Look, AwsError> {
        let now = engine.clock.now();
        let stream = open(&mut engine.streams, &self.stream_arn, now)?;
        let consumer = stream.consumers.get(&self.consumer);
        let consumer = consumer.filter(|consumer| consumer.arn == self.consumer_arn);
        let consumer = consumer.ok_or_else(|| no_such_consumer(&self.consumer))?;
        if consumer.subscriptions.get(&self.shard).is_none_or(|latest| latest.id != self.id) {
            return Err(other_subscription(stream, self.shard, &self.consumer));
        }
        let shard = open_shard(stream, self.shard)?;
        let batch = Batch::read(shard, self.index, MAX_READ_RECORDS as usize, MAX_EVENT_BYTES);
        if batch.records.is_empty() && !batch.at_end && now.instant < self.due {
            // Made under the lock, so that no arrival falls between the look and the wait.
            let woken = Arc::clone(&stream.wake).notified_owned();
            let until = stream.next_event().map_or(self.due, |event| event.min(self.due));
            return Ok(Look::Wait { woken, until });
        }
        self.index = batch.next;
        let continuation = shard.continuation(batch.next, now);
        let event = SubscribeToShardEvent {
            continuation_sequence_number: (!batch.at_end).then(|| continuation.to_string()),
            millis_behind_latest: batch.millis_behind(shard, now),
            child_shards: if batch.at_end { children(stream, shard) } else { Vec::new() },
            records: batch.records,
        };
        let next = now.instant + share(batch.size, SUBSCRIPTION_BYTES_PER_SECOND);
        Ok(Look::Event { event, next, last: batch.at_end })
    }
}

fn other_subscription(stream: &Stream, number: u32, consumer: &str) -> AwsError {
    let (Stream { name, account, .. }, id) = (stream, shard::id(number));
    errors::in_use(format!(
        "Another active subscription exists for this consumer: {account}:{name}:{id}:{consumer}"
    ))
}
