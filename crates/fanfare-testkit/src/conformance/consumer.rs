//! Enhanced fan-out: consumers, and the shards that are pushed to them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use tokio::time::{Instant, timeout};

use super::aws::{Aws, refused};
use super::kinesis::{NEWEST, OLDEST, shard, texts};

const IN_USE: &str = "ResourceInUseException";

/// Within this an event comes, with records or without.
const PATIENCE: Duration = Duration::from_secs(30);

async fn subscribe(
    aws: &Aws,
    consumer: &str,
    position: StartingPosition,
) -> Result<SubscribeToShardOutput> {
    let subscribe = aws.kinesis.subscribe_to_shard().consumer_arn(consumer).shard_id(shard(0));
    Ok(subscribe.starting_position(position).send().await?)
}

fn at(kind: ShardIteratorType) -> Result<StartingPosition> {
    Ok(StartingPosition::builder().r#type(kind).build()?)
}

/// The next event; none if the subscription has ended.
async fn next(subscription: &mut SubscribeToShardOutput) -> Result<Option<SubscribeToShardEvent>> {
    match timeout(PATIENCE, subscription.event_stream.recv()).await.context("no event")?? {
        None => Ok(None),
        Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => Ok(Some(event)),
        Some(other) => bail!("an unknown event: {other:?}"),
    }
}

/// The next event with records.
async fn next_records(subscription: &mut SubscribeToShardOutput) -> Result<SubscribeToShardEvent> {
    loop {
        let event = next(subscription).await?.context("the subscription ended")?;
        if !event.records().is_empty() {
            return Ok(event);
        }
    }
}

pub(super) async fn a_consumer_is_registered_once(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let arn = stream.consumer("orders").await?;
    let prefix = format!("{}/consumer/orders:", stream.arn);
    ensure!(arn.starts_with(&prefix), "{arn}");
    let again = aws.kinesis.register_stream_consumer().stream_arn(&stream.arn);
    refused(again.consumer_name("orders").send().await, IN_USE)?;
    let list = aws.kinesis.list_stream_consumers().stream_arn(&stream.arn).send().await?;
    ensure!(list.consumers().len() == 1 && list.consumers()[0].consumer_arn() == arn, "{list:?}");
    Ok(())
}

pub(super) async fn a_deregistered_consumer_is_gone(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let arn = stream.consumer("orders").await?;
    aws.kinesis.deregister_stream_consumer().consumer_arn(&arn).send().await?;
    let start = Instant::now();
    let describe = || aws.kinesis.describe_stream_consumer().consumer_arn(&arn).send();
    while describe().await.is_ok() {
        ensure!(start.elapsed() < PATIENCE, "the consumer is still there");
        aws.advance(Duration::from_millis(250)).await;
    }
    refused(describe().await, "ResourceNotFoundException")
}

pub(super) async fn a_consumer_keeps_its_stream_from_being_deleted(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    stream.consumer("orders").await?;
    refused(aws.kinesis.delete_stream().stream_name(&stream.name).send().await, IN_USE)?;
    stream.active().await?;
    let delete = aws.kinesis.delete_stream().stream_name(&stream.name);
    delete.enforce_consumer_deletion(true).send().await?;
    Ok(())
}

pub(super) async fn a_subscription_brings_what_is_there_and_what_comes(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let consumer = stream.consumer("orders").await?;
    stream.put(&[("k", "1"), ("k", "2")]).await?;
    let mut subscription = subscribe(aws, &consumer, at(OLDEST)?).await?;
    let event = next_records(&mut subscription).await?;
    ensure!(texts(event.records()) == ["1", "2"], "{event:?}");
    ensure!(!event.continuation_sequence_number().is_empty(), "{event:?}");
    stream.put(&[("k", "3")]).await?;
    let event = next_records(&mut subscription).await?;
    ensure!(texts(event.records()) == ["3"], "{event:?}");
    Ok(())
}

pub(super) async fn a_subscription_goes_on_behind_another(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let consumer = stream.consumer("orders").await?;
    stream.put(&[("k", "1")]).await?;
    let mut subscription = subscribe(aws, &consumer, at(OLDEST)?).await?;
    let event = next_records(&mut subscription).await?;
    drop(subscription);
    stream.put(&[("k", "2")]).await?;
    aws.advance(Duration::from_secs(6)).await;
    let after = StartingPosition::builder().r#type(ShardIteratorType::AfterSequenceNumber);
    let after = after.sequence_number(event.continuation_sequence_number()).build()?;
    let mut subscription = subscribe(aws, &consumer, after).await?;
    let event = next_records(&mut subscription).await?;
    ensure!(texts(event.records()) == ["2"], "{event:?}");
    Ok(())
}

pub(super) async fn a_consumer_subscribes_to_a_shard_once_in_five_seconds(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let consumer = stream.consumer("orders").await?;
    let mut first = subscribe(aws, &consumer, at(NEWEST)?).await?;
    let again = aws.kinesis.subscribe_to_shard().consumer_arn(&consumer).shard_id(shard(0));
    refused(again.starting_position(at(NEWEST)?).send().await, IN_USE)?;
    aws.advance(Duration::from_secs(5)).await;
    let mut second = subscribe(aws, &consumer, at(NEWEST)?).await?;
    // The second takes over from the first.
    while let Ok(Some(_)) = next(&mut first).await {}
    ensure!(next(&mut second).await?.is_some(), "the second subscription ended");
    Ok(())
}

pub(super) async fn a_subscription_ends_with_its_shard(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let consumer = stream.consumer("orders").await?;
    stream.put(&[("k", "1")]).await?;
    stream.split(&stream.shards().await?[0]).await?;
    let mut subscription = subscribe(aws, &consumer, at(OLDEST)?).await?;
    let (mut records, mut children) = (Vec::new(), Vec::new());
    while let Some(event) = next(&mut subscription).await? {
        ensure!(children.is_empty(), "children were named before the end");
        records.extend(event.records);
        children = event.child_shards.unwrap_or_default();
    }
    ensure!(texts(&records) == ["1"], "{records:?}");
    ensure!(children.len() == 2, "{children:?}");
    Ok(())
}

pub(super) async fn a_subscription_lasts_five_minutes(aws: &Aws) -> Result<()> {
    let stream = aws.stream(1).await?;
    let consumer = stream.consumer("orders").await?;
    let mut subscription = subscribe(aws, &consumer, at(NEWEST)?).await?;
    let start = Instant::now();
    while let Some(event) = next(&mut subscription).await? {
        ensure!(event.records().is_empty(), "{event:?}");
    }
    let lasted = start.elapsed().as_secs();
    ensure!((295..=305).contains(&lasted), "{lasted} s");
    Ok(())
}
