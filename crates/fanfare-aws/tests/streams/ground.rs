//! A stream in the simulator, events for it, and what became of them there.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use fanfare_aws::{Aws, AwsPublisher, provision};
use fanfare_core::{Destination, Message};
use fanfare_kpl::{Opened, UserRecord, hash_key, open};
use fanfare_sim::Sim;
use fanfare_topology::{Kinesis, Topology};

pub(crate) const STREAM: &str = "shop-orders";

pub(crate) struct Ground {
    pub(crate) sim: Sim,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    pub(crate) aws: Aws,
    pub(crate) publisher: AwsPublisher,
}

/// An event, where it came to lie.
#[derive(Debug, Clone)]
pub(crate) struct Landed {
    pub(crate) key: String,
    pub(crate) number: usize,
    pub(crate) arrival: SystemTime,
}

/// The `number`-th event, of this key, with a body of so many bytes.
pub(crate) fn message(key: &str, number: usize, bytes: usize) -> Message {
    let (id, destination) = (format!("id-{number}"), Destination::Topic("orders".into()));
    let mut body = format!("{key}/{number}/");
    body.extend(std::iter::repeat_n(' ', bytes.saturating_sub(body.len())));
    Message::new(destination, id, "shop.orders.OrderPlaced.v1", key, vec![], body)
}

impl Ground {
    pub(crate) async fn new(stream: Kinesis) -> Ground {
        let topology = Topology::new("shop").topic("orders", stream);
        let sim = Sim::new();
        let config = sim.sdk_config();
        let aws = Aws::new(&config, "000000000000").unwrap();
        provision(&aws, &topology).await.unwrap();
        let kinesis = aws_sdk_kinesis::Client::new(&config);
        let publisher = AwsPublisher::new(aws.clone(), topology.bindings());
        Ground { sim, kinesis, aws, publisher }
    }

    pub(crate) fn count(&self, action: &str) -> u64 {
        self.sim.requests().count(action)
    }

    /// The open shards and their ranges, in the order of these.
    pub(crate) async fn open_shards(&self) -> Vec<(String, RangeInclusive<u128>)> {
        let mut open: Vec<_> = self.shards().await;
        open.retain(|(_, _, open)| *open);
        open.sort_by_key(|(_, range, _)| *range.start());
        open.into_iter().map(|(id, range, _)| (id, range)).collect()
    }

    async fn shards(&self) -> Vec<(String, RangeInclusive<u128>, bool)> {
        let answer = self.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
        let shard = |shard: &aws_sdk_kinesis::types::Shard| {
            let range = shard.hash_key_range().unwrap();
            let number = |text: &str| text.parse::<u128>().unwrap();
            let range = number(range.starting_hash_key())..=number(range.ending_hash_key());
            let numbers = shard.sequence_number_range().unwrap();
            (shard.shard_id().to_string(), range, numbers.ending_sequence_number().is_none())
        };
        answer.shards().iter().map(shard).collect()
    }

    /// Splits the `place`-th open shard in the middle, and waits until that is done.
    pub(crate) async fn split(&self, place: usize) {
        let (id, range) = self.open_shards().await.swap_remove(place);
        let middle = range.start() + (range.end() - range.start()) / 2;
        let request = self.kinesis.split_shard().stream_name(STREAM).shard_to_split(id);
        request.new_starting_hash_key(middle.to_string()).send().await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }

    /// Merges the `place`-th open shard with the next one, and waits until that is done.
    pub(crate) async fn merge(&self, place: usize) {
        let open = self.open_shards().await;
        let request = self.kinesis.merge_shards().stream_name(STREAM);
        let request = request.shard_to_merge(&open[place].0);
        request.adjacent_shard_to_merge(&open[place + 1].0).send().await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }

    /// So many keys that lie in the `place`-th of `shards` equal shards.
    pub(crate) fn keys_in(place: usize, shards: usize, count: usize) -> Vec<String> {
        let width = u128::MAX / shards as u128 + 1;
        let keys = (0..).map(|i| format!("{place}-{i}"));
        keys.filter(|key| hash_key(key) / width == place as u128).take(count).collect()
    }

    /// How many records the stream has.
    pub(crate) fn records(&self) -> usize {
        self.sim.stream_records(STREAM).len()
    }

    /// What a consumer gets that drops an aggregate with events that its shard does not own, as the
    /// Kinesis Client Library does: of each key in its order.
    pub(crate) async fn landed(&self) -> Vec<Landed> {
        self.read(|records, range| match records.iter().all(|r| range.contains(&r.hash_key)) {
            true => records,
            false => Vec::new(),
        })
        .await
    }

    /// What a consumer gets that drops only the events that the shard does not own.
    pub(crate) async fn landed_by_event(&self) -> Vec<Landed> {
        self.read(|mut records, range| {
            records.retain(|record| range.contains(&record.hash_key));
            records
        })
        .await
    }

    async fn read(
        &self,
        keep: impl Fn(Vec<UserRecord>, &RangeInclusive<u128>) -> Vec<UserRecord>,
    ) -> Vec<Landed> {
        let shards = self.shards().await;
        let ranges: HashMap<_, _> = shards.iter().map(|(id, range, _)| (id, range)).collect();
        let mut records = self.sim.stream_records(STREAM);
        // A key's records are in a shard, its children and theirs: the numbers grow along that way.
        records.sort_by(|a, b| a.sequence_number.cmp(&b.sequence_number));
        let mut landed = Vec::new();
        for record in records {
            let range = ranges[&record.shard_id];
            let arrival = record.arrival;
            match open(record.data).unwrap() {
                Opened::Plain(data) => {
                    assert!(range.contains(&hash_key(&record.partition_key)));
                    landed.push(Landed::of(&data, arrival));
                }
                Opened::Aggregate(aggregate) => {
                    assert!(aggregate.marked);
                    let kept = keep(aggregate.records, range);
                    landed.extend(kept.iter().map(|record| Landed::of(&record.data, arrival)));
                }
            }
        }
        landed
    }

    /// The numbers of each key, in the order in which they appear first.
    pub(crate) async fn by_key(&self) -> BTreeMap<String, Vec<usize>> {
        let (all, by_event) = (self.landed().await, self.landed_by_event().await);
        let firsts = first_occurrences(all);
        for (key, numbers) in first_occurrences(by_event) {
            let known: Vec<_> = numbers
                .iter()
                .filter(|n| firsts.get(&key).is_some_and(|k| k.contains(n)))
                .collect();
            assert!(known.is_sorted(), "{key}: {numbers:?}, event by event");
        }
        firsts
    }
}

fn first_occurrences(landed: Vec<Landed>) -> BTreeMap<String, Vec<usize>> {
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for Landed { key, number, .. } in landed {
        let numbers = by_key.entry(key).or_default();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    by_key
}

impl Landed {
    fn of(data: &[u8], arrival: SystemTime) -> Self {
        let mut parts = std::str::from_utf8(data).unwrap().split('/');
        let key = parts.next().unwrap().to_string();
        Landed { key, number: parts.next().unwrap().parse().unwrap(), arrival }
    }
}
