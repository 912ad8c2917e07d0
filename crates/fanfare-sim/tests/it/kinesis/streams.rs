//! Streams and their shards: what is made, changed, listed and refused.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ScalingType, ShardFilter, ShardFilterType, StreamMode, StreamModeDetails, StreamStatus,
};
use tokio::time::sleep;

use super::common::{Kinesis, entry, range, shard};
use crate::common::{ACCOUNT, code, seconds};

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().unwrap()
}

impl Kinesis {
    /// The hash key ranges of the open shards.
    async fn open(&self) -> Vec<(u128, u128)> {
        let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().unwrap();
        let list = self.client.list_shards().stream_name("s").shard_filter(filter);
        let shards = list.send().await.unwrap().shards.unwrap();
        let mut ranges: Vec<(u128, u128)> = shards.iter().map(range).collect();
        ranges.sort_unstable();
        ranges
    }

    async fn scale(&self, target: i32) -> String {
        let update = self.client.update_shard_count().stream_name("s").target_shard_count(target);
        let outcome = update.scaling_type(ScalingType::UniformScaling).send().await;
        self.settle().await;
        outcome.map_or_else(|error| code::<(), _>(Err(error)), |_| "done".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn scaling_makes_shards_of_equal_width() {
    let kinesis = Kinesis::with_shards(2).await;
    for (target, outcome) in [
        (5, "InvalidArgumentException"),
        (4, "done"),
        (1, "InvalidArgumentException"),
        (6, "done"),
        (3, "done"),
        (5, "done"),
    ] {
        assert_eq!(kinesis.scale(target).await, outcome, "{target}");
        let open = kinesis.open().await;
        assert!(open.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{open:?}");
        assert_eq!((open[0].0, open[open.len() - 1].1), (0, u128::MAX));
        if outcome == "done" {
            assert_eq!(open.len(), target as usize);
            let width = open[0].1;
            assert!(open.iter().all(|(start, end)| (end - start).abs_diff(width) < 10), "{open:?}");
        }
        kinesis.put(&[("a", "1"), ("b", "2")]).await;
    }
    for _ in 0..6 {
        assert_eq!(kinesis.scale(5).await, "done");
    }
    assert_eq!(kinesis.scale(5).await, "LimitExceededException");
    sleep(seconds(24 * 3_600)).await;
    assert_eq!(kinesis.scale(5).await, "done");
}

#[tokio::test(start_paused = true)]
async fn while_a_stream_is_resharded_it_is_used_and_not_resharded_again() {
    let kinesis = Kinesis::with_shards(1).await;
    let split = || {
        let split = kinesis.client.split_shard().stream_name("s").shard_to_split(shard(0));
        split.new_starting_hash_key("1000").send()
    };
    split().await.unwrap();
    let summary = kinesis.client.describe_stream_summary().stream_name("s").send().await.unwrap();
    let status = summary.stream_description_summary.unwrap().stream_status;
    assert_eq!(status, StreamStatus::Updating);
    assert_eq!(code(split().await), "ResourceInUseException");
    assert_eq!(kinesis.scale(2).await, "ResourceInUseException");
    kinesis.put(&[("k", "1")]).await;
    assert_eq!(kinesis.shards().await.len(), 3);
    // The shard is closed, and there is nothing of it left to split.
    assert_eq!(code(split().await), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn shards_that_cannot_be_split_or_merged_are_left_alone() {
    let kinesis = Kinesis::with_shards(4).await;
    let (_, end) = kinesis.open().await[0];
    for key in ["0", "1", &end.to_string(), &(end + 1).to_string()] {
        let split = kinesis.client.split_shard().stream_name("s").shard_to_split(shard(0));
        let split = split.new_starting_hash_key(key).send().await;
        assert_eq!(code(split), "InvalidArgumentException", "{key}");
        sleep(seconds(1)).await;
    }
    let merge = kinesis.client.merge_shards().stream_name("s").shard_to_merge(shard(0));
    let merge = merge.adjacent_shard_to_merge(shard(2)).send().await;
    assert_eq!(code(merge), "InvalidArgumentException");
    let merge = kinesis.client.merge_shards().stream_name("s").shard_to_merge(shard(0));
    let merge = merge.adjacent_shard_to_merge(shard(7)).send().await;
    assert_eq!(code(merge), "ResourceNotFoundException");
    // In either order.
    kinesis.merge(&shard(1), &shard(0)).await;
    assert_eq!(kinesis.open().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hash_key_belongs_to_the_child_whose_range_it_is_in() {
    let kinesis = Kinesis::with_shards(1).await;
    let split = kinesis.client.split_shard().stream_name("s").shard_to_split(shard(0));
    split.new_starting_hash_key("1000").send().await.unwrap();
    kinesis.settle().await;
    for (hash_key, number) in [(0, 1), (999, 1), (1_000, 2), (u128::MAX, 2)] {
        let put = kinesis.client.put_record().stream_name("s").partition_key("k");
        let put = put.data(Blob::new("x")).explicit_hash_key(hash_key.to_string());
        assert_eq!(put.send().await.unwrap().shard_id, shard(number), "{hash_key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_demand_begins_with_four_shards_and_is_not_resharded_by_hand() {
    let kinesis = Kinesis::new();
    let create = kinesis.client.create_stream().stream_name("s");
    create.stream_mode_details(mode(StreamMode::OnDemand)).send().await.unwrap();
    kinesis.settle().await;
    assert_eq!(kinesis.open().await.len(), 4);
    assert_eq!(kinesis.scale(8).await, "ValidationException");
    let arn = format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s");
    let update = kinesis.client.update_stream_mode().stream_arn(arn);
    update.stream_mode_details(mode(StreamMode::Provisioned)).send().await.unwrap();
    kinesis.settle().await;
    assert_eq!(kinesis.scale(8).await, "done");
}

#[tokio::test(start_paused = true)]
async fn shards_are_listed_in_pages_whose_tokens_expire() {
    let kinesis = Kinesis::with_shards(5).await;
    let page = |token: Option<&str>| {
        let list = kinesis.client.list_shards().max_results(2);
        let list = match token {
            None => list.stream_name("s"),
            Some(token) => list.next_token(token),
        };
        list.send()
    };
    let (mut ids, mut token) = (Vec::new(), None::<String>);
    loop {
        let output = page(token.as_deref()).await.unwrap();
        ids.extend(output.shards().iter().map(|shard| shard.shard_id().to_owned()));
        token = output.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(ids, (0..5).map(shard).collect::<Vec<_>>());
    let token = page(None).await.unwrap().next_token.unwrap();
    sleep(seconds(301)).await;
    assert_eq!(code(page(Some(&token)).await), "ExpiredNextTokenException");
    assert_eq!(code(page(Some("x")).await), "InvalidArgumentException");
    let both = kinesis.client.list_shards().stream_name("s").next_token(&token).send().await;
    assert_eq!(code(both), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn shards_are_listed_by_filter() {
    let kinesis = Kinesis::with_shards(2).await;
    sleep(seconds(3_600)).await;
    kinesis.split(&shard(0)).await;
    let list = |filter: ShardFilterType, id: Option<u32>| {
        let filter = ShardFilter::builder().r#type(filter).set_shard_id(id.map(shard)).build();
        let list = kinesis.client.list_shards().stream_name("s").shard_filter(filter.unwrap());
        async move {
            let shards = list.send().await.unwrap().shards.unwrap();
            let number = |id: &str| id[8..].parse::<u32>().unwrap();
            shards.iter().map(|shard| number(shard.shard_id())).collect::<Vec<u32>>()
        }
    };
    assert_eq!(list(ShardFilterType::AtLatest, None).await, [1, 2, 3]);
    assert_eq!(list(ShardFilterType::FromTrimHorizon, None).await, [0, 1, 2, 3]);
    assert_eq!(list(ShardFilterType::AtTrimHorizon, None).await, [0, 1]);
    assert_eq!(list(ShardFilterType::AfterShardId, Some(1)).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_gone_with_its_iterators_and_its_name_is_free() {
    let kinesis = Kinesis::with_shards(1).await;
    kinesis.put(&[("k", "1")]).await;
    let latest = aws_sdk_kinesis::types::ShardIteratorType::Latest;
    let iterator = kinesis.iterator(&shard(0), latest).await;
    kinesis.client.delete_stream().stream_name("s").send().await.unwrap();
    let create = || kinesis.client.create_stream().stream_name("s").shard_count(1).send();
    assert_eq!(code(create().await), "ResourceInUseException");
    kinesis.settle().await;
    create().await.unwrap();
    kinesis.settle().await;
    let get = kinesis.client.get_records().shard_iterator(iterator).send().await;
    assert_eq!(code(get), "ResourceNotFoundException");
    assert!(kinesis.sim.stream_records("s").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_by_name_or_arn_or_both() {
    let kinesis = Kinesis::with_shards(1).await;
    let arn =
        |name: &str, account: &str| format!("arn:aws:kinesis:us-east-1:{account}:stream/{name}");
    let put = |name: Option<&str>, arn: Option<String>| {
        let put = kinesis.client.put_record().partition_key("k").data(Blob::new("x"));
        put.set_stream_name(name.map(Into::into)).set_stream_arn(arn).send()
    };
    put(Some("s"), Some(arn("s", ACCOUNT))).await.unwrap();
    put(None, Some(arn("s", ACCOUNT))).await.unwrap();
    for (name, arn, expected) in [
        (None, None, "InvalidArgumentException"),
        (Some("other"), Some(arn("s", ACCOUNT)), "InvalidArgumentException"),
        (None, Some(arn("other", ACCOUNT)), "ResourceNotFoundException"),
        (None, Some(arn("s", "111111111111")), "AccessDeniedException"),
        (None, Some("s".to_owned()), "ValidationException"),
        (Some("no name"), None, "ValidationException"),
    ] {
        let was = format!("{name:?} {arn:?}");
        assert_eq!(code(put(name, arn).await), expected, "{was}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_are_none_refuse_the_call() {
    let kinesis = Kinesis::with_shards(1).await;
    let long = "k".repeat(257);
    let large = vec![0; 1_048_576];
    let many = vec![entry("k", b"x"); 501];
    let too_much = vec![entry("k", &large[1..]); 11];
    for (entries, expected) in [
        (vec![], "ValidationException"),
        (many, "ValidationException"),
        (vec![entry("k", b"x"), entry(&long, b"x")], "ValidationException"),
        (vec![entry("", b"x")], "ValidationException"),
        (vec![entry("k", &large)], "ValidationException"), // with its key it is over a mebibyte
        (too_much, "InvalidArgumentException"),
    ] {
        let put = kinesis.client.put_records().stream_name("s").set_records(Some(entries));
        assert_eq!(code(put.send().await), expected);
    }
    assert!(kinesis.sim.stream_records("s").is_empty());
    kinesis.put(&[(&"é".repeat(256), "x")]).await;
}

#[tokio::test(start_paused = true)]
async fn sequence_number_for_ordering_has_to_be_one() {
    let kinesis = Kinesis::with_shards(1).await;
    let put = |number: Option<String>| {
        let put = kinesis.client.put_record().stream_name("s").partition_key("k");
        put.data(Blob::new("x")).set_sequence_number_for_ordering(number).send()
    };
    let first = put(None).await.unwrap();
    let second = put(Some(first.sequence_number.clone())).await.unwrap();
    assert!(second.sequence_number > first.sequence_number);
    assert_eq!(code(put(Some("7".to_owned())).await), "InvalidArgumentException");
    assert_eq!(code(put(Some("seven".to_owned())).await), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn streams_are_described_listed_and_tagged() {
    let kinesis = Kinesis::with_shards(3).await;
    kinesis.client.create_stream().stream_name("t").shard_count(1).send().await.unwrap();
    let described = kinesis.client.describe_stream().stream_name("s").limit(2).send().await;
    let described = described.unwrap().stream_description.unwrap();
    assert_eq!((described.shards.len(), described.has_more_shards), (2, true));
    assert_eq!(described.retention_period_hours, 24);
    let rest = kinesis.client.describe_stream().stream_name("s");
    let rest = rest.exclusive_start_shard_id(shard(1)).send().await.unwrap();
    assert_eq!(rest.stream_description.unwrap().shards.len(), 1);
    let listed = kinesis.client.list_streams().limit(1).send().await.unwrap();
    assert_eq!((listed.stream_names(), listed.has_more_streams()), (&["s".to_owned()][..], true));
    let next = listed.next_token().unwrap();
    let listed = kinesis.client.list_streams().next_token(next).send().await.unwrap();
    assert_eq!((listed.stream_names(), listed.has_more_streams()), (&["t".to_owned()][..], false));

    let add = kinesis.client.add_tags_to_stream().stream_name("s").tags("a", "1").tags("b", "2");
    add.send().await.unwrap();
    let remove = kinesis.client.remove_tags_from_stream().stream_name("s").tag_keys("a");
    remove.send().await.unwrap();
    let tags = kinesis.client.list_tags_for_stream().stream_name("s").send().await.unwrap();
    assert_eq!((tags.tags()[0].key(), tags.tags()[0].value()), ("b", Some("2")));
    let encrypt = kinesis.client.stop_stream_encryption().stream_name("s").key_id("k");
    let encrypt = encrypt.encryption_type(aws_sdk_kinesis::types::EncryptionType::None);
    assert_eq!(code(encrypt.send().await), "UnknownOperationException");
}
