//! One `PutRecords`, and what its answer means.

use std::sync::Arc;

use aws_sdk_kinesis::{
    error::BuildError, operation::put_records::PutRecordsOutput, types::PutRecordsRequestEntry,
};

use super::{Stream, record::Record, shards::ShardMap};
use crate::failure::Failure;

/// Records to be sent together, expected in the shards of `map`.
pub(super) struct Request {
    pub(super) records: Vec<Record>,
    pub(super) entries: Result<Vec<PutRecordsRequestEntry>, BuildError>,
    pub(super) map: Arc<ShardMap>,
}

impl Request {
    /// Sends the records, and gives them back with one result each, in order. If one landed in
    /// another shard than it was expected in, the shards are asked for before that.
    pub(super) async fn send(self, stream: &Stream) -> (Vec<Record>, Vec<Result<(), Failure>>) {
        let Request { records, entries, map } = self;
        let landed = match put(stream, entries).await {
            Ok(answer) => shards(&answer, records.len()),
            Err(failure) => vec![Err(failure); records.len()],
        };
        let elsewhere = |(record, landed): (&Record, &Result<String, Failure>)| {
            landed.as_ref().is_ok_and(|shard| *shard != record.shard.id)
        };
        let map = match records.iter().zip(&landed).any(elsewhere) {
            false => Ok(map),
            true => stream.shards.newer(&map, &stream.aws, &stream.name).await,
        };
        let results = records.iter().zip(landed).map(|(record, landed)| {
            let shard = landed?;
            if shard == record.shard.id || !record.is_aggregate() {
                return Ok(());
            }
            // Consumers drop an aggregate that has events of other shards.
            match map.as_ref().map(|map| map.owns(&shard, &record.hash_keys)) {
                Ok(Some(true)) => Ok(()),
                Ok(Some(false)) => Err(Failure::transient("landed in another shard", "")),
                Ok(None) => Err(Failure::transient("landed in a shard that is not listed", "")),
                Err(failure) => {
                    Err(Failure::transient("landed in an unknown shard", &failure.to_string()))
                }
            }
        });
        let results = results.collect();
        (records, results)
    }
}

async fn put(
    stream: &Stream,
    entries: Result<Vec<PutRecordsRequestEntry>, BuildError>,
) -> Result<PutRecordsOutput, Failure> {
    let entries = entries.map_err(Failure::unbuildable)?;
    let request = stream.aws.kinesis().put_records().stream_name(&stream.name);
    let answer = request.set_records(Some(entries)).send().await;
    answer.map_err(|error| Failure::of(&error))
}

/// The shard of each record, or why it has none.
fn shards(answer: &PutRecordsOutput, count: usize) -> Vec<Result<String, Failure>> {
    let answered = answer.records().iter().map(|record| match record.error_code() {
        Some(code) => Err(Failure::of_entry(code, record.error_message(), false)),
        None => Ok(record.shard_id().unwrap_or_default().to_string()),
    });
    let unanswered = || Some(Err(Failure::transient("the answer left this record out", "")));
    answered.chain(std::iter::from_fn(unanswered)).take(count).collect()
}
