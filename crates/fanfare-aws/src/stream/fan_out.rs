//! Enhanced fan-out: a shard sends its records to a consumer that is registered with the stream.

use std::time::Duration;

use aws_sdk_kinesis::{
    primitives::event_stream::EventReceiver,
    types::{
        StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError,
    },
};
use fanfare_core::{Backoff, Checkpoint};
use tokio::time::{Instant, timeout};

use super::{
    StreamWorkerError,
    shards::Shards,
    source::{Read, SourceError, Trouble, after, children, starting, trouble},
};
use crate::failure::{Class, Failure};

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
        shards: Shards,
        consumer_arn: String,
        shard: String,
        position: Checkpoint,
    ) -> Self {
        let (events, due, failures) = (None, Instant::now(), 0);
        FanOut { shards, consumer_arn, shard, position, events, due, failures }
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
                tracing::debug!(stream = self.shards.stream().name(), shard = %self.shard, "subscribing again");
                self.events = None;
                Ok(Read::default())
            }
            Ok(Err(error)) => {
                self.events = None;
                self.failed(Failure::of_event(&error), false).await
            }
        }
    }

    async fn subscribe(&mut self) -> Result<Read, SourceError> {
        let (kind, sequence_number, timestamp) = starting(&self.position);
        let from = StartingPosition::builder()
            .r#type(kind)
            .set_sequence_number(sequence_number)
            .set_timestamp(timestamp)
            .build();
        let request = self.shards.stream().aws.kinesis().subscribe_to_shard();
        let request = request.consumer_arn(&self.consumer_arn).shard_id(&self.shard);
        let sent = match from {
            Ok(from) => request.starting_position(from).send().await,
            Err(error) => return self.failed(Failure::unbuildable(error), true).await,
        };
        match sent {
            Ok(answer) => {
                self.events = Some(answer.event_stream);
                self.due = Instant::now() + AGAIN;
                Ok(Read::default())
            }
            Err(error) => self.failed(Failure::of(&error), true).await,
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

    async fn failed(&mut self, failure: Failure, subscribing: bool) -> Result<Read, SourceError> {
        let from = subscribing.then_some(&self.position);
        match trouble(&self.shards, &self.shard, failure, from).await {
            // Stream and shard are there, so it is the consumer that is not.
            Trouble::Passing(failure) if failure.class == Class::NotFound && subscribing => {
                let stream = self.shards.stream();
                Err(SourceError::Fatal(StreamWorkerError::NoConsumer {
                    stream: stream.name().into(),
                    consumer_arn: self.consumer_arn.clone(),
                }))
            }
            Trouble::Throttled(failure) | Trouble::Passing(failure) => {
                let (stream, shard) = (self.shards.stream().name(), &*self.shard);
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
