//! PutRecord and PutRecords.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::sequence::SequenceNumber;
use super::stream::Stream;
use super::{Target, errors, hash, shard};
use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::limits::{
    KINESIS_MAX_BATCH, KINESIS_MAX_KEY, KINESIS_MAX_RECORD_BYTES, KINESIS_MAX_REQUEST_BYTES,
};
use crate::error::AwsError;
use crate::sim::Shared;
use crate::wire::Context;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord<'b> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    sequence_number_for_ordering: Option<String>,
    #[serde(borrow)]
    partition_key: Option<Text<'b>>,
    #[serde(borrow)]
    data: Option<Text<'b>>,
    explicit_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecords<'b> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    records: Option<Vec<Entry<'b>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'b> {
    #[serde(borrow)]
    partition_key: Option<Text<'b>>,
    #[serde(borrow)]
    data: Option<Text<'b>>,
    explicit_hash_key: Option<String>,
}

/// A text that is not copied out of the request; serde would copy an `Option<Cow<str>>`.
#[derive(Debug, Deserialize)]
struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    shard_id: String,
    sequence_number: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutResults {
    failed_record_count: usize,
    records: Vec<PutResult>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum PutResult {
    Put(Put),
    #[serde(rename_all = "PascalCase")]
    Failed {
        error_code: Cow<'static, str>,
        error_message: String,
    },
}

/// A record that has passed the checks.
struct Checked<'b> {
    partition_key: &'b str,
    data: Bytes,
    hash_key: u128,
}

impl Checked<'_> {
    fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// Puts one record.
pub(super) fn put_record(
    sim: &Shared,
    ctx: &Context,
    request: &PutRecord<'_>,
) -> Result<Put, AwsError> {
    let (key, data) = (request.partition_key.as_ref(), request.data.as_ref());
    let record = check(key, data, request.explicit_hash_key.as_deref(), "")?;
    let target = Target { name: request.stream_name.clone(), arn: request.stream_arn.clone() };
    let mut engine = sim.lock();
    let now = engine.clock.now();
    let stream = open(&mut engine.streams, ctx, &target, now)?;
    if let Some(number) = &request.sequence_number_for_ordering {
        check_ordering(number, stream, now)?;
    }
    let put = put(stream, now, &record)?;
    engine.note_change();
    Ok(put)
}

/// Puts each record that can be put; the others fail alone.
pub(super) fn put_records(
    sim: &Shared,
    ctx: &Context,
    request: &PutRecords<'_>,
) -> Result<PutResults, AwsError> {
    let entries = request.records.as_deref().ok_or_else(|| errors::missing("records"))?;
    if entries.is_empty() {
        let must = "have length greater than or equal to 1";
        return Err(errors::constraint("'[]'", "records", must));
    }
    if entries.len() > KINESIS_MAX_BATCH {
        let must = format!("have length less than or equal to {KINESIS_MAX_BATCH}");
        return Err(errors::constraint("'[PutRecordsRequestEntry, ...]'", "records", must));
    }
    let checked = entries.iter().enumerate().map(|(index, entry)| {
        let place = format!("records.{}.member.", index + 1);
        let Entry { partition_key, data, explicit_hash_key } = entry;
        check(partition_key.as_ref(), data.as_ref(), explicit_hash_key.as_deref(), &place)
    });
    let records: Vec<Checked<'_>> = checked.collect::<Result<_, _>>()?;
    if records.iter().map(Checked::size).sum::<usize>() > KINESIS_MAX_REQUEST_BYTES {
        return Err(errors::invalid_argument("Records size exceeds 10 MB limit"));
    }
    let target = Target { name: request.stream_name.clone(), arn: request.stream_arn.clone() };

    let mut engine = sim.lock();
    let now = engine.clock.now();
    let Engine { streams, faults, .. } = &mut *engine;
    let stream = open(streams, ctx, &target, now)?;
    let outcomes = records.iter().enumerate().map(|(index, record)| {
        if ctx.fail_entry == Some(index) || faults.entry_fails() {
            let message = "Internal service failure.";
            return Err(AwsError::sender("InternalFailure", message));
        }
        put(stream, now, record)
    });
    let records: Vec<PutResult> = outcomes.map(PutResult::from).collect();
    let failed = records.iter().filter(|result| matches!(result, PutResult::Failed { .. }));
    let failed_record_count = failed.count();
    if failed_record_count < records.len() {
        engine.note_change();
    }
    Ok(PutResults { failed_record_count, records })
}

impl From<Result<Put, AwsError>> for PutResult {
    fn from(outcome: Result<Put, AwsError>) -> Self {
        match outcome {
            Ok(put) => Self::Put(put),
            Err(AwsError { code, message, .. }) => {
                Self::Failed { error_code: code, error_message: message }
            }
        }
    }
}

/// The stream, if records can be put.
fn open<'s>(
    streams: &'s mut BTreeMap<String, Stream>,
    ctx: &Context,
    target: &Target,
    now: Now,
) -> Result<&'s mut Stream, AwsError> {
    let stream = target.open(streams, ctx, now)?;
    if !stream.is_usable() {
        return Err(errors::stream_not_found(&stream.name, &stream.account));
    }
    Ok(stream)
}

fn put(stream: &mut Stream, now: Now, record: &Checked<'_>) -> Result<Put, AwsError> {
    // Every hash key has its open shard.
    let shard = stream.shard_of(record.hash_key).ok_or_else(AwsError::internal)?;
    let number = shard.number;
    if !shard.try_write(now.instant, record.size()) {
        return Err(errors::rate_exceeded(&stream.name, &stream.account, number));
    }
    let sequence = shard.append(now, record.partition_key, record.data.clone());
    stream.wake.notify_waiters();
    Ok(Put { shard_id: shard::id(number), sequence_number: sequence.to_string() })
}

fn check<'b>(
    partition_key: Option<&'b Text<'b>>,
    data: Option<&Text<'_>>,
    explicit_hash_key: Option<&str>,
    place: &str,
) -> Result<Checked<'b>, AwsError> {
    let key = partition_key.ok_or_else(|| errors::missing(&format!("{place}partitionKey")))?;
    let partition_key = key.0.as_ref();
    // Bytes are counted first: it is far cheaper, and most keys are short.
    if partition_key.is_empty() || partition_key.len() > KINESIS_MAX_KEY {
        let member = format!("{place}partitionKey");
        errors::check_length(partition_key, &member, 1..=KINESIS_MAX_KEY)?;
    }
    let data = data.ok_or_else(|| errors::missing(&format!("{place}data")))?;
    let data = aws_smithy_types::base64::decode(data.0.as_ref()).map_err(|_| {
        AwsError::sender("SerializationException", format!("{place}data is no valid base64"))
    })?;
    let (size, limit) = (data.len() + partition_key.len(), KINESIS_MAX_RECORD_BYTES);
    if size > limit {
        let length = data.len();
        let value = format!("'java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]'");
        let must = format!("have length less than or equal to {limit}");
        return Err(errors::constraint(value, &format!("{place}data"), must));
    }
    let hash_key = match explicit_hash_key {
        None => hash::of_key(partition_key),
        Some(key) => {
            errors::check_hash_key(key, &format!("{place}explicitHashKey"))?;
            key.parse().map_err(|_| {
                errors::invalid_argument(format!(
                    "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
                     Specified value was {key}"
                ))
            })?
        }
    };
    Ok(Checked { partition_key, data: data.into(), hash_key })
}

/// All numbers given from now on are greater, if this one was given away.
fn check_ordering(number: &str, stream: &Stream, now: Now) -> Result<(), AwsError> {
    errors::check_sequence_number(number, "sequenceNumberForOrdering")?;
    let starts = stream.shards.values().map(|shard| shard.start.second);
    let latest = starts.max().unwrap_or_default().max(now.millis / 1000);
    if SequenceNumber::parse(number).is_some_and(|number| number.second <= latest) {
        return Ok(());
    }
    let Stream { name, account, .. } = stream;
    Err(errors::invalid_argument(format!(
        "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {name} under account \
         {account} is invalid."
    )))
}
