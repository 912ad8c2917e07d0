//! The aggregation format of the Kinesis Producer Library, in and out: many small *user records*
//! in one record of a stream. Pure bytes, no I/O.
//!
//! | to … | see |
//! |---|---|
//! | pack records | [`Aggregator`] |
//! | unpack what came from a stream | [`open`] |
//! | know where in a stream's hash range a key lies | [`hash_key`] |
//!
//! The layout is magic, protocol buffer, MD5 of the protocol buffer:
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>
//!
//! # Misplaced records
//!
//! A producer packs records that it expects in one shard. If the stream was resharded meanwhile,
//! the aggregate lands in a shard that does not own all of them. A producer that follows the
//! library's protocol notices that from the answer and sends all of the aggregate again; the Kinesis
//! Client Library drops the whole of an aggregate that has a record outside of the shard's hash
//! range. Not every producer sends again, so fanfare tags the first record of its own aggregates
//! ([`Aggregator::marked`], [`Aggregate::marked`]): of marked ones it is sure that what is dropped
//! comes again. Other readers of the format skip the tag.

mod aggregator;
mod open;
mod wire;

pub use aggregator::{Aggregated, Aggregator};
pub use open::{Aggregate, OpenError, Opened, UserRecord, open};

use md5::{Digest, Md5};

/// Where `partition_key` lies among the hash ranges of a stream's shards: its MD5 as a number.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html>
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(digest(partition_key.as_bytes()))
}

fn digest(bytes: &[u8]) -> [u8; wire::DIGEST_BYTES] {
    Md5::digest(bytes).into()
}
