//! Whatever is done to a stream, each record is read once, and a key's in the order they were put.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kinesis::types::{Record, ScalingType, Shard};
use proptest::prelude::*;
use tokio::time::sleep;

use super::common::{Kinesis, range};
use crate::common::seconds;

#[derive(Debug, Clone)]
enum Step {
    /// Records with these keys.
    Put(Vec<u8>),
    /// Splits the open shard with this index, counted round.
    Split(usize),
    /// Merges the open shard with this index with the next one.
    Merge(usize),
    /// To this many shards, if that is allowed.
    Scale(i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(0..12_u8, 1..20).prop_map(Step::Put),
        2 => any::<usize>().prop_map(Step::Split),
        2 => any::<usize>().prop_map(Step::Merge),
        1 => (1..6).prop_map(Step::Scale),
    ];
    proptest::collection::vec(step, 1..25)
}

/// The open shards in the order of their hash keys.
fn open(shards: &[Shard]) -> Vec<&Shard> {
    let is_open = |shard: &&Shard| {
        let numbers = shard.sequence_number_range();
        numbers.is_some_and(|numbers| numbers.ending_sequence_number().is_none())
    };
    let mut open: Vec<&Shard> = shards.iter().filter(is_open).collect();
    open.sort_by_key(|shard| range(shard));
    open
}

async fn perform(kinesis: &Kinesis, step: Step, put: &mut BTreeMap<String, Vec<String>>) {
    match step {
        Step::Put(keys) => {
            let serial = put.values().map(Vec::len).sum::<usize>();
            let numbered = keys.iter().enumerate();
            let records: Vec<(String, String)> =
                numbered.map(|(n, key)| (format!("key-{key}"), (serial + n).to_string())).collect();
            let entries: Vec<(&str, &str)> =
                records.iter().map(|(key, data)| (key.as_str(), data.as_str())).collect();
            assert_eq!(kinesis.put(&entries).await.failed_record_count(), Some(0));
            for (key, data) in records {
                put.entry(key).or_default().push(data);
            }
        }
        Step::Split(n) => {
            let shards = kinesis.shards().await;
            let open = open(&shards);
            let shard = open[n % open.len()];
            let (start, end) = range(shard);
            if end - start > 4 {
                kinesis.split(shard.shard_id()).await;
            }
        }
        Step::Merge(n) => {
            let shards = kinesis.shards().await;
            let open = open(&shards);
            if open.len() > 1 {
                let n = n % (open.len() - 1);
                kinesis.merge(open[n].shard_id(), open[n + 1].shard_id()).await;
            }
        }
        Step::Scale(target) => {
            let update = kinesis.client.update_shard_count().stream_name("s");
            let update = update.target_shard_count(target);
            let _ = update.scaling_type(ScalingType::UniformScaling).send().await;
            kinesis.settle().await;
        }
    }
}

/// Reads the whole stream, each shard after its parents.
async fn drain(kinesis: &Kinesis) -> Vec<Record> {
    let shards = kinesis.shards().await;
    let mut waiting: Vec<&Shard> = shards.iter().collect();
    let (mut done, mut records) = (BTreeSet::new(), Vec::new());
    while !waiting.is_empty() {
        let (ready, rest): (Vec<&Shard>, Vec<&Shard>) = waiting.iter().partition(|shard| {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            parents.into_iter().flatten().all(|parent| done.contains(parent))
        });
        assert!(!ready.is_empty(), "shards without parents: {rest:?}");
        for shard in ready {
            records.extend(kinesis.read(shard.shard_id()).await);
            done.insert(shard.shard_id());
        }
        waiting = rest;
    }
    records
}

async fn check(steps: Vec<Step>) {
    let kinesis = Kinesis::with_shards(2).await;
    let mut put = BTreeMap::new();
    for step in steps {
        perform(&kinesis, step, &mut put).await;
        sleep(seconds(1)).await;
    }
    let shards = kinesis.shards().await;
    let ranges: Vec<(u128, u128)> = open(&shards).into_iter().map(range).collect();
    assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, u128::MAX));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");

    let (mut read, mut numbers) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::new());
    for record in drain(&kinesis).await {
        let data = String::from_utf8(record.data.into_inner()).unwrap();
        let key = record.partition_key.unwrap();
        let earlier = numbers.insert(key.clone(), record.sequence_number.clone());
        // Numbers of a key grow, over splits and merges too.
        assert!(earlier.is_none_or(|earlier| earlier < record.sequence_number));
        read.entry(key).or_default().push(data);
    }
    assert_eq!(read, put);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn each_record_is_read_once_and_a_keys_in_order(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(check(steps));
    }
}
