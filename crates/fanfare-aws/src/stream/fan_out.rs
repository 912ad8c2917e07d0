//! Enhanced fan-out: a shard sends its records to a consumer that is registered with the stream.

use std::time::Duration;

use aws_sdk_kinesis::{
    primitives::event_stream::EventReceiver,
    types::{
        ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError,
    },
};
use fanfare_core::{Backoff, Checkpoint};
use tokio::time::{Instant, timeout};

use super::{
    Stream,
    shards::Shards,
    source::{Read, SourceError, Trouble, after, children, date_time, trouble},
};
use crate::failure::Failure;

/// A shard can be subscribed to again this long after it was: before, AWS answers that it is in use.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
const AGAIN: Duration = Duration::from_secs(5);

/// AWS sends something every few seconds, be it without records; a connection on which nothing came
/// for this long is taken for broken.
const SILENCE: Duration = Duration::from_secs(30);

/// Between failed subscriptions.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

type Events = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

/// A subscription to one shard from a position on, made anew whenever it ends.
#[derive(Debug)]
pub(super) struct FanOut {
    stream: Stream,
    shards: Shards,
    consumer_arn: String,
    shard: String,
    /// Everything before this has come.
    position: Checkpoint,
    events: Option<Events>,
    due: Instant,
    failures: u32,
}

impl FanOut {
    pub(super) fn new(
        stream: Stream,
        shards: Shards,
        consumer_arn: String,
        shard: String,
        position: Checkpoint,
    ) -> Self {
        let (events, due, failures) = (None, Instant::now(), 0);
        FanOut { stream, shards, consumer_arn, shard, position, events, due, failures }
    }

    /// When the next fetch may begin.
    pub(super) fn due(&self) -> Instant {
        if self.events.is_some() { Instant::now() } else { self.due }
    }

    /// What is sent next.
    pub(super) async fn fetch(&mut self) -> Result<Read, SourceError> {
        let received = match &mut self.events {
            None => return self.subscribe().await,
            Some(events) => timeout(SILENCE, events.recv()).await,
        };
        match received {
            Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => {
                self.failures = 0;
                Ok(self.received(event))
            }
            // Something that this version of the SDK does not know.
            Ok(Ok(Some(_))) => Ok(Read::default()),
            Ok(Ok(None)) | Err(_) => {
                tracing::debug!(stream = self.stream.name(), shard = %self.shard, "subscribing again");
                self.events = None;
                Ok(Read::default())
            }
            Ok(Err(error)) => {
                self.events = None;
                self.failed(Failure::of_event(&error), false)
            }
        }
    }

    async fn subscribe(&mut self) -> Result<Read, SourceError> {
        let from = StartingPosition::builder();
        let from = match &self.position {
            Checkpoint::At(time) => {
                from.r#type(ShardIteratorType::AtTimestamp).timestamp(date_time(*time))
            }
            Checkpoint::After { sequence_number, sub_sequence_number } => {
                let kind = match sub_sequence_number {
                    Some(_) => ShardIteratorType::AtSequenceNumber,
                    None => ShardIteratorType::AfterSequenceNumber,
                };
                from.r#type(kind).sequence_number(sequence_number)
            }
            _ => from.r#type(ShardIteratorType::TrimHorizon),
        };
        let request = self.stream.aws.kinesis().subscribe_to_shard();
        let request = request.consumer_arn(&self.consumer_arn).shard_id(&self.shard);
        let sent = match from.build() {
            Ok(from) => request.starting_position(from).send().await,
            Err(error) => {
                return self.failed(Failure::transient("no request", &error.to_string()), true);
            }
        };
        match sent {
            Ok(answer) => {
                self.events = Some(answer.event_stream);
                self.due = Instant::now() + AGAIN;
                Ok(Read::default())
            }
            Err(error) => self.failed(Failure::of(&error), true),
        }
    }

    fn received(&mut self, event: SubscribeToShardEvent) -> Read {
        let ended = event.child_shards.is_some() || event.continuation_sequence_number.is_empty();
        // It tells of progress also where nothing was written.
        if !event.continuation_sequence_number.is_empty() {
            let sequence_number = event.continuation_sequence_number;
            self.position = Checkpoint::After { sequence_number, sub_sequence_number: None };
        } else if let Some(position) = after(&event.records) {
            self.position = position;
        }
        let end = ended.then(|| children(&self.shards, event.child_shards.unwrap_or_default()));
        Read { records: event.records, end }
    }

    fn failed(&mut self, failure: Failure, subscribing: bool) -> Result<Read, SourceError> {
        let from = subscribing.then_some(&self.position);
        match trouble(&self.stream, &self.shard, failure, from) {
            Trouble::Throttled(failure) | Trouble::Passing(failure) => {
                let (stream, shard) = (self.stream.name(), &*self.shard);
                self.failures += 1;
                // The subscription of the last holder of the shard ends when a new one is made.
                let in_use = failure.code == "ResourceInUseException";
                let pause = if in_use { AGAIN } else { BACKOFF.delay(self.failures) };
                self.due = self.due.max(Instant::now() + pause);
                if in_use {
                    tracing::debug!(stream, shard, %failure, ?pause, "the shard is subscribed to");
                } else {
                    tracing::warn!(stream, shard, %failure, ?pause, "the subscription failed");
                }
                Ok(Read::default())
            }
            Trouble::Lasting(error) => Err(error),
        }
    }
}
