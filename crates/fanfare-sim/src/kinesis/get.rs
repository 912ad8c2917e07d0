//! GetRecords.

use std::sync::Arc;

use serde::ser::{Error, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::hash::HashKeyRange;
use super::iterator::{Iterator, open_shard};
use super::shard::{self, Record, Shard};
use super::{Stream, Target, errors, open};
use crate::clock::{Now, amz_date};
use crate::engine::limits::{ITERATOR_LIFETIME, MAX_READ_BYTES, MAX_READ_RECORDS};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::Context;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecords {
    shard_iterator: Option<String>,
    limit: Option<i64>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Records {
    records: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

/// A record as readers see it.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Arc<Record>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChildShard {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: HashKeyRange,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { sequence, partition_key, data, arrival } = &*self.0;
        let mut record = serializer.serialize_struct("Record", 4)?;
        record.serialize_field("SequenceNumber", &format_args!("{sequence}"))?;
        record.serialize_field("ApproximateArrivalTimestamp", &(*arrival as f64 / 1000.0))?;
        // Base64 needs no escaping, for which unoptimised builds would take longer than for all else.
        let text = format!("\"{}\"", aws_smithy_types::base64::encode(data));
        record.serialize_field("Data", &RawValue::from_string(text).map_err(S::Error::custom)?)?;
        record.serialize_field("PartitionKey", partition_key)?;
        record.end()
    }
}

/// Reads on from an iterator.
pub(super) fn get_records(
    sim: &Shared,
    ctx: &Context,
    request: &GetRecords,
) -> Result<Records, AwsError> {
    let text = request.shard_iterator.as_deref().ok_or_else(|| errors::missing("shardIterator"))?;
    errors::check_length(text, "shardIterator", 1..=512)?;
    let limit = request.limit.unwrap_or(MAX_READ_RECORDS);
    errors::check_range(limit, "limit", 1..=MAX_READ_RECORDS)?;
    let invalid = || errors::invalid_argument("Invalid ShardIterator.");
    let iterator = Iterator::decode(text).ok_or_else(invalid)?;

    let mut engine = sim.lock();
    let now = engine.clock.now();
    if ctx.expired || iterator.is_expired(now) {
        return Err(expired(iterator, now));
    }
    let mut streams = engine.streams.values();
    let arn = streams.find(|stream| stream.serial == iterator.stream).map(|stream| &stream.arn);
    let arn = arn.cloned().ok_or_else(|| {
        let id = shard::id(iterator.shard);
        errors::not_found(format!("Shard {id} does not exist: its stream was deleted"))
    })?;
    if let Some(other) = &request.stream_arn {
        let target = Target { name: None, arn: Some(other.clone()) };
        if target.resolve(ctx)? != arn {
            return Err(invalid());
        }
    }
    let stream = open(&mut engine.streams, &arn, now)?;
    open_shard(stream, iterator.shard)?;
    let allowed =
        stream.shards.get_mut(&iterator.shard).is_some_and(|shard| shard.try_read(now.instant));
    if !allowed {
        return Err(errors::rate_exceeded(&stream.name, &stream.account, iterator.shard));
    }
    let shard = open_shard(stream, iterator.shard)?;
    let batch = Batch::read(shard, iterator.index, limit as usize, MAX_READ_BYTES);
    let next = Iterator { index: batch.next, created: now.millis, ..iterator };
    let answer = Records {
        next_shard_iterator: (!batch.at_end).then(|| next.encode()),
        millis_behind_latest: batch.millis_behind(shard, now),
        child_shards: if batch.at_end { children(stream, shard) } else { Vec::new() },
        records: batch.records,
    };
    if let Some(shard) = stream.shards.get_mut(&iterator.shard) {
        shard.count_read(now.instant, batch.size);
    }
    Ok(answer)
}

/// Some records of a shard, one after the other.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Shown>,
    /// Data plus partition keys.
    pub(super) size: usize,
    /// The index to read on from.
    pub(super) next: u64,
    /// The shard is closed and has no more than this.
    pub(super) at_end: bool,
}

impl Batch {
    /// Up to `limit` records from an index on, as many as fit, but one at least.
    pub(super) fn read(shard: &Shard, index: u64, limit: usize, max_bytes: usize) -> Self {
        let (mut records, mut size) = (Vec::new(), 0);
        for record in shard.records_from(index).take(limit) {
            if !records.is_empty() && size + record.size() > max_bytes {
                break;
            }
            size += record.size();
            records.push(Shown(Arc::clone(record)));
        }
        // Trimmed records are passed over.
        let next = index.max(shard.oldest()) + records.len() as u64;
        Self { records, size, next, at_end: !shard.is_open() && next >= shard.tip() }
    }

    /// How far the last record, or else the place, is behind the newest.
    pub(super) fn millis_behind(&self, shard: &Shard, now: Now) -> u64 {
        let unread = shard.records_from(self.next).next();
        unread.map_or(0, |unread| {
            let last = self.records.last().map_or(unread, |Shown(last)| last);
            now.millis.saturating_sub(last.arrival)
        })
    }
}

/// The shards that a closed one became.
pub(super) fn children(stream: &Stream, shard: &Shard) -> Vec<ChildShard> {
    let describe = |child: &Shard| ChildShard {
        shard_id: shard::id(child.number),
        parent_shards: [child.parent, child.adjacent_parent]
            .into_iter()
            .flatten()
            .map(shard::id)
            .collect(),
        hash_key_range: child.range,
    };
    stream.children(shard.number).map(describe).collect()
}

fn expired(iterator: Iterator, now: Now) -> AwsError {
    let message = format!(
        "Iterator expired. The iterator was created at time {} while right now it is {} which is \
         further in the future than the tolerated delay of {} milliseconds.",
        amz_date(iterator.created),
        amz_date(now.millis),
        ITERATOR_LIFETIME.as_millis()
    );
    AwsError::sender("ExpiredIteratorException", message)
}
