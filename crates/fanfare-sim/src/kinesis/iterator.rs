//! Shard iterators: a place in a shard, good for five minutes.

use serde::{Deserialize, Serialize};

use super::sequence::SequenceNumber;
use super::shard::{self, Shard};
use super::{Stream, Target, errors};
use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::limits::ITERATOR_LIFETIME;
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GetShardIterator {
    #[serde(flatten)]
    stream: Target,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardIterator {
    shard_iterator: String,
}

/// A shard iterator taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Iterator {
    /// The stream's serial, so that one of the same name is told apart.
    pub(super) stream: u64,
    pub(super) shard: u32,
    /// Of the next record to read.
    pub(super) index: u64,
    /// Milliseconds since 1970.
    pub(super) created: u64,
}

impl Iterator {
    /// The opaque text that callers get.
    pub(super) fn encode(self) -> String {
        let fields = [self.stream, u64::from(self.shard), self.index, self.created];
        let mut bytes: Vec<u8> = fields.into_iter().flat_map(u64::to_be_bytes).collect();
        bytes.extend(seal(fields).to_be_bytes());
        aws_smithy_types::base64::encode(bytes)
    }

    /// `None` if the text is no iterator of this simulator.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let bytes = aws_smithy_types::base64::decode(text).ok()?;
        let (fields, rest) = bytes.as_chunks::<8>();
        let fields: [u64; 5] = fields
            .iter()
            .map(|field| u64::from_be_bytes(*field))
            .collect::<Vec<_>>()
            .try_into()
            .ok()?;
        let [stream, shard, index, created, sealed] = fields;
        let legal = rest.is_empty() && sealed == seal([stream, shard, index, created]);
        let shard = u32::try_from(shard).ok()?;
        legal.then_some(Self { stream, shard, index, created })
    }

    pub(super) fn is_expired(self, now: Now) -> bool {
        now.millis.saturating_sub(self.created) > ITERATOR_LIFETIME.as_millis() as u64
    }
}

/// Spots iterators that were made up or damaged; no secret.
fn seal(fields: [u64; 4]) -> u64 {
    fields.into_iter().fold(0x17E4_A704, |seal: u64, field| {
        (seal ^ field).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    })
}

pub(super) fn get_shard_iterator(
    engine: &mut Engine,
    ctx: &Context,
    request: GetShardIterator,
) -> Result<ShardIterator, AwsError> {
    let id = request.shard_id.as_deref().ok_or_else(|| errors::missing("shardId"))?;
    errors::check_name(id, "shardId")?;
    let kind = request.shard_iterator_type.as_deref();
    let position = Position {
        kind: kind.ok_or_else(|| errors::missing("shardIteratorType"))?,
        member: "shardIteratorType",
        operation: "GetShardIterator",
        number: request.starting_sequence_number.as_deref(),
        timestamp: request.timestamp,
    };
    position.check()?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    let number = shard::number(id).ok_or_else(|| errors::no_such_shard(stream, id))?;
    let shard = open_shard(stream, number)?;
    let index = position.find(stream, shard, now)?;
    let iterator = Iterator { stream: stream.serial, shard: number, index, created: now.millis };
    let allowed =
        stream.shards.get_mut(&number).is_some_and(|shard| shard.try_iterator(now.instant));
    if !allowed {
        return Err(errors::rate_exceeded(&stream.name, &stream.account, number));
    }
    Ok(ShardIterator { shard_iterator: iterator.encode() })
}

/// A shard that can be read.
pub(super) fn open_shard(stream: &Stream, number: u32) -> Result<&Shard, AwsError> {
    let shard = stream.shards.get(&number).filter(|_| stream.is_usable());
    shard.ok_or_else(|| errors::shard_does_not_exist(stream, number))
}

/// Where reading is to start.
#[derive(Debug)]
pub(super) struct Position<'r> {
    pub(super) kind: &'r str,
    /// What `kind` is called in the request.
    pub(super) member: &'static str,
    pub(super) operation: &'static str,
    pub(super) number: Option<&'r str>,
    /// Seconds since 1970.
    pub(super) timestamp: Option<f64>,
}

const KINDS: &str =
    "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]";

impl Position<'_> {
    /// Checks what can be checked without looking at the stream.
    pub(super) fn check(&self) -> Result<(), AwsError> {
        if let Some(number) = self.number {
            errors::check_sequence_number(number, "startingSequenceNumber")?;
        }
        let by_number = match self.kind {
            "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" => true,
            "TRIM_HORIZON" | "LATEST" => false,
            "AT_TIMESTAMP" if self.timestamp.is_none() => {
                return Err(errors::invalid_argument(
                    "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. \
                     Current request has no timestamp parameter.",
                ));
            }
            "AT_TIMESTAMP" => return Ok(()),
            kind => {
                let must = format!("satisfy enum value set: {KINDS}");
                return Err(errors::constraint(format_args!("'{kind}'"), self.member, must));
            }
        };
        if by_number == self.number.is_some() {
            return Ok(());
        }
        let has = if by_number { "no" } else { "also a" };
        Err(errors::invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
             Request specified {} and {has} StartingSequenceNumber.",
            self.kind
        )))
    }

    /// The index of the first record to read.
    pub(super) fn find(&self, stream: &Stream, shard: &Shard, now: Now) -> Result<u64, AwsError> {
        match (self.kind, self.number, self.timestamp) {
            ("TRIM_HORIZON", ..) => Ok(shard.oldest()),
            ("AT_TIMESTAMP", _, Some(timestamp)) => {
                // As AWS reads it: to the millisecond.
                let millis = (timestamp * 1000.0).round() as u64;
                if millis > now.millis {
                    return Err(errors::invalid_argument(format!(
                        "The timestampInMillis parameter cannot be greater than the \
                         currentTimestampInMillis. timestampInMillis: {millis}, \
                         currentTimestampInMillis: {}",
                        now.millis
                    )));
                }
                Ok(shard.at_time(millis))
            }
            (kind, Some(text), _) => {
                let Stream { name, account, .. } = stream;
                let id = shard::id(shard.number);
                let invalid = |why: &str| {
                    errors::invalid_argument(format!(
                        "StartingSequenceNumber {text} used in {} on shard {id} in stream {name} \
                         under account {account} is invalid{why}.",
                        self.operation
                    ))
                };
                let number = SequenceNumber::parse(text).ok_or_else(|| invalid(""))?;
                if number.shard != shard.number {
                    return Err(errors::invalid_argument(format!(
                        "Invalid StartingSequenceNumber. It encodes {}, while it was used in a \
                         call to a shard with {id}",
                        shard::id(number.shard)
                    )));
                }
                let inclusive = kind == "AT_SEQUENCE_NUMBER";
                let foreign = " because it did not come from this stream";
                shard.at_sequence(number, inclusive).ok_or_else(|| invalid(foreign))
            }
            _ => Ok(shard.tip()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_is_read_as_it_was_written_and_no_other_is() {
        let iterator = Iterator { stream: 7, shard: 12, index: 99, created: 1_767_225_600_000 };
        let text = iterator.encode();
        assert_eq!(Iterator::decode(&text), Some(iterator));
        let damaged = format!("B{}", &text[1..]);
        for text in ["", "AAAA", "no iterator", &text[..40], &damaged] {
            assert_eq!(Iterator::decode(text), None, "{text}");
        }
    }
}
