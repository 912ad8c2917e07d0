//! A stream under test. Waiting is polling with a deadline, never a fixed sleep.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, Record, Shard, ShardIteratorType, StreamStatus,
};
use tokio::time::{Instant, sleep};

use super::aws::Aws;

/// Within this, whatever has to happen has happened, on LocalStack under load too.
const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks: a shard is read five times a second at most.
const POLL: Duration = Duration::from_millis(250);

/// Short-cuts for [`ShardIteratorType`].
pub(super) const OLDEST: ShardIteratorType = ShardIteratorType::TrimHorizon;
pub(super) const NEWEST: ShardIteratorType = ShardIteratorType::Latest;

#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) kinesis: Client,
    pub(super) name: String,
    pub(super) arn: String,
}

impl Aws {
    /// A new stream that is active.
    pub(super) async fn stream(&self, shards: i32) -> Result<Stream> {
        let name = self.name("stream");
        let start = Instant::now();
        loop {
            let create = self.kinesis.create_stream().stream_name(&name).shard_count(shards);
            match create.send().await {
                Ok(_) => break,
                // Only so many streams are made at a time; other cases make some too.
                Err(error) if error.code() == Some("LimitExceededException") => {
                    ensure!(start.elapsed() < DEADLINE, "no stream could be made: {error:?}");
                    sleep(POLL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let arn = self.arn("kinesis", &format!("stream/{name}"));
        let stream = Stream { kinesis: self.kinesis.clone(), name, arn };
        stream.active().await?;
        // On LocalStack a record that arrives in the second in which its shard was made is taken for
        // the shard's beginning, and an iterator behind it stays before it.
        self.advance(Duration::from_millis(1_100)).await;
        Ok(stream)
    }
}

impl Stream {
    /// Waits until nothing is being done to the stream.
    pub(super) async fn active(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let summary = self.kinesis.describe_stream_summary().stream_name(&self.name);
            let summary = summary.send().await?.stream_description_summary;
            if summary.context("no summary")?.stream_status == StreamStatus::Active {
                return Ok(());
            }
            sleep(POLL).await;
        }
        bail!("the stream is not active after {DEADLINE:?}")
    }

    /// Puts records, key and data, which must all be taken.
    pub(super) async fn put(&self, records: &[(&str, &str)]) -> Result<PutRecordsOutput> {
        let entries = records.iter().map(|(key, data)| entry(key, data.as_bytes()));
        let put = self.kinesis.put_records().stream_name(&self.name);
        let output = put.set_records(Some(entries.collect::<Result<_>>()?)).send().await?;
        ensure!(output.failed_record_count() == Some(0), "{output:?}");
        Ok(output)
    }

    /// Where one of the two types without a place begins.
    pub(super) async fn iterator(&self, shard: &str, kind: ShardIteratorType) -> Result<String> {
        let get = self.kinesis.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let output = get.shard_iterator_type(kind).send().await?;
        output.shard_iterator.context("GetShardIterator answers without an iterator")
    }

    /// Where a sequence number is, or what is behind it.
    pub(super) async fn iterator_at(
        &self,
        shard: &str,
        kind: ShardIteratorType,
        number: &str,
    ) -> Result<String> {
        let get = self.kinesis.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let get = get.shard_iterator_type(kind).starting_sequence_number(number);
        let output = get.send().await?;
        output.shard_iterator.context("GetShardIterator answers without an iterator")
    }

    /// One GetRecords.
    pub(super) async fn get(&self, iterator: &str) -> Result<GetRecordsOutput> {
        Ok(self.kinesis.get_records().shard_iterator(iterator).send().await?)
    }

    /// Reads on from an iterator until there are `count` records, and nothing is left; more than
    /// that is an error.
    pub(super) async fn read_on(&self, iterator: String, count: usize) -> Result<Vec<Record>> {
        let start = Instant::now();
        let (mut records, mut next) = (Vec::new(), Some(iterator));
        while let Some(iterator) = next {
            let output = self.get(&iterator).await?;
            let caught_up = output.millis_behind_latest() == Some(0);
            next = output.next_shard_iterator;
            records.extend(output.records);
            if records.len() >= count && caught_up {
                break;
            }
            let (found, waited) = (records.len(), start.elapsed());
            ensure!(waited < DEADLINE, "{found} of {count} records came within {DEADLINE:?}");
            sleep(POLL).await;
        }
        ensure!(records.len() == count, "{} records came, not {count}", records.len());
        Ok(records)
    }

    /// Reads a shard from its oldest record on.
    pub(super) async fn read(&self, shard: &str, count: usize) -> Result<Vec<Record>> {
        self.read_on(self.iterator(shard, OLDEST).await?, count).await
    }

    /// All shards, in the order of their ids.
    pub(super) async fn shards(&self) -> Result<Vec<Shard>> {
        let output = self.kinesis.list_shards().stream_name(&self.name).send().await?;
        ensure!(output.next_token.is_none(), "more shards than a test makes");
        let mut shards = output.shards.context("ListShards answers without shards")?;
        shards.sort_by(|a, b| a.shard_id.cmp(&b.shard_id));
        Ok(shards)
    }

    /// The open ones, in the order of their hash keys.
    pub(super) async fn open_shards(&self) -> Result<Vec<Shard>> {
        let mut shards = self.shards().await?;
        shards.retain(is_open);
        shards.sort_by_key(|shard| range(shard).unwrap_or_default());
        Ok(shards)
    }

    /// Splits a shard in its middle, and waits.
    pub(super) async fn split(&self, shard: &Shard) -> Result<()> {
        let (start, end) = range(shard)?;
        let middle = start + (end - start) / 2;
        let split = self.kinesis.split_shard().stream_name(&self.name);
        let split = split.shard_to_split(&shard.shard_id).new_starting_hash_key(middle.to_string());
        split.send().await?;
        self.active().await
    }

    /// Merges two neighbours, and waits.
    pub(super) async fn merge(&self, lower: &Shard, upper: &Shard) -> Result<()> {
        let merge = self.kinesis.merge_shards().stream_name(&self.name);
        let merge = merge.shard_to_merge(&lower.shard_id);
        merge.adjacent_shard_to_merge(&upper.shard_id).send().await?;
        self.active().await
    }

    /// A new consumer that is active: its ARN.
    pub(super) async fn consumer(&self, name: &str) -> Result<String> {
        let register = self.kinesis.register_stream_consumer().stream_arn(&self.arn);
        let consumer =
            register.consumer_name(name).send().await?.consumer.context("no consumer")?;
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let describe = self.kinesis.describe_stream_consumer();
            let described = describe.consumer_arn(&consumer.consumer_arn).send().await?;
            let description = described.consumer_description.context("no description")?;
            if description.consumer_status == ConsumerStatus::Active {
                return Ok(consumer.consumer_arn);
            }
            sleep(POLL).await;
        }
        bail!("the consumer is not active after {DEADLINE:?}")
    }
}

pub(super) fn entry(key: &str, data: &[u8]) -> Result<PutRecordsRequestEntry> {
    Ok(PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build()?)
}

/// A shard's id.
pub(super) fn shard(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// The first and the last hash key.
pub(super) fn range(shard: &Shard) -> Result<(u128, u128)> {
    let range = shard.hash_key_range().context("no hash key range")?;
    Ok((range.starting_hash_key().parse()?, range.ending_hash_key().parse()?))
}

/// Nobody has closed it.
pub(super) fn is_open(shard: &Shard) -> bool {
    let numbers = shard.sequence_number_range();
    numbers.is_some_and(|numbers| numbers.ending_sequence_number().is_none())
}

/// All hash keys belong to one of these shards each.
pub(super) fn divide_all_keys(shards: &[Shard]) -> Result<()> {
    let ranges = shards.iter().map(range).collect::<Result<Vec<_>>>()?;
    let whole = ranges.first().map(|first| first.0) == Some(0)
        && ranges.last().map(|last| last.1) == Some(u128::MAX);
    let gapless = ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0);
    ensure!(whole && gapless, "{ranges:?}");
    Ok(())
}

/// What the records hold, as text.
pub(super) fn texts(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8_lossy(record.data().as_ref()).into_owned();
    records.iter().map(text).collect()
}

/// A sequence number as a number: some services write them with different lengths.
pub(super) fn ascending<'n>(numbers: impl IntoIterator<Item = &'n str>) -> Result<()> {
    let numbers: Vec<(usize, &str)> = numbers.into_iter().map(|text| (text.len(), text)).collect();
    ensure!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    Ok(())
}
