//! Reading a shard: an iterator, and one read after another with it.

use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use fanfare_core::Checkpoint;
use tokio::time::Instant;

use super::{
    Stream,
    pace::Pace,
    shards::Shards,
    source::{Read, SourceError, Trouble, after, children, date_time, trouble},
    window::Room,
};
use crate::failure::Failure;

/// An iterator expires 5 minutes after it was given; one that is older than this is got anew.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const FRESH: Duration = Duration::from_secs(240);

/// Reads one shard from a position on.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Stream,
    shards: Shards,
    shard: String,
    /// Everything before this has been read.
    position: Checkpoint,
    iterator: Option<(String, Instant)>,
    pace: Pace,
}

impl Reader {
    pub(super) fn new(stream: Stream, shards: Shards, shard: String, position: Checkpoint) -> Self {
        let pace = Pace::new(Instant::now());
        Reader { stream, shards, shard, position, iterator: None, pace }
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
                    return self.failed(trouble(
                        &self.stream,
                        &self.shard,
                        failure,
                        Some(&self.position),
                    ));
                }
            },
        };
        let request = self.stream.aws.kinesis().get_records();
        let request = request.shard_iterator(iterator).limit(self.pace.limit(room));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = Failure::of(&error);
                if failure.code == "ExpiredIteratorException" {
                    self.iterator = None;
                    self.pace.again(sent);
                    return Ok(Read::default());
                }
                return self.failed(trouble(&self.stream, &self.shard, failure, None));
            }
        };
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
        let request = self.stream.aws.kinesis().get_shard_iterator();
        let request = request.stream_name(self.stream.name()).shard_id(&self.shard);
        let request = match &self.position {
            Checkpoint::At(time) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(date_time(*time)),
            Checkpoint::After { sequence_number, sub_sequence_number } => {
                let from = match sub_sequence_number {
                    Some(_) => ShardIteratorType::AtSequenceNumber,
                    None => ShardIteratorType::AfterSequenceNumber,
                };
                request.shard_iterator_type(from).starting_sequence_number(sequence_number)
            }
            _ => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        answer.shard_iterator.ok_or_else(|| Failure::transient("no iterator", ""))
    }

    fn failed(&mut self, trouble: Trouble) -> Result<Read, SourceError> {
        let (stream, shard, now) = (self.stream.name(), &*self.shard, Instant::now());
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
