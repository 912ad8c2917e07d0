//! What is packed: sizes, marks, and the way there and back.

use fanfare_kpl::{Aggregator, hash_key};
use proptest::prelude::*;

use super::{Case, aggregate};

fn records() -> impl Strategy<Value = Case> {
    let hash = prop_oneof![Just(None), Just(Some(0)), any::<u128>().prop_map(Some)];
    let data = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::vec(("[a-c鍵]{0,3}", hash, data), 1..200)
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked_and_every_size_was_known_before(
        case in records(),
        marked: bool,
    ) {
        let mut aggregator = Aggregator::new();
        if marked {
            aggregator = aggregator.marked();
        }
        for (key, hash, data) in &case {
            let expected = aggregator.size_with(key, *hash, data.len());
            aggregator.add(key, *hash, data);
            prop_assert_eq!(aggregator.size(), expected);
        }
        prop_assert_eq!(aggregator.len(), case.len());
        let size = aggregator.size();
        let packed = aggregator.finish().unwrap();
        prop_assert_eq!(packed.data.len(), size);
        let aggregate = aggregate(packed.data);
        prop_assert_eq!(aggregate.marked, marked);
        let unpacked: Vec<_> = aggregate
            .records
            .into_iter()
            .map(|record| (record.partition_key.to_string(), record.hash_key, record.data.to_vec()))
            .collect();
        let expected: Vec<_> = case
            .into_iter()
            .map(|(key, hash, data)| (key.clone(), hash.unwrap_or(hash_key(&key)), data))
            .collect();
        prop_assert_eq!(unpacked, expected);
    }
}

#[test]
fn an_aggregate_of_nothing_is_none() {
    assert!(Aggregator::new().is_empty());
    assert_eq!(Aggregator::new().finish(), None);
}

#[test]
fn a_key_that_repeats_is_written_once() {
    let mut aggregator = Aggregator::new();
    let key = "k".repeat(256);
    aggregator.add(&key, Some(u128::MAX), b"");
    let one = aggregator.size();
    aggregator.add(&key, Some(u128::MAX), b"");
    assert_eq!(aggregator.size() - one, 8, "two indices, no data, and what frames them");
}

#[test]
fn a_hash_key_is_the_md5_of_the_partition_key() {
    assert_eq!(hash_key(""), 0xd41d8cd9_8f00b204_e9800998_ecf8427e);
    assert_eq!(hash_key("schlüssel"), 0x2686b00b_6f0a6edb_9ac2478c_78ce72ca);
}
