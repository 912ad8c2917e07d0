//! Into an aggregate.

use std::{borrow::Borrow, collections::HashMap, fmt, hash::Hash};

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::{
    digest, hash_key,
    wire::{DIGEST_BYTES, MAGIC, MARK},
};

/// Bytes of a field's number and type: all numbers of the format are below 16.
const KEY_BYTES: usize = 1;

/// Packs user records into one record of a stream. Keys that repeat are written once.
///
/// ```
/// use fanfare_kpl::{Aggregator, Opened, open};
///
/// let mut aggregator = Aggregator::new();
/// assert_eq!(aggregator.size_with("order-1", None, 6), 41);
/// aggregator.add("order-1", None, b"placed");
/// aggregator.add("order-1", None, b"paid");
/// let aggregated = aggregator.finish().unwrap();
/// assert_eq!(aggregated.partition_key, "order-1");
///
/// let Opened::Aggregate(aggregate) = open(aggregated.data).unwrap() else { panic!() };
/// assert_eq!(aggregate.records[1].data.as_ref(), b"paid");
/// ```
#[derive(Clone, Default)]
pub struct Aggregator {
    partition_keys: Table<String>,
    hash_keys: Table<u128>,
    /// The `records` field, encoded.
    records: Vec<u8>,
    len: usize,
    first: Option<(String, u128)>,
    marked: bool,
}

/// A record to put into a stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Aggregated {
    /// Its data: the aggregate.
    pub data: Bytes,
    /// The partition key of its first user record.
    pub partition_key: String,
    /// Where its first user record lies among the hash ranges of the shards. Given as the record's
    /// explicit hash key it brings the aggregate to the shard in which all of it is expected.
    pub explicit_hash_key: u128,
}

/// Without the data: payloads stay out of logs.
impl fmt::Debug for Aggregated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregated")
            .field("bytes", &self.data.len())
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key)
            .finish()
    }
}

impl Aggregator {
    /// An aggregate without records.
    #[must_use]
    pub fn new() -> Self {
        Aggregator::default()
    }

    /// Marks it as fanfare's own, by a tag on its first record: see [the crate](crate). To be said
    /// before the first record is added.
    #[must_use]
    pub fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the finished aggregate, exactly.
    #[must_use]
    pub fn size(&self) -> usize {
        let tables = self.partition_keys.encoded.len() + self.hash_keys.encoded.len();
        MAGIC.len() + tables + self.records.len() + DIGEST_BYTES
    }

    /// Bytes that it would have with one record more, exactly: to be compared with a limit before
    /// the record is added. A record's limit counts its partition key too.
    #[must_use]
    pub fn size_with(
        &self,
        partition_key: &str,
        explicit_hash_key: Option<u128>,
        data_bytes: usize,
    ) -> usize {
        let (key, mut entries) = self.partition_keys.look(partition_key, partition_key.len());
        let hash = explicit_hash_key.map(|hash_key| {
            let (index, entry) = self.hash_keys.look(&hash_key, digits(hash_key));
            entries += entry;
            index
        });
        let record = record_bytes(key, hash, data_bytes, self.marks_next());
        self.size() + entries + delimited_bytes(record)
    }

    /// Adds a record behind the others. An explicit hash key takes the place of the partition key's
    /// hash.
    pub fn add(&mut self, partition_key: &str, explicit_hash_key: Option<u128>, data: &[u8]) {
        let mark = self.marks_next();
        let key = self.partition_keys.index(1, partition_key, partition_key);
        let hash = explicit_hash_key.map(|hash_key| {
            let text = hash_key.to_string();
            self.hash_keys.index(2, &hash_key, &text)
        });
        let records = &mut self.records;
        encode_key(3, WireType::LengthDelimited, records);
        encode_varint(record_bytes(key, hash, data.len(), mark) as u64, records);
        encode_key(1, WireType::Varint, records);
        encode_varint(key, records);
        if let Some(hash) = hash {
            encode_key(2, WireType::Varint, records);
            encode_varint(hash, records);
        }
        write_delimited(3, data, records);
        if mark {
            encode_key(4, WireType::LengthDelimited, records);
            encode_varint(delimited_bytes(MARK.len()) as u64, records);
            write_delimited(1, MARK.as_bytes(), records);
        }
        self.len += 1;
        if self.first.is_none() {
            let hash_key = explicit_hash_key.unwrap_or_else(|| hash_key(partition_key));
            self.first = Some((partition_key.into(), hash_key));
        }
    }

    /// The record to put into a stream; `None` if nothing was added.
    #[must_use]
    pub fn finish(self) -> Option<Aggregated> {
        let mut data = Vec::with_capacity(self.size());
        data.extend_from_slice(&MAGIC);
        data.extend_from_slice(&self.partition_keys.encoded);
        data.extend_from_slice(&self.hash_keys.encoded);
        data.extend_from_slice(&self.records);
        let digest = digest(&data[MAGIC.len()..]);
        data.extend_from_slice(&digest);
        let (partition_key, explicit_hash_key) = self.first?;
        Some(Aggregated { data: data.into(), partition_key, explicit_hash_key })
    }

    fn marks_next(&self) -> bool {
        self.marked && self.is_empty()
    }
}

/// A table of keys, as it is on the wire and for looking up.
#[derive(Clone)]
struct Table<K> {
    encoded: Vec<u8>,
    indices: HashMap<K, u64>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Table { encoded: Vec::new(), indices: HashMap::new() }
    }
}

impl<K: Hash + Eq> Table<K> {
    /// The index that `key` has or would get, and the bytes that the table would grow by.
    fn look<Q>(&self, key: &Q, text_bytes: usize) -> (u64, usize)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.indices.get(key) {
            Some(index) => (*index, 0),
            None => (self.indices.len() as u64, delimited_bytes(text_bytes)),
        }
    }

    /// The index of `key`, which is added as entry of `field` if it is new.
    fn index<Q>(&mut self, field: u32, key: &Q, text: &str) -> u64
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(index) = self.indices.get(key) {
            return *index;
        }
        let index = self.indices.len() as u64;
        self.indices.insert(key.to_owned(), index);
        write_delimited(field, text.as_bytes(), &mut self.encoded);
        index
    }
}

fn record_bytes(key: u64, hash: Option<u64>, data: usize, mark: bool) -> usize {
    KEY_BYTES
        + encoded_len_varint(key)
        + hash.map_or(0, |hash| KEY_BYTES + encoded_len_varint(hash))
        + delimited_bytes(data)
        + if mark { delimited_bytes(delimited_bytes(MARK.len())) } else { 0 }
}

/// Bytes of a field of text, bytes or a message.
fn delimited_bytes(content: usize) -> usize {
    KEY_BYTES + encoded_len_varint(content as u64) + content
}

fn write_delimited(field: u32, content: &[u8], to: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}

/// Characters of a number in decimal.
fn digits(number: u128) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}
