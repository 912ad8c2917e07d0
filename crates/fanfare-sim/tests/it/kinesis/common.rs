//! Short-cuts over the SDK client.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, Shard, ShardIteratorType};
use fanfare_sim::Sim;
use tokio::time::sleep;

use crate::common::seconds;

/// A simulator and a client on it that does not retry, so that a fault is seen.
pub(crate) struct Kinesis {
    pub(crate) sim: Sim,
    pub(crate) client: Client,
}

impl Kinesis {
    pub(crate) fn new() -> Self {
        let sim = Sim::new();
        let config = sim.sdk_config().into_builder().retry_config(RetryConfig::disabled()).build();
        Self { client: Client::new(&config), sim }
    }

    /// A simulator with an active stream `s`.
    pub(crate) async fn with_shards(count: i32) -> Self {
        let kinesis = Self::new();
        kinesis.client.create_stream().stream_name("s").shard_count(count).send().await.unwrap();
        kinesis.settle().await;
        kinesis
    }

    /// Until the stream is active again.
    pub(crate) async fn settle(&self) {
        sleep(seconds(1)).await;
    }

    pub(crate) async fn put(&self, entries: &[(&str, &str)]) -> PutRecordsOutput {
        let entries = entries.iter().map(|(key, data)| entry(key, data.as_bytes()));
        self.client
            .put_records()
            .stream_name("s")
            .set_records(Some(entries.collect()))
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn iterator(&self, shard: &str, kind: ShardIteratorType) -> String {
        let request = self.client.get_shard_iterator().stream_name("s").shard_id(shard);
        request.shard_iterator_type(kind).send().await.unwrap().shard_iterator.unwrap()
    }

    pub(crate) async fn get(&self, iterator: &str) -> GetRecordsOutput {
        self.client.get_records().shard_iterator(iterator).send().await.unwrap()
    }

    /// All records of a shard that are there now.
    pub(crate) async fn read(&self, shard: &str) -> Vec<Record> {
        let mut iterator = Some(self.iterator(shard, ShardIteratorType::TrimHorizon).await);
        let mut records = Vec::new();
        while let Some(at) = iterator {
            let output = self.get(&at).await;
            let caught_up = output.millis_behind_latest() == Some(0);
            records.extend(output.records);
            iterator = output.next_shard_iterator.filter(|_| !caught_up);
            sleep(seconds(1)).await;
        }
        records
    }

    pub(crate) async fn shards(&self) -> Vec<Shard> {
        self.client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap()
    }

    /// Splits a shard in its middle.
    pub(crate) async fn split(&self, shard: &str) {
        let shards = self.shards().await;
        let shard = shards.iter().find(|candidate| candidate.shard_id() == shard).unwrap();
        let (start, end) = range(shard);
        let split = self.client.split_shard().stream_name("s").shard_to_split(shard.shard_id());
        split.new_starting_hash_key((start + (end - start) / 2).to_string()).send().await.unwrap();
        self.settle().await;
    }

    pub(crate) async fn merge(&self, lower: &str, upper: &str) {
        let merge = self.client.merge_shards().stream_name("s").shard_to_merge(lower);
        merge.adjacent_shard_to_merge(upper).send().await.unwrap();
        self.settle().await;
    }
}

pub(crate) fn entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build().unwrap()
}

pub(crate) fn shard(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// The first and the last hash key.
pub(crate) fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().unwrap();
    (range.starting_hash_key().parse().unwrap(), range.ending_hash_key().parse().unwrap())
}

pub(crate) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record.data().as_ref()).unwrap()).collect()
}
