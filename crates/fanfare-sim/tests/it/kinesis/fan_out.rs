//! Enhanced fan-out.

use std::time::Duration;

use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::subscribe_to_shard::{
    SubscribeToShardError, SubscribeToShardOutput,
};
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use tokio::time::{Instant, sleep};

use super::common::{Kinesis, shard, texts};
use crate::common::{ACCOUNT, code, seconds};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

impl Kinesis {
    /// The ARN of a consumer `c` that is active.
    async fn consumer(&self) -> String {
        assert_eq!(ARN, format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"));
        let register = self.client.register_stream_consumer().stream_arn(ARN).consumer_name("c");
        let consumer = register.send().await.unwrap().consumer.unwrap();
        assert_eq!(consumer.consumer_status, ConsumerStatus::Creating);
        self.settle().await;
        consumer.consumer_arn
    }

    async fn subscribe(
        &self,
        consumer: &str,
        number: u32,
        position: StartingPosition,
    ) -> Result<SubscribeToShardOutput, SdkError<SubscribeToShardError>> {
        let subscribe = self.client.subscribe_to_shard().consumer_arn(consumer);
        subscribe.shard_id(shard(number)).starting_position(position).send().await
    }
}

fn at(kind: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(kind).build().unwrap()
}

fn after(number: &str, kind: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(kind).sequence_number(number).build().unwrap()
}

/// The next event; none if the subscription has ended.
async fn next(subscription: &mut SubscribeToShardOutput) -> Option<SubscribeToShardEvent> {
    match subscription.event_stream.recv().await.unwrap()? {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => Some(event),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_pushed_as_they_arrive() {
    let kinesis = Kinesis::with_shards(1).await;
    let consumer = kinesis.consumer().await;
    kinesis.put(&[("k", "1"), ("k", "2")]).await;
    let subscribe = kinesis.subscribe(&consumer, 0, at(ShardIteratorType::TrimHorizon));
    let mut subscription = subscribe.await.unwrap();
    let event = next(&mut subscription).await.unwrap();
    assert_eq!((texts(event.records()), event.millis_behind_latest()), (vec!["1", "2"], 0));
    let start = Instant::now();
    let later = async {
        sleep(Duration::from_millis(1_234)).await;
        kinesis.put(&[("k", "3")]).await;
    };
    let (event, ()) = tokio::join!(next(&mut subscription), later);
    assert_eq!(texts(event.unwrap().records()), ["3"]);
    assert_eq!(start.elapsed(), Duration::from_millis(1_234));
    // Polling is not counted: it is a way in of its own.
    assert_eq!(kinesis.sim.requests().count("GetRecords"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_records_is_heard_of_and_ends_after_five_minutes() {
    let kinesis = Kinesis::with_shards(1).await;
    let consumer = kinesis.consumer().await;
    let latest = at(ShardIteratorType::Latest);
    let mut subscription = kinesis.subscribe(&consumer, 0, latest).await.unwrap();
    let (start, mut events, mut last) = (Instant::now(), 0, String::new());
    while let Some(event) = next(&mut subscription).await {
        assert!(event.records().is_empty());
        events += 1;
        last = event.continuation_sequence_number;
    }
    assert_eq!((start.elapsed().as_secs(), events), (300, 59));
    kinesis.put(&[("k", "1")]).await;
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        let again = kinesis.subscribe(&consumer, 0, after(&last, kind)).await;
        assert_eq!(texts(next(&mut again.unwrap()).await.unwrap().records()), ["1"]);
        sleep(seconds(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_continuation_repeats_nothing_and_skips_nothing() {
    let kinesis = Kinesis::with_shards(1).await;
    let consumer = kinesis.consumer().await;
    kinesis.put(&[("k", "1"), ("k", "2")]).await;
    let horizon = at(ShardIteratorType::TrimHorizon);
    let mut subscription = kinesis.subscribe(&consumer, 0, horizon).await.unwrap();
    let event = next(&mut subscription).await.unwrap();
    drop(subscription);
    kinesis.put(&[("k", "3")]).await;
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        sleep(seconds(5)).await;
        let place = after(event.continuation_sequence_number(), kind);
        let mut again = kinesis.subscribe(&consumer, 0, place).await.unwrap();
        assert_eq!(texts(next(&mut again).await.unwrap().records()), ["3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_subscription_is_refused_for_five_seconds_and_then_takes_over() {
    let kinesis = Kinesis::with_shards(1).await;
    let consumer = kinesis.consumer().await;
    let subscribe = || kinesis.subscribe(&consumer, 0, at(ShardIteratorType::Latest));
    let mut first = subscribe().await.unwrap();
    sleep(Duration::from_millis(4_999)).await;
    assert_eq!(code(subscribe().await), "ResourceInUseException");
    sleep(Duration::from_millis(1)).await;
    let mut second = subscribe().await.unwrap();
    let error = loop {
        match first.event_stream.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the first subscription ended without a word"),
            Err(error) => break error.into_service_error(),
        }
    };
    assert!(error.is_resource_in_use_exception(), "{error:?}");
    assert!(next(&mut second).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_a_shard_its_children_are_named_and_the_subscription_ends() {
    let kinesis = Kinesis::with_shards(1).await;
    let consumer = kinesis.consumer().await;
    let horizon = || at(ShardIteratorType::TrimHorizon);
    let mut subscription = kinesis.subscribe(&consumer, 0, horizon()).await.unwrap();
    kinesis.put(&[("a", "1")]).await;
    assert_eq!(texts(next(&mut subscription).await.unwrap().records()), ["1"]);
    let parent = shard(0);
    let (end, ()) = tokio::join!(next(&mut subscription), kinesis.split(&parent));
    let end = end.unwrap();
    let children: Vec<&str> = end.child_shards().iter().map(|child| child.shard_id()).collect();
    assert_eq!(children, [shard(1), shard(2)]);
    assert_eq!(end.continuation_sequence_number(), "", "there is no going on");
    assert!(next(&mut subscription).await.is_none());
    kinesis.put(&[("a", "2")]).await;
    let mut child = kinesis.subscribe(&consumer, 1, horizon()).await.unwrap();
    assert_eq!(texts(next(&mut child).await.unwrap().records()), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_gives_two_mebibytes_a_second() {
    let kinesis = Kinesis::with_shards(1).await;
    let consumer = kinesis.consumer().await;
    let data = "x".repeat(1_048_575);
    for _ in 0..8 {
        kinesis.put(&[("k", &data)]).await;
        sleep(seconds(1)).await;
    }
    let horizon = at(ShardIteratorType::TrimHorizon);
    let mut subscription = kinesis.subscribe(&consumer, 0, horizon).await.unwrap();
    let (start, mut read) = (Instant::now(), 0);
    while read < 8 {
        read += next(&mut subscription).await.unwrap().records().len();
    }
    assert_eq!(start.elapsed(), Duration::from_millis(3_500));
}

#[tokio::test(start_paused = true)]
async fn consumers_are_registered_once_described_listed_and_deregistered() {
    let kinesis = Kinesis::with_shards(1).await;
    let arn = kinesis.consumer().await;
    let register = || kinesis.client.register_stream_consumer().stream_arn(ARN).consumer_name("c");
    assert_eq!(code(register().send().await), "ResourceInUseException");
    let described = kinesis.client.describe_stream_consumer().consumer_arn(&arn).send().await;
    let described = described.unwrap().consumer_description.unwrap();
    assert_eq!((described.stream_arn(), described.consumer_name()), (ARN, "c"));
    assert_eq!(described.consumer_status, ConsumerStatus::Active);
    let list = || async {
        let list = kinesis.client.list_stream_consumers().stream_arn(ARN).send().await.unwrap();
        list.consumers().len()
    };
    assert_eq!(list().await, 1);
    let delete = kinesis.client.delete_stream().stream_name("s").send().await;
    assert_eq!(code(delete), "ResourceInUseException");
    let latest = at(ShardIteratorType::Latest);
    let mut subscription = kinesis.subscribe(&arn, 0, latest).await.unwrap();
    let deregister = kinesis.client.deregister_stream_consumer().stream_arn(ARN);
    deregister.consumer_name("c").send().await.unwrap();
    kinesis.settle().await;
    assert_eq!(list().await, 0);
    assert!(subscription.event_stream.recv().await.is_err());
    let latest = at(ShardIteratorType::Latest);
    let gone = kinesis.subscribe(&arn, 0, latest).await;
    assert_eq!(code(gone), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_twenty_consumers_and_five_that_are_being_made() {
    let kinesis = Kinesis::with_shards(1).await;
    for n in 0..21 {
        let register = kinesis.client.register_stream_consumer().stream_arn(ARN);
        let outcome = register.consumer_name(format!("c-{n}")).send().await;
        match n {
            0..20 => assert!(outcome.is_ok(), "{n}"),
            _ => assert_eq!(code(outcome), "LimitExceededException"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}
