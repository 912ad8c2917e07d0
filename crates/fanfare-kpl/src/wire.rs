//! The layout: what both directions agree on.

use bytes::Bytes;

/// What an aggregate begins with.
pub(crate) const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// What it ends with: the MD5 of what is between.
pub(crate) const DIGEST_BYTES: usize = 16;

/// The tag on the first record of fanfare's own aggregates. It has no value.
pub(crate) const MARK: &str = "fanfare";

/// The protocol buffer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    pub(crate) partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) explicit_hash_key_table: Vec<String>,
    /// [`Record`]s, which are messages; kept as bytes so that two bytes of input cannot become the
    /// hundred of a struct before it is known that they are a record.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub(crate) records: Vec<Bytes>,
}

/// A user record. What the format requires is optional here, because prost would take a missing
/// field for zero.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(crate) data: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Tag {
    #[prost(string, optional, tag = "1")]
    pub(crate) key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) value: Option<String>,
}
