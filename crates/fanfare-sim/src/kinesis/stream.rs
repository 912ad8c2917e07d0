//! One stream: its shards, which are open, and what is being done to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::consumers;
use super::errors::stream_not_found;
use super::hash::{self, HashKeyRange};
use super::shard::Shard;
use crate::clock::Now;
use crate::engine::limits::RETENTION_HOURS;
use crate::error::AwsError;

/// How long a stream is `CREATING`, `UPDATING` or `DELETING`: on AWS half a minute, here only
/// long enough that whoever does not wait for it is found out.
pub(crate) const TRANSITION: Duration = Duration::from_millis(500);

/// A stream and its shards.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Tells it from one of the same name before or after it.
    pub(crate) serial: u64,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) account: String,
    /// Milliseconds since 1970.
    pub(crate) created: u64,
    pub(crate) on_demand: bool,
    pub(crate) retention_hours: i64,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) consumers: consumers::ByName,
    /// When UpdateShardCount was called in the last day.
    pub(crate) scalings: Vec<Instant>,
    /// All that are not expired, by number.
    pub(crate) shards: BTreeMap<u32, Shard>,
    /// Wakes subscriptions: there are records, or other shards.
    pub(crate) wake: Arc<Notify>,
    /// The open shards by the first of their hash keys.
    open: BTreeMap<u128, u32>,
    next_number: u32,
    transition: Option<Transition>,
}

/// What a stream is doing, until when.
#[derive(Debug)]
struct Transition {
    until: Now,
    kind: Change,
}

/// What is being done to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Delete,
    /// Takes effect at its end.
    Reshard(Vec<Step>),
    /// Has taken effect, and still shows in the status.
    Settings,
}

/// A step of resharding, by hash keys: the shards' numbers are not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The open shard with this hash key is split before it.
    SplitBefore(u128),
    /// The open shard with this hash key is merged with the one before it.
    MergeBefore(u128),
}

impl Stream {
    pub(crate) fn new(
        serial: u64,
        name: String,
        arn: String,
        account: String,
        shards: u32,
        now: Now,
    ) -> Self {
        // As on AWS, so that everything in a shard is later than its beginning.
        let created = (now.millis / 1000).saturating_sub(2);
        let mut stream = Self {
            serial,
            name,
            arn,
            account,
            created: now.millis,
            on_demand: false,
            retention_hours: *RETENTION_HOURS.start(),
            tags: BTreeMap::new(),
            consumers: BTreeMap::new(),
            scalings: Vec::new(),
            shards: BTreeMap::new(),
            wake: Arc::default(),
            open: BTreeMap::new(),
            next_number: 0,
            transition: None,
        };
        for range in hash::divided(shards) {
            stream.add(range, created, now);
        }
        stream
    }

    pub(crate) fn status(&self) -> &'static str {
        match self.transition.as_ref().map(|transition| &transition.kind) {
            None => "ACTIVE",
            Some(Change::Create) => "CREATING",
            Some(Change::Delete) => "DELETING",
            Some(Change::Reshard(_) | Change::Settings) => "UPDATING",
        }
    }

    /// Whether records can be put and read.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.status(), "ACTIVE" | "UPDATING")
    }

    /// Begins a change that takes [`TRANSITION`].
    pub(crate) fn begin(&mut self, kind: Change, now: Now) {
        self.transition = Some(Transition { until: now + TRANSITION, kind });
        // Subscriptions have an end to wait for now.
        self.wake.notify_waiters();
    }

    /// When something changes by itself, retention aside.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.transition.as_ref().map(|transition| transition.until.instant)
    }

    /// Lets the time pass: changes take effect, old records and shards are dropped. False if the
    /// stream is gone.
    pub(crate) fn advance(&mut self, now: Now) -> bool {
        if let Some(Transition { until, kind }) =
            self.transition.take_if(|transition| transition.until.instant <= now.instant)
        {
            match kind {
                Change::Delete => return false,
                Change::Reshard(steps) => {
                    for step in steps {
                        self.reshard(step, until);
                    }
                    self.wake.notify_waiters();
                }
                Change::Create | Change::Settings => {}
            }
        }
        self.consumers.retain(|_, consumer| consumer.advance(now.instant));
        let horizon = self.horizon(now);
        for shard in self.shards.values_mut() {
            shard.trim(horizon);
        }
        // A closed shard is expired when nothing in it could still be read.
        self.shards.retain(|_, shard| shard.closed.is_none_or(|closed| closed > horizon));
        true
    }

    /// Records that arrived then or before are dropped: milliseconds since 1970.
    pub(crate) fn horizon(&self, now: Now) -> u64 {
        now.millis.saturating_sub(self.retention_hours as u64 * 3_600_000)
    }

    /// What the old period has dropped stays dropped.
    pub(crate) fn set_retention(&mut self, hours: i64, now: Now) {
        self.retention_hours = hours;
        self.begin(Change::Settings, now);
        self.advance(now);
    }

    /// Requests may name the second, since 1970, in which the stream they mean was made.
    pub(crate) fn check_creation(&self, seconds: Option<f64>) -> Result<(), AwsError> {
        if seconds.is_none_or(|seconds| seconds as u64 == self.created / 1000) {
            return Ok(());
        }
        Err(stream_not_found(&self.name, &self.account))
    }

    /// The open shard of a hash key.
    pub(crate) fn shard_of(&mut self, hash_key: u128) -> Option<&mut Shard> {
        let number = self.open_at(hash_key)?;
        self.shards.get_mut(&number)
    }

    pub(crate) fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.open.values().filter_map(|number| self.shards.get(number))
    }

    pub(crate) fn children(&self, number: u32) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(move |shard| shard.has_parent(number))
    }

    fn open_at(&self, hash_key: u128) -> Option<u32> {
        self.open.range(..=hash_key).next_back().map(|(_, number)| *number)
    }

    fn reshard(&mut self, step: Step, now: Now) {
        match step {
            Step::SplitBefore(at) => {
                let Some((parent, created)) = self.close(at, now) else { return };
                let HashKeyRange { start, end } = parent.1;
                for range in [HashKeyRange { start, end: at - 1 }, HashKeyRange { start: at, end }]
                {
                    self.add(range, created, now).parent = Some(parent.0);
                }
            }
            Step::MergeBefore(at) => {
                let Some((lower, after_lower)) = self.close(at - 1, now) else { return };
                let Some((upper, after_upper)) = self.close(at, now) else { return };
                let range = HashKeyRange { start: lower.1.start, end: upper.1.end };
                let child = self.add(range, after_lower.max(after_upper), now);
                child.parent = Some(lower.0);
                child.adjacent_parent = Some(upper.0);
            }
        }
    }

    /// Closes the open shard of a hash key: its number and range, and the first second that its
    /// children may be made in.
    fn close(&mut self, hash_key: u128, now: Now) -> Option<((u32, HashKeyRange), u64)> {
        let number = self.open_at(hash_key)?;
        let shard = self.shards.get_mut(&number)?;
        shard.closed = Some(now.millis);
        self.open.remove(&shard.range.start);
        let later = (now.millis / 1000 + 1).max(shard.start.created + 1);
        Some(((number, shard.range), later))
    }

    fn add(&mut self, range: HashKeyRange, created: u64, now: Now) -> &mut Shard {
        let number = self.next_number;
        self.next_number += 1;
        self.open.insert(range.start, number);
        self.shards.entry(number).or_insert(Shard::new(number, range, created, now))
    }
}
