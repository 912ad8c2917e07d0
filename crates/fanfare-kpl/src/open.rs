//! Out of an aggregate.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use prost::Message;

use crate::{
    digest, hash_key,
    wire::{AggregatedRecord, DIGEST_BYTES, MAGIC, MARK, Record},
};

/// The data of a record of a stream, by what it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Opened {
    /// No aggregate: the data as it came.
    Plain(Bytes),
    /// Many user records.
    Aggregate(Aggregate),
}

/// Without the data: payloads stay out of logs.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opened::Plain(data) => write!(f, "Plain({} bytes)", data.len()),
            Opened::Aggregate(aggregate) => f.debug_tuple("Aggregate").field(aggregate).finish(),
        }
    }
}

/// What was in an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Whether it is marked as fanfare's own: its producer sends misplaced records again.
    pub marked: bool,
    /// The user records, in order. A record's index is its sub-sequence number.
    pub records: Vec<UserRecord>,
}

/// One record as its producer gave it to the library.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its place in the aggregate, from 0.
    pub sub_sequence: u64,
    /// Its partition key, shared by all that have it.
    pub partition_key: Arc<str>,
    /// Where it lies among the hash ranges of the shards: the explicit hash key that it was given,
    /// or else the hash of its partition key.
    pub hash_key: u128,
    /// Its data: a slice of the aggregate's.
    pub data: Bytes,
}

/// Without the data: payloads stay out of logs.
impl fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("sub_sequence", &self.sub_sequence)
            .field("partition_key", &self.partition_key)
            .field("hash_key", &self.hash_key)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// An aggregate arrived whole, as its MD5 fits, and is broken all the same: its producer made it so,
/// and no other try will read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// What is between magic and MD5 is no protocol buffer of the format.
    #[error("the aggregate cannot be decoded, its producer is at fault: {0}")]
    Undecodable(String),
    /// A record lacks a field that the format requires.
    #[error("record {record} of the aggregate has no {field}, its producer is at fault")]
    Incomplete {
        /// The record's place.
        record: usize,
        /// The field's name in the format.
        field: &'static str,
    },
    /// A record refers to a key that the aggregate does not have.
    #[error(
        "record {record} of the aggregate refers to entry {index} of the {table}, which has {entries}: its producer is at fault"
    )]
    NoSuchKey {
        /// The record's place.
        record: usize,
        /// The table's name in the format.
        table: &'static str,
        /// Where it refers to.
        index: u64,
        /// How many entries the table has.
        entries: usize,
    },
    /// An explicit hash key is not a decimal number of 128 bits.
    #[error(
        "explicit hash key {index} of the aggregate is no decimal number of 128 bits: its producer is at fault"
    )]
    NotAHashKey {
        /// Its place in the table.
        index: usize,
    },
}

/// Opens the data of a record of a stream.
///
/// Data without the magic or whose MD5 does not fit is no aggregate, as in the Kinesis Client
/// Library: anything may begin with four bytes. Time and memory are bounded by a small multiple of
/// the data's length, whatever it holds; the data of the user records is not copied.
///
/// # Errors
/// [`OpenError`] for an aggregate that arrived as it was sent, and is broken: no record of it can be
/// trusted.
pub fn open(data: Bytes) -> Result<Opened, OpenError> {
    let Some(protobuf) = protobuf(&data) else { return Ok(Opened::Plain(data)) };
    let aggregate = AggregatedRecord::decode(protobuf)
        .map_err(|error| OpenError::Undecodable(error.to_string()))?;
    // Each table entry is looked at once, however many records refer to it.
    let keys: Vec<(Arc<str>, u128)> = aggregate
        .partition_key_table
        .into_iter()
        .map(|key| (Arc::from(key.as_str()), hash_key(&key)))
        .collect();
    let hash_keys: Vec<u128> = aggregate
        .explicit_hash_key_table
        .iter()
        .enumerate()
        .map(|(index, text)| decimal(text).ok_or(OpenError::NotAHashKey { index }))
        .collect::<Result<_, _>>()?;
    let mut marked = false;
    let mut records = Vec::with_capacity(aggregate.records.len());
    for (place, record) in aggregate.records.into_iter().enumerate() {
        let record = Record::decode(record)
            .map_err(|error| OpenError::Undecodable(format!("record {place}: {error}")))?;
        let missing = |field| OpenError::Incomplete { record: place, field };
        let index = record.partition_key_index.ok_or(missing("partition_key_index"))?;
        let (partition_key, of_key) = entry(&keys, "partition_key_table", index, place)?;
        let hash_key = match record.explicit_hash_key_index {
            None => *of_key,
            Some(index) => *entry(&hash_keys, "explicit_hash_key_table", index, place)?,
        };
        marked |= place == 0 && record.tags.iter().any(|tag| tag.key.as_deref() == Some(MARK));
        records.push(UserRecord {
            sub_sequence: place as u64,
            partition_key: Arc::clone(partition_key),
            hash_key,
            data: record.data.ok_or(missing("data"))?,
        });
    }
    Ok(Opened::Aggregate(Aggregate { marked, records }))
}

/// What is between magic and MD5, if both are there and the sum fits.
fn protobuf(data: &Bytes) -> Option<Bytes> {
    let end = data.len().checked_sub(DIGEST_BYTES).filter(|end| *end > MAGIC.len())?;
    let fits = data.starts_with(&MAGIC) && digest(&data[MAGIC.len()..end]) == data[end..];
    fits.then(|| data.slice(MAGIC.len()..end))
}

fn entry<'a, T>(
    entries: &'a [T],
    table: &'static str,
    index: u64,
    record: usize,
) -> Result<&'a T, OpenError> {
    let found = usize::try_from(index).ok().and_then(|index| entries.get(index));
    found.ok_or(OpenError::NoSuchKey { record, table, index, entries: entries.len() })
}

/// Digits only: `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u128> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
