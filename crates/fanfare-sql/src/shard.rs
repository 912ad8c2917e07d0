//! Which shard a key belongs to.

use xxhash_rust::xxh3::xxh3_64;

/// How many shards an outbox has. Fixed for ever: a key's shard must not change while events of it
/// are waiting.
pub const SHARDS: u16 = 64;

/// The shard of `key`: XXH3-64 of its bytes, computed here so that all databases agree.
#[must_use]
pub fn shard_of(key: &str) -> u16 {
    // A remainder of SHARDS fits.
    (xxh3_64(key.as_bytes()) % u64::from(SHARDS)) as u16
}

/// The number that stands for `key` in an advisory lock. Two keys with the same one wait for each
/// other, and no more than that.
pub(crate) fn lock_of(key: &str) -> i32 {
    // The upper half, which the shard does not use: keys of one shard get different locks.
    ((xxh3_64(key.as_bytes()) >> 32) as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_a_key_is_the_same_for_ever() {
        assert_eq!(["", "o-1", "o-2", "Zürich"].map(shard_of), [2, 34, 3, 14]);
    }

    #[test]
    fn keys_spread_over_all_shards() {
        let mut counts = [0; SHARDS as usize];
        (0..6_400).for_each(|n| counts[usize::from(shard_of(&format!("order-{n}")))] += 1);
        assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
    }
}
