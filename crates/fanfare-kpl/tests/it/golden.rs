//! Bytes made by others, and ours read by others: `tests/golden/README.md`.

use std::{fs, path::PathBuf};

use fanfare_kpl::{Aggregator, hash_key};

use super::{Case, aggregate};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden", name].iter().collect()
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn cases() -> Vec<(&'static str, Case)> {
    let plain = |key: &str, data: &[u8]| (key.to_string(), None, data.to_vec());
    let thousand = (0..1_000usize).map(|i| {
        let data: Vec<u8> = (0..i % 150).map(|j| j as u8).collect();
        plain(&format!("key-{}", i % 300), &data)
    });
    let repeated = ["a", "b", "a", "c", "a"].iter().zip(0..).map(|(key, i)| plain(key, &[i]));
    vec![
        ("one", vec![plain("order-1", b"placed")]),
        ("empty", vec![plain("order-1", b"")]),
        ("unicode", vec![plain("schlüssel", "grüße".as_bytes()), plain("鍵 🔑", "🔑".as_bytes())]),
        ("repeated", repeated.collect()),
        (
            "hashed",
            vec![
                ("a".into(), Some(0), b"1".to_vec()),
                plain("b", b"2"),
                ("a".into(), Some(u128::MAX), b"3".to_vec()),
                ("c".into(), Some(0), b"4".to_vec()),
            ],
        ),
        ("thousand", thousand.collect()),
    ]
}

/// 150 records of all cases but the one with explicit hash keys: without one for each record, the
/// decoder in Python gives all of them the first.
fn marked() -> (Aggregator, Case) {
    let cases = cases().into_iter().filter(|(name, _)| *name != "hashed");
    let all: Case = cases.flat_map(|(_, case)| case).take(150).collect();
    let mut aggregator = Aggregator::new().marked();
    for (key, hash_key, data) in &all {
        aggregator.add(key, *hash_key, data);
    }
    (aggregator, all)
}

#[test]
fn what_others_made_is_read() {
    for (name, case) in cases() {
        let aggregate = aggregate(golden(&format!("{name}.bin")));
        assert!(!aggregate.marked, "{name}");
        assert_eq!(aggregate.records.len(), case.len(), "{name}");
        for (place, (record, (key, hash, data))) in aggregate.records.iter().zip(&case).enumerate()
        {
            assert_eq!(record.sub_sequence, place as u64, "{name}");
            assert_eq!(*record.partition_key, **key, "{name} {place}");
            assert_eq!(record.hash_key, hash.unwrap_or(hash_key(key)), "{name} {place}");
            assert_eq!(record.data, *data, "{name} {place}");
        }
    }
}

#[test]
fn ours_is_theirs_byte_for_byte() {
    for (name, case) in cases() {
        let mut aggregator = Aggregator::new();
        for (key, hash_key, data) in &case {
            aggregator.add(key, *hash_key, data);
        }
        let theirs = golden(&format!("{name}.bin"));
        assert_eq!(aggregator.size(), theirs.len(), "{name}");
        let ours = aggregator.finish().unwrap();
        assert!(ours.data == theirs, "{name}");
        let (key, hash, _) = &case[0];
        assert_eq!(ours.partition_key, *key, "{name}");
        assert_eq!(ours.explicit_hash_key, hash.unwrap_or(hash_key(key)), "{name}");
    }
}

#[test]
fn a_marked_aggregate_is_read_by_others() {
    let (aggregator, case) = marked();
    let ours = aggregator.finish().unwrap();
    assert!(ours.data == golden("marked.bin"), "written anew? then have others read it anew");
    assert!(aggregate(ours.data).marked);
    let expected: String = case
        .iter()
        .map(|(key, _, data)| format!("{} {}\n", hex::encode(key), hex::encode(data)))
        .collect();
    for reader in ["python", "node"] {
        let read = String::from_utf8(golden(&format!("marked.{reader}.txt"))).unwrap();
        assert!(read == expected, "{reader} reads something else");
    }
}

#[test]
#[ignore = "writes tests/golden/marked.bin, for others to read"]
fn write_marked() {
    fs::write(path("marked.bin"), marked().0.finish().unwrap().data).unwrap();
}
