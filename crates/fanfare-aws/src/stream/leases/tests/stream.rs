//! A stream of numbered records, without AWS.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    failure::Failure,
    stream::leases::{ShardInfo, Shards},
};

/// How long it takes to list the shards.
const LISTING: Duration = Duration::from_millis(30);

/// A stream whose shards are split and merged by the tests. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Stream(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    shards: BTreeMap<String, Shard>,
    failure: Option<Failure>,
    listings: usize,
}

#[derive(Clone, Default)]
pub(super) struct Shard {
    pub(super) parents: Vec<String>,
    pub(super) children: Vec<String>,
    /// How many records it has, once it is closed.
    pub(super) length: Option<u64>,
    /// Whether all of it has expired.
    pub(super) expired: bool,
}

impl Stream {
    pub(super) fn new(shards: usize) -> Stream {
        let stream = Stream::default();
        for _ in 0..shards {
            stream.open(&[]);
        }
        stream
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A new shard, made from these.
    fn open(&self, parents: &[&str]) -> String {
        let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
        let mut state = self.state();
        let id = format!("shardId-{:03}", state.shards.len());
        for parent in &parents {
            state.shards.get_mut(parent).unwrap().children.push(id.clone());
        }
        state.shards.insert(id.clone(), Shard { parents, ..Shard::default() });
        id
    }

    /// Closes a shard when it has so many records.
    fn close(&self, id: &str, length: u64) {
        let mut state = self.state();
        let shard = state.shards.get_mut(id).unwrap();
        assert!(shard.length.is_none(), "{id} is closed already");
        shard.length = Some(length);
    }

    pub(super) fn split(&self, id: &str, length: u64) -> [String; 2] {
        self.close(id, length);
        [self.open(&[id]), self.open(&[id])]
    }

    pub(super) fn merge(&self, one: (&str, u64), other: (&str, u64)) -> String {
        self.close(one.0, one.1);
        self.close(other.0, other.1);
        self.open(&[one.0, other.0])
    }

    pub(super) fn expire(&self, id: &str) {
        self.state().shards.get_mut(id).unwrap().expired = true;
    }

    pub(super) fn shard(&self, id: &str) -> Shard {
        self.state().shards[id].clone()
    }

    pub(super) fn shards(&self) -> BTreeMap<String, Shard> {
        self.state().shards.clone()
    }

    pub(super) fn open_shards(&self) -> Vec<String> {
        let shards = self.shards().into_iter();
        shards.filter(|(_, shard)| shard.length.is_none()).map(|(id, _)| id).collect()
    }

    pub(super) fn info(&self, id: &str) -> ShardInfo {
        ShardInfo { id: id.into(), parents: self.shard(id).parents }
    }

    pub(super) fn fail(&self, failure: Option<Failure>) {
        self.state().failure = failure;
    }

    pub(super) fn listings(&self) -> usize {
        self.state().listings
    }
}

impl Shards for Stream {
    async fn list(&self) -> Result<Vec<ShardInfo>, Failure> {
        sleep(LISTING).await;
        let mut state = self.state();
        state.listings += 1;
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let listed = state.shards.iter().filter(|(_, shard)| !shard.expired);
        let info = |(id, shard): (&String, &Shard)| ShardInfo {
            id: id.clone(),
            parents: shard.parents.clone(),
        };
        Ok(listed.map(info).collect())
    }
}
