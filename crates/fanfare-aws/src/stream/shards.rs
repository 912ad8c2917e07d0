//! The shards of a stream, and which keys belong to them.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_sdk_kinesis::types::HashKeyRange;

use super::{Stream, leases, leases::ShardInfo};
use crate::failure::Failure;

/// The hashes of the keys that belong to a shard.
pub(super) type HashRange = RangeInclusive<u128>;

/// Lists the shards, and remembers their hash ranges.
#[derive(Debug, Clone)]
pub(super) struct Shards {
    stream: Stream,
    ranges: Arc<Mutex<HashMap<String, HashRange>>>,
}

impl leases::Shards for Shards {
    async fn list(&self) -> Result<Vec<ShardInfo>, Failure> {
        let mut shards = Vec::new();
        let mut next = None;
        loop {
            let request = self.stream.aws.kinesis().list_shards();
            // AWS takes the name or a token, never both.
            let request = match next {
                None => request.stream_name(self.stream.name()),
                Some(token) => request.next_token(token),
            };
            let page = request.send().await.map_err(|error| Failure::of(&error))?;
            for shard in page.shards.unwrap_or_default() {
                self.note(&shard.shard_id, shard.hash_key_range.as_ref());
                let parents = shard.parent_shard_id.into_iter();
                let parents = parents.chain(shard.adjacent_parent_shard_id).collect();
                shards.push(ShardInfo { id: shard.shard_id, parents });
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(shards);
            }
        }
    }
}

impl Shards {
    pub(super) fn new(stream: Stream) -> Self {
        Shards { stream, ranges: Arc::default() }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Remembers the hash range of a shard.
    pub(super) fn note(&self, shard: &str, range: Option<&HashKeyRange>) {
        let parsed = range.and_then(|range| {
            let start = range.starting_hash_key.parse().ok()?;
            Some(start..=range.ending_hash_key.parse().ok()?)
        });
        if let Some(range) = parsed {
            self.ranges().insert(shard.into(), range);
        }
    }

    /// The hash range of a shard; none if the stream does not have the shard any more.
    pub(super) async fn range(&self, shard: &str) -> Result<Option<HashRange>, Failure> {
        if let Some(range) = self.known(shard) {
            return Ok(Some(range));
        }
        // Another worker has made its lease, and this one has not listed it yet.
        leases::Shards::list(self).await?;
        Ok(self.known(shard))
    }

    fn known(&self, shard: &str) -> Option<HashRange> {
        self.ranges().get(shard).cloned()
    }

    fn ranges(&self) -> MutexGuard<'_, HashMap<String, HashRange>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
