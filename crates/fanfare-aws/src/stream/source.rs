//! Where the records of a shard come from: it is read, or it sends.

use aws_sdk_kinesis::types::{ChildShard, Record, ShardIteratorType};
use aws_smithy_types::DateTime;
use fanfare_core::Checkpoint;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::{
    StreamWorkerError,
    fan_out::FanOut,
    leases::{self, ShardInfo},
    reader::Reader,
    shards::Shards,
    window::Room,
};
use crate::failure::{Class, Failure};

/// By so much a worker's clock may be ahead of AWS's, which takes no time that is still to come.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// One of the two.
#[derive(Debug)]
pub(super) enum Source {
    Reader(Reader),
    FanOut(FanOut),
}

/// What came of a shard.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    /// Nothing comes behind these; with what the shard was split or merged into.
    pub(super) end: Option<Vec<ShardInfo>>,
}

/// Why nothing will ever come.
#[derive(Debug)]
pub(super) enum SourceError {
    /// The shard is gone from the stream, with all that was in it.
    Gone,
    /// Nothing can be read, by any worker.
    Fatal(StreamWorkerError),
}

/// What a failure means for who wants the records of a shard.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was too much, or too soon.
    Throttled(Failure),
    /// It may work later.
    Passing(Failure),
    Lasting(SourceError),
}

/// What a failure means; `from` is the position that was asked for, if one was.
pub(super) async fn trouble(
    shards: &Shards,
    shard: &str,
    failure: Failure,
    from: Option<&Checkpoint>,
) -> Trouble {
    let stream = shards.stream();
    let fatal = |error| Trouble::Lasting(SourceError::Fatal(error));
    match (failure.class, from) {
        (Class::Transient, _) => match &*failure.code {
            "ProvisionedThroughputExceededException" | "LimitExceededException" => {
                Trouble::Throttled(failure)
            }
            _ => Trouble::Passing(failure),
        },
        // The stream, its shard, or what else was named? Its text would be no ground to stand on.
        (Class::NotFound, _) => match leases::Shards::list(shards).await {
            Ok(all) if all.iter().all(|known| known.id != shard) => {
                Trouble::Lasting(SourceError::Gone)
            }
            Err(other) if other.class != Class::Transient => {
                fatal(StreamWorkerError::lasting(&other, stream))
            }
            Ok(_) | Err(_) => Trouble::Passing(failure),
        },
        (Class::Refused, Some(Checkpoint::At(time)))
            if stream.aws.now().duration_since(*time) < AHEAD =>
        {
            Trouble::Passing(failure)
        }
        (Class::Refused, Some(Checkpoint::After { sequence_number, .. })) => {
            fatal(StreamWorkerError::Checkpoint {
                stream: stream.name().into(),
                consumer: stream.group.consumer.to_string(),
                shard: shard.into(),
                sequence_number: sequence_number.clone(),
                reason: failure.to_string(),
            })
        }
        _ => fatal(StreamWorkerError::lasting(&failure, stream)),
    }
}

impl Source {
    /// When the next fetch may begin.
    pub(super) fn due(&self) -> Instant {
        match self {
            Source::Reader(reader) => reader.due(),
            Source::FanOut(fan_out) => fan_out.due(),
        }
    }

    /// What comes next, as far as there is room for it. What passes by itself is an empty read, and
    /// the next is due later.
    pub(super) async fn fetch(&mut self, room: Room) -> Result<Read, SourceError> {
        match self {
            Source::Reader(reader) => reader.fetch(room).await,
            Source::FanOut(fan_out) => fan_out.fetch().await,
        }
    }

    /// Notes how many events a record held.
    pub(super) fn opened(&mut self, events: usize) {
        if let Source::Reader(reader) = self {
            reader.opened(events);
        }
    }
}

/// Where to go on after these records.
pub(super) fn after(records: &[Record]) -> Option<Checkpoint> {
    let sequence_number = records.last()?.sequence_number.clone();
    Some(Checkpoint::After { sequence_number, sub_sequence_number: None })
}

/// Leaves out what is not behind the position: LocalStack gives a record again and again that was put in
/// the second in which its shard was made, for as long as it is the shard's last.
pub(super) fn unread(records: &mut Vec<Record>, position: &Checkpoint) {
    let Checkpoint::After { sequence_number, sub_sequence_number } = position else { return };
    let read = numeric(sequence_number);
    match sub_sequence_number {
        // The rest of that record is wanted.
        Some(_) => records.retain(|record| numeric(&record.sequence_number) >= read),
        None => records.retain(|record| numeric(&record.sequence_number) > read),
    }
}

/// Sequence numbers, which are decimal and of any length, compare by this.
fn numeric(sequence_number: &str) -> (usize, &str) {
    let digits = sequence_number.trim_start_matches('0');
    (digits.len(), digits)
}

/// The children of a shard, whose hash ranges are noted.
pub(super) fn children(shards: &Shards, children: Vec<ChildShard>) -> Vec<ShardInfo> {
    children
        .into_iter()
        .map(|child| {
            shards.note(&child.shard_id, child.hash_key_range.as_ref());
            ShardInfo { id: child.shard_id, parents: child.parent_shards }
        })
        .collect()
}

/// A position as AWS takes it: how it is meant, the sequence number and the time.
pub(super) fn starting(
    position: &Checkpoint,
) -> (ShardIteratorType, Option<String>, Option<DateTime>) {
    match position {
        Checkpoint::At(time) => {
            let time = DateTime::from_millis(time.as_millisecond());
            (ShardIteratorType::AtTimestamp, None, Some(time))
        }
        Checkpoint::After { sequence_number, sub_sequence_number } => {
            let kind = match sub_sequence_number {
                // The rest of this record is wanted.
                Some(_) => ShardIteratorType::AtSequenceNumber,
                None => ShardIteratorType::AfterSequenceNumber,
            };
            (kind, Some(sequence_number.clone()), None)
        }
        _ => (ShardIteratorType::TrimHorizon, None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(numbers: &[&str], position: &Checkpoint) -> Vec<String> {
        let record = |number: &&str| {
            let record = Record::builder().sequence_number(*number).partition_key("k");
            record.data(aws_smithy_types::Blob::new("")).build().expect("complete")
        };
        let mut records = numbers.iter().map(record).collect();
        unread(&mut records, position);
        records.into_iter().map(|record| record.sequence_number).collect()
    }

    #[test]
    fn what_was_read_is_not_taken_again_and_the_rest_of_a_record_is() {
        let after = |sub_sequence_number| Checkpoint::After {
            sequence_number: "99".into(),
            sub_sequence_number,
        };
        let numbers = ["98", "99", "100", "101"];
        assert_eq!(left(&numbers, &after(None)), ["100", "101"]);
        assert_eq!(left(&numbers, &after(Some(3))), ["99", "100", "101"]);
        assert_eq!(left(&numbers, &Checkpoint::Oldest), numbers);
    }
}
