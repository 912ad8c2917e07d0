//! Which shard owns which part of the hash range: asked once, and again when an answer does not fit.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;

use super::pace::Pace;
use crate::{Aws, failure::Failure};

/// The shortest time between two listings of a stream whose shards are known already: all who write
/// to it, and read it, share 1,000 a second.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html>
const LISTING_PAUSE: Duration = Duration::from_millis(250);

/// A shard, and how fast this process may write to it.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) id: String,
    range: RangeInclusive<u128>,
    pace: Mutex<Pace>,
}

impl Shard {
    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shards of a stream at some time.
#[derive(Debug)]
pub(super) struct ShardMap {
    /// By the beginning of their ranges; never empty.
    open: Vec<Arc<Shard>>,
    /// The closed ones among them: a record may have landed in one that has been resharded since.
    all: HashMap<String, Arc<Shard>>,
}

/// A shard as it is listed.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) range: RangeInclusive<u128>,
    pub(super) open: bool,
}

impl ShardMap {
    /// `None` if no shard is open. Shards that were in the map before keep their pace.
    pub(super) fn new(
        listed: Vec<Listed>,
        before: Option<&ShardMap>,
        now: Instant,
    ) -> Option<Self> {
        let (mut open, mut all) = (Vec::new(), HashMap::new());
        for Listed { id, range, open: is_open } in listed {
            let known = before.and_then(|before| before.all.get(&id)).cloned();
            let shard = known.unwrap_or_else(|| {
                Arc::new(Shard { id: id.clone(), range, pace: Mutex::new(Pace::new(now)) })
            });
            if is_open {
                open.push(Arc::clone(&shard));
            }
            all.insert(id, shard);
        }
        open.sort_by_key(|shard| *shard.range.start());
        (!open.is_empty()).then_some(ShardMap { open, all })
    }

    /// The open shard that a hash key is expected in.
    pub(super) fn shard_of(&self, hash_key: u128) -> &Arc<Shard> {
        let after = self.open.partition_point(|shard| *shard.range.start() <= hash_key);
        &self.open[after.saturating_sub(1)]
    }

    /// Whether the shard `id`, open or closed, owns all of `hash_keys`; `None` if it is unknown.
    pub(super) fn owns(&self, id: &str, hash_keys: &RangeInclusive<u128>) -> Option<bool> {
        let range = &self.all.get(id)?.range;
        Some(range.contains(hash_keys.start()) && range.contains(hash_keys.end()))
    }
}

/// The shards of one stream, for all calls.
#[derive(Debug, Default)]
pub(super) struct Shards {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    map: Option<Arc<ShardMap>>,
    listing: Option<Listing>,
    began: Option<Instant>,
}

/// A look at the shards, shared by all who wait for it.
type Listing = Shared<BoxFuture<'static, Result<Arc<ShardMap>, Failure>>>;

impl Shards {
    /// What is known.
    pub(super) fn known(&self) -> Option<Arc<ShardMap>> {
        self.state().map.clone()
    }

    /// What is known; asks if nothing is.
    pub(super) async fn get(&self, aws: &Aws, stream: &str) -> Result<Arc<ShardMap>, Failure> {
        let listing = {
            let mut state = self.state();
            match &state.map {
                Some(map) => return Ok(Arc::clone(map)),
                None => state.listing(aws, stream),
            }
        };
        listing.await
    }

    /// What is known if that is newer than `seen`; else asks, unless that was done just now.
    pub(super) async fn newer(
        &self,
        seen: &Arc<ShardMap>,
        aws: &Aws,
        stream: &str,
    ) -> Result<Arc<ShardMap>, Failure> {
        let listing = {
            let mut state = self.state();
            let asked = state.began.is_some_and(|began| began.elapsed() < LISTING_PAUSE);
            match &state.map {
                Some(map) if !Arc::ptr_eq(map, seen) => return Ok(Arc::clone(map)),
                Some(map) if asked && state.listing.is_none() => return Ok(Arc::clone(map)),
                _ => state.listing(aws, stream),
            }
        };
        listing.await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.harvest();
        state
    }
}

impl State {
    /// Takes the result of a look that has ended.
    fn harvest(&mut self) {
        let Some(listing) = &self.listing else { return };
        if let Some(result) = listing.peek() {
            if let Ok(map) = result {
                self.map = Some(Arc::clone(map));
            }
            self.listing = None;
        } else if listing.strong_count() == Some(1) {
            // All who waited for it were dropped, and nobody drives it.
            self.listing = None;
        }
    }

    /// The look that is under way, or a new one.
    fn listing(&mut self, aws: &Aws, stream: &str) -> Listing {
        if let Some(listing) = &self.listing {
            return listing.clone();
        }
        self.began = Some(Instant::now());
        let (aws, stream, before) = (aws.clone(), stream.to_string(), self.map.clone());
        let listing = async move {
            let listed = list(&aws, &stream).await?;
            let map = ShardMap::new(listed, before.as_deref(), Instant::now());
            map.map(Arc::new).ok_or_else(|| Failure::transient("the stream has no open shard", ""))
        };
        let listing = listing.boxed().shared();
        self.listing = Some(listing.clone());
        listing
    }
}

/// `ListShards`, all pages.
async fn list(aws: &Aws, stream: &str) -> Result<Vec<Listed>, Failure> {
    let (mut listed, mut next) = (Vec::new(), None);
    loop {
        // A page is asked for by its token alone.
        let request = aws.kinesis().list_shards();
        let request = match next {
            None => request.stream_name(stream),
            Some(token) => request.next_token(token),
        };
        let answer = request.send().await.map_err(|error| Failure::of(&error))?;
        for shard in answer.shards() {
            let range = shard.hash_key_range().and_then(|range| {
                Some(
                    range.starting_hash_key().parse().ok()?
                        ..=range.ending_hash_key().parse().ok()?,
                )
            });
            let range =
                range.ok_or_else(|| Failure::transient("a shard without hash range", ""))?;
            let end =
                shard.sequence_number_range().and_then(|range| range.ending_sequence_number());
            listed.push(Listed { id: shard.shard_id().into(), range, open: end.is_none() });
        }
        match answer.next_token {
            None => return Ok(listed),
            token => next = token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, range: RangeInclusive<u128>, open: bool) -> Listed {
        Listed { id: id.into(), range, open }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hash_key_is_expected_in_the_open_shard_that_owns_it() {
        let shards = vec![
            listed("c", 50..=u128::MAX, true),
            listed("a", 0..=99, false),
            listed("b", 0..=49, true),
        ];
        let map = ShardMap::new(shards, None, Instant::now()).unwrap();
        for (hash_key, id) in [(0, "b"), (49, "b"), (50, "c"), (u128::MAX, "c")] {
            assert_eq!(map.shard_of(hash_key).id, id);
        }
        assert_eq!(map.owns("a", &(0..=99)), Some(true), "closed, and its range is known");
        assert_eq!(map.owns("b", &(0..=50)), Some(false));
        assert_eq!(map.owns("d", &(0..=0)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_map_keeps_the_pace_of_the_shards_that_stay() {
        let now = Instant::now();
        let both = vec![listed("a", 0..=49, true), listed("b", 50..=u128::MAX, true)];
        let before = ShardMap::new(both, None, now).unwrap();
        before.shard_of(0).pace().reserve(now, 1_000, 0);
        let split = vec![
            listed("a", 0..=49, true),
            listed("b", 50..=u128::MAX, false),
            listed("c", 50..=99, true),
            listed("d", 100..=u128::MAX, true),
        ];
        let after = ShardMap::new(split, Some(&before), now).unwrap();
        assert!(after.shard_of(0).pace().reserve(now, 1, 0) > now);
        assert_eq!(after.shard_of(50).pace().reserve(now, 1, 0), now);
        assert!(ShardMap::new(vec![listed("a", 0..=49, false)], None, now).is_none());
    }
}
