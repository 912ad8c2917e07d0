//! Records on their way in: order, results, sizes, limits.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::put_record::{PutRecordError, PutRecordOutput};
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;

use super::aws::{Aws, refused, refused_by_one};
use super::kinesis::{Stream, ascending, entry, shard, texts};

const MIB: usize = 1_048_576;
const INVALID: &str = "InvalidArgumentException";
const THROTTLED: &str = "ProvisionedThroughputExceededException";
/// AWS says the first of what its model excludes, LocalStack the second.
const CONSTRAINT: [&str; 2] = ["ValidationException", INVALID];

impl Stream {
    async fn put_one(
        &self,
        key: &str,
        data: Vec<u8>,
    ) -> Result<PutRecordOutput, SdkError<PutRecordError>> {
        let put = self.kinesis.put_record().stream_name(&self.name).partition_key(key);
        put.data(Blob::new(data)).send().await
    }
}

pub(super) async fn a_record_comes_back_with_its_key_and_its_data(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let data: Vec<u8> = (0..=255).collect();
    let key = "Bestellung-ß-1";
    let put = aws.kinesis.put_record().stream_name(&stream.name).partition_key(key);
    let put = put.data(Blob::new(data.clone())).send().await?;
    let records = stream.read(&put.shard_id, 1).await?;
    ensure!(records[0].partition_key() == Some(key), "{records:?}");
    ensure!(records[0].data().as_ref() == data, "{records:?}");
    ensure!(records[0].sequence_number() == put.sequence_number(), "{records:?}");
    ensure!(records[0].approximate_arrival_timestamp().is_some(), "{records:?}");
    Ok(())
}

pub(super) async fn results_are_in_the_order_of_the_records(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    // By their MD5 sums, "a" belongs to the lower half and the others to the upper one.
    let sent = [("a", "0"), ("b", "1"), ("e", "2"), ("f", "3"), ("a", "4")];
    let put = stream.put(&sent).await?;
    ensure!(put.records().len() == sent.len(), "{put:?}");
    let mut found = stream.read(&shard(0), 2).await?;
    found.extend(stream.read(&shard(1), 3).await?);
    for (result, (key, data)) in put.records().iter().zip(sent) {
        let number = result.sequence_number().context("no sequence number")?;
        let record = found.iter().find(|record| record.sequence_number() == number);
        let record = record.context("an unknown sequence number")?;
        let same = record.partition_key() == Some(key) && record.data().as_ref() == data.as_bytes();
        ensure!(same, "{record:?} is not {key} {data}");
    }
    Ok(())
}

pub(super) async fn a_key_keeps_its_order(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    let mut expected = Vec::new();
    for batch in 0..3 {
        let texts: Vec<String> = (0..20).map(|n| format!("{batch}-{n:02}")).collect();
        let records: Vec<(&str, &str)> =
            texts.iter().flat_map(|text| [("a", text.as_str()), ("b", text.as_str())]).collect();
        stream.put(&records).await?;
        expected.extend(texts);
    }
    for number in 0..2 {
        let records = stream.read(&shard(number), expected.len()).await?;
        ensure!(texts(&records) == expected, "{:?}", texts(&records));
    }
    Ok(())
}

pub(super) async fn sequence_numbers_of_a_shard_grow(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let put = stream.put(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let again = stream.put(&[("a", "4")]).await?;
    let results = put.records().iter().chain(again.records());
    let numbers: Vec<&str> = results.filter_map(|result| result.sequence_number()).collect();
    ensure!(numbers.len() == 4 && numbers.iter().all(|number| number.len() == 56), "{numbers:?}");
    ascending(numbers)
}

pub(super) async fn an_explicit_hash_key_chooses_the_shard(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    for (hash_key, number) in [(0, 0), (u128::MAX, 1)] {
        let put = aws.kinesis.put_record().stream_name(&stream.name).partition_key("k");
        let put = put.data(Blob::new("x")).explicit_hash_key(hash_key.to_string());
        let put = put.send().await?;
        ensure!(put.shard_id() == shard(number), "{put:?}");
    }
    Ok(())
}

pub(super) async fn a_hash_key_has_128_bits(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let put = aws.kinesis.put_record().stream_name(&stream.name).partition_key("k");
    let put = put.data(Blob::new("x")).explicit_hash_key("340282366920938463463374607431768211456");
    refused(put.send().await, INVALID)
}

pub(super) async fn a_partition_key_has_256_characters(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[(&"é".repeat(256), "x")]).await?;
    refused_by_one(stream.put_one(&"k".repeat(257), vec![0]).await, CONSTRAINT)?;
    refused_by_one(stream.put_one("", vec![0]).await, CONSTRAINT)
}

pub(super) async fn a_batch_has_500_records_at_most(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put(&[("k", "x"); 500]).await?;
    let records = vec![entry("k", b"x")?; 501];
    let put = aws.kinesis.put_records().stream_name(&stream.name).set_records(Some(records));
    refused(put.send().await, "ValidationException")
}

pub(super) async fn an_empty_batch_of_records_is_refused(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let put = aws.kinesis.put_records().stream_name(&stream.name).set_records(Some(vec![]));
    refused(put.send().await, "ValidationException")
}

pub(super) async fn a_record_over_a_mebibyte_is_refused(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.put_one("k", vec![0; MIB - 1]).await?;
    refused_by_one(stream.put_one("k", vec![0; MIB + 1]).await, CONSTRAINT)?;
    let records = vec![entry("k", b"x")?, entry("k", &vec![0; MIB + 1])?];
    let put = aws.kinesis.put_records().stream_name(&stream.name).set_records(Some(records));
    // The batch as a whole, its legal record too.
    refused_by_one(put.send().await, CONSTRAINT)?;
    stream.read(&shard(0), 1).await?;
    Ok(())
}

pub(super) async fn a_record_s_key_counts(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    refused(stream.put_one("k", vec![0; MIB]).await, "ValidationException")
}

pub(super) async fn a_batch_over_ten_mebibytes_is_refused_whole(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let records = vec![entry("k", &vec![0; MIB - 1])?; 11];
    let put = aws.kinesis.put_records().stream_name(&stream.name).set_records(Some(records));
    refused(put.send().await, INVALID)?;
    stream.read(&shard(0), 0).await?;
    Ok(())
}

/// Positions of the records that were not taken.
fn throttled(output: &PutRecordsOutput) -> Vec<usize> {
    let results = output.records().iter().enumerate();
    results.filter(|(_, r)| r.error_code() == Some(THROTTLED)).map(|(n, _)| n).collect()
}

pub(super) async fn a_shard_takes_a_thousand_records_a_second(aws: &Aws) -> Result<()> {
    let stream = aws.stream(2).await?;
    let put = |key: &'static str| {
        let put = aws.kinesis.put_records().stream_name(&stream.name);
        async move {
            let records = vec![entry(key, b"x")?; 500];
            anyhow::Ok(put.set_records(Some(records)).send().await?)
        }
    };
    put("a").await?;
    put("a").await?;
    let third = put("a").await?;
    ensure!(third.failed_record_count() == Some(500) && throttled(&third).len() == 500);
    // The other shard has room, and so has this one a second later.
    ensure!(put("b").await?.failed_record_count() == Some(0));
    refused(stream.put_one("a", vec![0]).await, THROTTLED)?;
    aws.advance(Duration::from_secs(1)).await;
    ensure!(put("a").await?.failed_record_count() == Some(0));
    Ok(())
}

pub(super) async fn a_shard_takes_a_mebibyte_a_second(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let large = entry("k", &vec![0; 400_000])?;
    let records = vec![large.clone(), large.clone(), large.clone(), entry("k", b"small")?];
    let put = aws.kinesis.put_records().stream_name(&stream.name).set_records(Some(records));
    let output = put.send().await?;
    // A later record of the key is taken where an earlier one is not.
    ensure!(throttled(&output) == [2], "{output:?}");
    ensure!(output.failed_record_count() == Some(1), "{output:?}");
    Ok(())
}

pub(super) async fn a_put_may_ask_for_a_greater_sequence_number(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let put = |after: Option<String>| {
        let put = aws.kinesis.put_record().stream_name(&stream.name).partition_key("k");
        put.data(Blob::new("x")).set_sequence_number_for_ordering(after).send()
    };
    let first = put(None).await?.sequence_number;
    let second = put(Some(first.clone())).await?.sequence_number;
    ascending([first.as_str(), second.as_str()])
}
