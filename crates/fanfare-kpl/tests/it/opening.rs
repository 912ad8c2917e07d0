//! Bytes as they may come from anywhere.

use bytes::Bytes;
use fanfare_kpl::{Aggregator, OpenError, Opened, open};
use md5::{Digest, Md5};
use proptest::prelude::*;

use super::aggregate;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// `protobuf` with magic and MD5 around it.
fn framed(protobuf: &[u8]) -> Bytes {
    [&MAGIC[..], protobuf, &Md5::digest(protobuf)].concat().into()
}

fn packed(records: usize) -> Bytes {
    let mut aggregator = Aggregator::new();
    for i in 0..records {
        aggregator.add(&format!("k{}", i % 7), (i % 3 == 0).then_some(i as u128), &[7; 20]);
    }
    aggregator.finish().unwrap().data
}

#[test]
fn what_is_no_aggregate_is_passed_on_as_it_came() {
    let whole = packed(3);
    let mut other_magic = whole.to_vec();
    other_magic[0] = 0;
    let mut other_sum = whole.to_vec();
    *other_sum.last_mut().unwrap() ^= 1;
    let mut changed = whole.to_vec();
    changed[10] ^= 1;
    let cases: [Bytes; 8] = [
        Bytes::new(),
        Bytes::from_static(b"{\"specversion\":\"1.0\"}"),
        Bytes::copy_from_slice(&MAGIC),
        whole.slice(..whole.len() - 1),
        framed(b""), // as the Kinesis Client Library has it
        other_magic.into(),
        other_sum.into(),
        changed.into(),
    ];
    for data in cases {
        assert_eq!(open(data.clone()), Ok(Opened::Plain(data)));
    }
}

#[test]
fn an_aggregate_that_its_producer_broke_is_an_error_that_says_what() {
    let no_such_key = |table, index| OpenError::NoSuchKey { record: 0, table, index, entries: 1 };
    let cases: [(&[u8], OpenError); 8] = [
        (b"\x0a\x01k\x1a\x02\x08\x00", OpenError::Incomplete { record: 0, field: "data" }),
        (
            b"\x0a\x01k\x1a\x03\x1a\x01d",
            OpenError::Incomplete { record: 0, field: "partition_key_index" },
        ),
        (b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01d", no_such_key("partition_key_table", 1)),
        (
            b"\x0a\x01k\x12\x011\x1a\x07\x08\x00\x10\x01\x1a\x01d",
            no_such_key("explicit_hash_key_table", 1),
        ),
        (
            b"\x0a\x01k\x1a\x0e\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01d",
            no_such_key("partition_key_table", u64::MAX),
        ),
        (b"\x0a\x01k\x12\x02+1", OpenError::NotAHashKey { index: 0 }),
        (b"\x0a\x01k\x12\x00", OpenError::NotAHashKey { index: 0 }),
        (b"\x12\x27340282366920938463463374607431768211456", OpenError::NotAHashKey { index: 0 }),
    ];
    for (protobuf, error) in cases {
        assert_eq!(open(framed(protobuf)), Err(error));
    }
    for undecodable in [&b"\x0a\x02k"[..], b"\x1a\x01\x08", b"\x0a\x01\xff", b"\xff\xff", b"hello"]
    {
        let error = open(framed(undecodable)).unwrap_err();
        assert!(matches!(error, OpenError::Undecodable(_)), "{error}");
    }
}

#[test]
fn fields_and_tags_of_others_are_skipped() {
    // A tag `x`, and fields that the format does not have in record and aggregate.
    let foreign = b"\x0a\x01k\x1a\x0c\x08\x00\x1a\x01d\x22\x03\x0a\x01x\x28\x05\x30\x07";
    let aggregate = aggregate(framed(foreign));
    assert_eq!((aggregate.marked, aggregate.records.len()), (false, 1));
    assert_eq!(&aggregate.records[0].data[..], b"d");
}

#[test]
fn the_mark_counts_on_the_first_record_only() {
    let record = |tag: &[u8]| {
        let content = [b"\x08\x00\x1a\x01d", tag].concat();
        [&[0x1a, content.len() as u8], &content[..]].concat()
    };
    let tagged = record(b"\x22\x09\x0a\x07fanfare");
    let (first, second) =
        ([&b"\x0a\x01k"[..], &tagged, &record(b"")], [&b"\x0a\x01k"[..], &record(b""), &tagged]);
    assert!(aggregate(framed(&first.concat())).marked);
    assert!(!aggregate(framed(&second.concat())).marked);
}

#[test]
fn data_is_not_copied() {
    let whole = packed(3);
    let range = whole.as_ptr_range();
    for record in aggregate(whole.clone()).records {
        assert!(range.contains(&record.data.as_ptr()));
    }
}

#[test]
fn a_large_key_that_all_records_share_is_held_and_hashed_once() {
    // Hashed for each record it would be 60 GB.
    let mut protobuf = vec![0x0a];
    prost::encoding::encode_varint(500_000, &mut protobuf);
    protobuf.extend(b"k".repeat(500_000));
    protobuf.extend(b"\x1a\x04\x08\x00\x1a\x00".repeat(120_000));
    let records = aggregate(framed(&protobuf)).records;
    assert_eq!(records.len(), 120_000);
    let key = &*records[0].partition_key;
    assert!(records.iter().all(|record| std::ptr::eq(&*record.partition_key, key)));
}

proptest! {
    #[test]
    fn any_bytes_are_opened_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(open(bytes.clone().into()), Ok(Opened::Plain(bytes.clone().into())));
        if let Ok(Opened::Aggregate(aggregate)) = open(framed(&bytes)) {
            prop_assert!(aggregate.records.len() <= bytes.len() / 6);
        }
    }

    #[test]
    fn mutated_aggregates_are_opened_without_harm(
        records in 1usize..30,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let whole = packed(records);
        let mut protobuf = whole[4..whole.len() - 16].to_vec();
        for (place, byte) in changes {
            let place = place.index(protobuf.len());
            protobuf[place] = byte;
        }
        if let Ok(Opened::Aggregate(aggregate)) = open(framed(&protobuf)) {
            let data: usize = aggregate.records.iter().map(|record| record.data.len()).sum();
            prop_assert!(data <= protobuf.len());
        }
    }
}
