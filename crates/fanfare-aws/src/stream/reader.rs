//! Reading a shard: an iterator, and one read after another with it.

use std::time::Duration;

use fanfare_core::{Checkpoint, telemetry::OperationType};
use tokio::time::Instant;

use super::{
    pace::Pace,
    shards::Shards,
    source::{Read, SourceError, Trouble, after, children, starting, trouble, unread},
    window::Room,
};
use crate::failure::Failure;

/// An iterator expires 5 minutes after it was given; one that is older than this is got anew.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const FRESH: Duration = Duration::from_secs(240);

/// Reads one shard from a position on.
#[derive(Debug)]
pub(super) struct Reader {
    shards: Shards,
    shard: String,
    /// Everything before this has been read.
    position: Checkpoint,
    iterator: Option<(String, Instant)>,
    pace: Pace,
}

impl Reader {
    pub(super) fn new(shards: Shards, shard: String, position: Checkpoint) -> Self {
        let pace = Pace::new(Instant::now());
        Reader { shards, shard, position, iterator: None, pace }
    }

    /// When the next read may be sent.
    pub(super) fn due(&self) -> Instant {
        self.pace.due()
    }

    /// Notes how many events a record held.
    pub(super) fn opened(&mut self, events: usize) {
        self.pace.opened(events);
    }

    /// Reads once.
    pub(super) async fn fetch(&mut self, room: Room) -> Result<Read, SourceError> {
        let sent = Instant::now();
        let iterator = match &self.iterator {
            Some((iterator, since)) if since.elapsed() < FRESH => iterator.clone(),
            _ => match self.iterator().await {
                Ok(iterator) => self.iterator.insert((iterator, sent)).0.clone(),
                Err(failure) => {
                    let from = Some(&self.position);
                    let trouble = trouble(&self.shards, &self.shard, failure, from).await;
                    return self.failed(trouble);
                }
            },
        };
        let request = self.shards.stream().aws.kinesis().get_records();
        let request = request.shard_iterator(iterator).limit(self.pace.limit(room));
        let operation = self.shards.stream().channel.begin(OperationType::Receive, "receive");
        let answer = operation.run(request.send()).await.map_err(|error| Failure::of(&error));
        let records = answer.as_ref().map_or(0, |answer| answer.records.len());
        operation.end(records, answer.as_ref().err().map(|failure| &*failure.code));
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                if failure.code == "ExpiredIteratorException" {
                    self.iterator = None;
                    self.pace.again(sent);
                    return Ok(Read::default());
                }
                let trouble = trouble(&self.shards, &self.shard, failure, None).await;
                return self.failed(trouble);
            }
        };
        unread(&mut answer.records, &self.position);
        let bytes = answer.records.iter().map(|record| record.data.as_ref().len()).sum();
        let behind = answer.millis_behind_latest.unwrap_or(0) > 0;
        self.pace.read(sent, answer.records.len(), bytes, behind);
        if let Some(position) = after(&answer.records) {
            self.position = position;
        }
        let end = answer.next_shard_iterator.is_none();
        self.iterator = answer.next_shard_iterator.map(|iterator| (iterator, sent));
        let end = end.then(|| children(&self.shards, answer.child_shards.unwrap_or_default()));
        Ok(Read { records: answer.records, end })
    }

    /// An iterator from the position on.
    async fn iterator(&self) -> Result<String, Failure> {
        let request = self.shards.stream().aws.kinesis().get_shard_iterator();
        let request = request.stream_name(self.shards.stream().name()).shard_id(&self.shard);
        let (kind, sequence_number, timestamp) = starting(&self.position);
        let request = request
            .shard_iterator_type(kind)
            .set_starting_sequence_number(sequence_number)
            .set_timestamp(timestamp);
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        answer.shard_iterator.ok_or_else(|| Failure::transient("no iterator", ""))
    }

    fn failed(&mut self, trouble: Trouble) -> Result<Read, SourceError> {
        let (stream, shard, now) = (self.shards.stream().name(), &*self.shard, Instant::now());
        match trouble {
            Trouble::Throttled(failure) => {
                if self.pace.throttled(now) {
                    tracing::warn!(stream, shard, %failure, "reading is throttled: others read this shard too, or it gives all it can");
                }
            }
            Trouble::Passing(failure) => {
                let pause = self.pace.failed(now);
                tracing::warn!(stream, shard, %failure, ?pause, "reading failed");
            }
            Trouble::Lasting(error) => return Err(error),
        }
        Ok(Read::default())
    }
}
