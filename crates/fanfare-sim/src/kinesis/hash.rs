//! Hash keys: 128 bits that decide a record's shard.

use md5::{Digest, Md5};
use serde::{Serialize, Serializer};

/// The hash of a partition key.
pub(crate) fn of_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The hash keys of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct HashKeyRange {
    #[serde(rename = "StartingHashKey", serialize_with = "decimal")]
    pub(crate) start: u128,
    /// The last of them.
    #[serde(rename = "EndingHashKey", serialize_with = "decimal")]
    pub(crate) end: u128,
}

/// All hash keys, divided into `count` ranges as equal as AWS makes them: the last takes the rest.
pub(crate) fn divided(count: u32) -> impl Iterator<Item = HashKeyRange> {
    let count = u128::from(count.max(1));
    // 2^128 / count without 2^128, which does not fit; of one range it wraps to 0 and is not needed.
    let width = (u128::MAX / count).wrapping_add(u128::from(u128::MAX % count == count - 1));
    (0..count).map(move |n| HashKeyRange {
        start: width * n,
        end: if n + 1 == count { u128::MAX } else { width * (n + 1) - 1 },
    })
}

fn decimal<S: Serializer>(key: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_divided_without_gap_as_aws_does() {
        let ranges: Vec<HashKeyRange> = divided(3).collect();
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_484;
        assert_eq!((ranges[0].start, ranges[0].end), (0, third));
        for count in [1, 2, 3, 4, 7, 100] {
            let ranges: Vec<HashKeyRange> = divided(count).collect();
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, u128::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].end + 1 == pair[1].start), "{count}");
        }
    }

    #[test]
    fn a_keys_hash_is_its_md5() {
        assert_eq!(of_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }
}
