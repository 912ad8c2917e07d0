//! The events of one call that are not done and not under way, and which of them may go next.
//!
//! They are packed into *records*: one event each, or, where the stream is aggregated, as many as
//! are expected in the same shard and fit. Of each key at most one record is there at a time, under
//! way or packed; the key's later events wait, because the records of a request fail one by one.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use aws_sdk_kinesis::{error::BuildError, types::PutRecordsRequestEntry};
use fanfare_core::{Message, PublishError};
use fanfare_kpl::hash_key;
use tokio::time::Instant;

use super::{
    super::{Outcome, delay, left::Left},
    record::{Content, Record},
    shards::{Shard, ShardMap},
};
use crate::limits::{self, STREAM_RECORDS, STREAM_REQUEST_BYTES, check_record};

/// What has to wait for a shard's rate leaves in portions of that much of a second: fewer requests,
/// and in between it is the turn of other calls.
const PORTION: Duration = Duration::from_millis(100);

pub(super) struct Backlog<'a> {
    batch: &'a [Message],
    aggregated: bool,
    keys: Vec<Key<'a>>,
    /// By their places in the batch.
    waiting: Vec<Event>,
    /// Packed and not yet sent.
    records: Vec<Record>,
    /// How often it was planned.
    round: u64,
}

/// An event that is not done.
#[derive(Clone, Copy)]
pub(super) struct Event {
    pub(super) left: Left,
    /// Its place in `keys`.
    key: usize,
    /// After a failure.
    not_before: Instant,
}

struct Key<'a> {
    partition_key: Cow<'a, str>,
    hash_key: u128,
    /// The record that has events of it, and the round in which that was packed.
    record: Option<(u64, usize)>,
    /// The last round in which one of its events had to wait, and so all later ones.
    held: u64,
    /// One of its events failed for good.
    failed: bool,
}

/// The records of one call for one shard.
#[derive(Default)]
struct Lane {
    /// The aggregate that takes more.
    record: Option<usize>,
    /// When the first and the last of what waits for the rate may go.
    portion: Option<(Instant, Instant)>,
    shut: bool,
}

impl<'a> Backlog<'a> {
    /// With the outcomes of what is refused before anything is sent.
    pub(super) fn new(
        batch: &'a [Message],
        indices: Vec<usize>,
        aggregated: bool,
        now: Instant,
    ) -> (Self, Vec<Outcome>) {
        let mut backlog = Backlog {
            batch,
            aggregated,
            keys: Vec::new(),
            waiting: Vec::with_capacity(indices.len()),
            records: Vec::new(),
            round: 0,
        };
        let (mut places, mut refused) = (HashMap::new(), Vec::new());
        for index in indices {
            let partition_key = limits::partition_key(&batch[index]);
            let key = *places.entry(partition_key).or_insert_with_key(|partition_key| {
                let (partition_key, hash_key) = (partition_key.clone(), hash_key(partition_key));
                backlog.keys.push(Key {
                    partition_key,
                    hash_key,
                    record: None,
                    held: 0,
                    failed: false,
                });
                backlog.keys.len() - 1
            });
            let known = &mut backlog.keys[key];
            if known.failed {
                refused.push((index, Err(PublishError::Blocked)));
            } else if let Err(error) = delay::check(&batch[index], None)
                .and_then(|()| check_record(&batch[index], &known.partition_key))
            {
                known.failed = true;
                refused.push((index, Err(error)));
            } else {
                backlog.waiting.push(Event { left: Left::new(index), key, not_before: now });
            }
        }
        // What comes before a refused event goes.
        for key in &mut backlog.keys {
            key.failed = false;
        }
        (backlog, refused)
    }

    pub(super) fn message(&self, event: &Event) -> &'a Message {
        &self.batch[event.left.index]
    }

    /// Packs what may go, or will once its shard's rate allows it, into at most `room` records more.
    pub(super) fn pack(&mut self, map: &ShardMap, now: Instant, room: usize) {
        self.round += 1;
        let packed = self.records.len();
        let mut lanes: HashMap<*const Shard, Lane> = HashMap::new();
        for record in &self.records {
            lanes.entry(Arc::as_ptr(&record.shard)).or_default().shut = true;
        }
        for event in std::mem::take(&mut self.waiting) {
            let room = self.records.len() < packed + room;
            if !self.place(event, map, now, room, &mut lanes) {
                self.keys[event.key].held = self.round;
                self.waiting.push(event);
            }
        }
        for record in self.records[packed..].iter_mut().filter(|record| record.ripe_at > now) {
            let lane = lanes.get(&Arc::as_ptr(&record.shard));
            if let Some((_, last)) = lane.and_then(|lane| lane.portion) {
                record.ripe_at = last;
            }
        }
    }

    /// Puts an event into a record; false if it has to wait.
    fn place(
        &mut self,
        event: Event,
        map: &ShardMap,
        now: Instant,
        room: bool,
        lanes: &mut HashMap<*const Shard, Lane>,
    ) -> bool {
        let key = &mut self.keys[event.key];
        if key.held == self.round || event.not_before > now {
            return false;
        }
        let shard = map.shard_of(key.hash_key);
        let lane = lanes.entry(Arc::as_ptr(shard)).or_default();
        if lane.shut {
            return false;
        }
        let candidate = match key.record {
            // Only there may it follow what came before it.
            Some((round, record)) if round == self.round => Some(record),
            Some(_) => return false,
            None => lane.record,
        };
        let content = Content {
            partition_key: &key.partition_key,
            hash_key: key.hash_key,
            body: &self.batch[event.left.index].body,
        };
        let joined = candidate
            .filter(|_| !event.left.alone)
            .and_then(|place| Some((place, 0, self.records[place].add(event, content)?)));
        let (place, records, bytes) = match joined {
            Some(joined) => joined,
            None if key.record.is_some() || !room => return false,
            None => {
                let aggregated = self.aggregated && !event.left.alone;
                let (place, record) =
                    (self.records.len(), Record::new(shard, event, content, aggregated, now));
                if record.takes_others() {
                    lane.record = Some(place);
                }
                let bytes = record.bytes;
                self.records.push(record);
                (place, 1, bytes)
            }
        };
        key.record = Some((self.round, place));
        let at = shard.pace().reserve(now, records, bytes);
        if at > now {
            self.records[place].ripe_at = at;
            let first = lane.portion.map_or(at, |(first, _)| first);
            lane.portion = Some((first, at));
            lane.shut = at >= first + PORTION;
        }
        true
    }

    /// The records that may go now, cut into at most `most` requests.
    pub(super) fn requests(&mut self, now: Instant, most: usize) -> Vec<Vec<Record>> {
        let mut requests: Vec<Vec<Record>> = Vec::new();
        let (mut open, mut weight) = (false, 0);
        for record in std::mem::take(&mut self.records) {
            let room = requests.len() < most;
            let fits = open && weight + record.bytes <= STREAM_REQUEST_BYTES && !record.is_alone();
            match requests.last_mut() {
                _ if record.ripe_at > now => self.records.push(record),
                Some(last) if fits && last.len() < STREAM_RECORDS => {
                    weight += record.bytes;
                    last.push(record);
                }
                _ if room => {
                    (open, weight) = (!record.is_alone(), record.bytes);
                    requests.push(vec![record]);
                }
                _ => self.records.push(record),
            }
        }
        requests
    }

    /// The record as `PutRecords` takes it.
    pub(super) fn entry(&self, record: &mut Record) -> Result<PutRecordsRequestEntry, BuildError> {
        let first = record.events[0];
        let Key { partition_key, hash_key, .. } = &self.keys[first.key];
        let body = &self.message(&first).body;
        record.entry(Content { partition_key, hash_key: *hash_key, body })
    }

    /// When there is something to do that no answer brings about.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let ripe = self.records.iter().map(|record| record.ripe_at);
        let due = self.waiting.iter().map(|event| event.not_before);
        ripe.chain(due).filter(|at| *at > now).min()
    }

    /// The record is no longer under way.
    pub(super) fn land(&mut self, record: &Record) {
        for event in &record.events {
            self.keys[event.key].record = None;
        }
    }

    /// Whether an earlier event of the same key failed for good.
    pub(super) fn is_blocked(&self, event: &Event) -> bool {
        self.keys[event.key].failed
    }

    /// The event failed for good.
    pub(super) fn fail(&mut self, event: &Event) {
        self.keys[event.key].failed = true;
    }

    /// What will not be sent, because an earlier event of its key failed for good.
    pub(super) fn take_blocked(&mut self) -> Vec<Outcome> {
        let blocked = self.waiting.extract_if(.., |event| self.keys[event.key].failed);
        blocked.map(|event| (event.left.index, Err(PublishError::Blocked))).collect()
    }

    /// Puts back what is to be sent again.
    pub(super) fn put_back(&mut self, again: Vec<Event>, not_before: Instant) {
        self.waiting.extend(again.into_iter().map(|event| Event { not_before, ..event }));
        self.waiting.sort_by_key(|event| event.left.index);
    }

    /// Everything that waits, before anything was packed.
    pub(super) fn take_waiting(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests;
