//! A backlog against answers of every kind, in any order.

use std::collections::HashSet;

use fanfare_core::Destination;
use proptest::prelude::*;

use super::*;
use crate::{limits::AGGREGATE_BYTES, publisher::stream::shards::Listed};

const REQUESTS: usize = 3;

fn message(key: u8, number: usize, bytes: usize) -> Message {
    let destination = Destination::Topic("orders".into());
    let body = format!("{number:>bytes$}");
    Message::new(destination, format!("id-{number}"), "t", format!("k{key}"), vec![], body)
}

fn map(shards: u128) -> ShardMap {
    let width = u128::MAX / shards;
    let listed = (0..shards).map(|i| {
        let end = if i == shards - 1 { u128::MAX } else { (i + 1) * width - 1 };
        Listed { id: format!("s{i}"), range: i * width..=end, open: true }
    });
    ShardMap::new(listed.collect(), None, Instant::now()).unwrap()
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Accepted,
    Again,
    Alone,
    Failed,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Accepted),
        3 => Just(Fate::Again),
        1 => Just(Fate::Alone),
        1 => Just(Fate::Failed),
    ]
}

/// Everything that is packed and sent holds to the rules until nothing is left.
fn play(
    events: &[(u8, usize)],
    aggregated: bool,
    shards: u128,
    fates: &[(usize, Fate)],
) -> Result<(), TestCaseError> {
    let messages: Vec<_> =
        events.iter().enumerate().map(|(i, (key, bytes))| message(*key, i, *bytes)).collect();
    let map = map(shards);
    let (mut now, indices) = (Instant::now(), (0..messages.len()).collect());
    let (mut backlog, refused) = Backlog::new(&messages, indices, aggregated, now);
    prop_assert!(refused.is_empty());
    let mut under_way: Vec<Vec<Record>> = Vec::new();
    let (mut accepted, mut failed) = (Vec::new(), HashSet::new());
    let mut fates = fates.iter().copied().chain(std::iter::repeat((0, Fate::Accepted)));
    loop {
        backlog.pack(&map, now, (REQUESTS - under_way.len()) * STREAM_RECORDS);
        under_way.extend(backlog.requests(now, REQUESTS - under_way.len()));
        prop_assert!(under_way.len() <= REQUESTS);
        let mut keys = HashSet::new();
        for request in &under_way {
            prop_assert!(!request.is_empty() && request.len() <= STREAM_RECORDS);
            prop_assert!(
                request.iter().map(|record| record.bytes).sum::<usize>() <= STREAM_REQUEST_BYTES
            );
            prop_assert!(request.len() == 1 || !request.iter().any(Record::is_alone));
            for record in request {
                let indices: Vec<_> = record.events.iter().map(|event| event.left.index).collect();
                prop_assert!(indices.is_sorted());
                let here: HashSet<_> = record.events.iter().map(|event| event.key).collect();
                prop_assert!(here.iter().all(|key| keys.insert(*key)), "a key is in two records");
                prop_assert!(aggregated || record.events.len() == 1);
                // Its bytes are those of the aggregate, and of its first event's key.
                let key = &messages[indices[0]].key;
                let aggregate = record.bytes - key.len();
                prop_assert!(!record.is_aggregate() || aggregate <= AGGREGATE_BYTES);
                let shard_of = |key: &usize| map.shard_of(backlog.keys[*key].hash_key);
                prop_assert!(here.iter().all(|key| Arc::ptr_eq(shard_of(key), &record.shard)));
            }
        }
        if under_way.is_empty() {
            let Some(next) = backlog.next(now) else { break };
            now = next;
            continue;
        }
        let (index, _) = fates.next().unwrap();
        for mut record in under_way.swap_remove(index % under_way.len()) {
            let bytes = record.bytes;
            let entry = backlog.entry(&mut record).unwrap();
            let size = entry.data().as_ref().len() + entry.partition_key().map_or(0, str::len);
            prop_assert!(size == bytes || (!record.is_aggregate() && size < bytes));
            backlog.land(&record);
            let (_, fate) = fates.next().unwrap();
            match fate {
                Fate::Accepted => {
                    accepted.extend(record.events.iter().map(|event| event.left.index));
                }
                Fate::Again => backlog.put_back(record.events, now + PORTION),
                Fate::Alone => {
                    let alone = |event: &Event| {
                        let mut event = *event;
                        event.left.alone = true;
                        event
                    };
                    backlog.put_back(record.events.iter().map(alone).collect(), now);
                }
                Fate::Failed => {
                    for event in record.events {
                        failed.insert(event.left.index);
                        backlog.fail(&event);
                    }
                    failed.extend(backlog.take_blocked().into_iter().map(|(index, _)| index));
                }
            }
        }
    }
    let mut all: Vec<_> = accepted.iter().chain(&failed).copied().collect();
    all.sort_unstable();
    prop_assert_eq!(all, (0..messages.len()).collect::<Vec<_>>(), "each event once");
    for key in 0..=u8::MAX {
        let of_key = |index: &&usize| events[**index].0 == key;
        let accepted: Vec<_> = accepted.iter().filter(of_key).collect();
        prop_assert!(accepted.is_sorted(), "{key}: {accepted:?}");
        let first_failure = failed.iter().filter(of_key).min();
        prop_assert!(first_failure.is_none_or(|first| accepted.iter().all(|index| *index < first)));
    }
    Ok(())
}

proptest! {
    #[test]
    fn each_event_goes_once_in_the_order_of_its_key_within_all_limits(
        events in prop::collection::vec(
            (0u8..12, prop_oneof![9 => 5usize..4_000, 1 => 30_000usize..60_000]),
            0..200,
        ),
        aggregated: bool,
        shards in 1u128..4,
        fates in prop::collection::vec((any::<usize>(), fate()), 0..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _clock = runtime.enter();
        play(&events, aggregated, shards, &fates)?;
    }
}
