//! One shard: its records, oldest first, and how fast it may be used. The caller says what time
//! it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::hash::HashKeyRange;
use super::pace::{Pace, share};
use super::sequence::{LAST_INDEX, SequenceNumber};
use crate::clock::Now;
use crate::engine::limits::{
    SHARD_ITERATORS_PER_SECOND, SHARD_READ_BYTES_PER_SECOND, SHARD_READS_PER_SECOND,
    SHARD_WRITE_BYTES_PER_SECOND, SHARD_WRITE_RECORDS_PER_SECOND,
};

const SECOND: Duration = Duration::from_secs(1);

/// A stored record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) sequence: SequenceNumber,
    pub(crate) partition_key: Box<str>,
    pub(crate) data: Bytes,
    /// Milliseconds since 1970.
    pub(crate) arrival: u64,
}

impl Record {
    /// Data plus partition key, by which AWS counts.
    pub(crate) fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// A shard and its records.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: u32,
    pub(crate) parent: Option<u32>,
    pub(crate) adjacent_parent: Option<u32>,
    pub(crate) range: HashKeyRange,
    /// Its beginning; `second` is when it was opened.
    pub(crate) start: SequenceNumber,
    /// Milliseconds since 1970.
    pub(crate) opened: u64,
    /// When it was closed, milliseconds since 1970.
    pub(crate) closed: Option<u64>,
    /// In the order of their indices, without gap.
    records: VecDeque<Arc<Record>>,
    /// Of the next record.
    next_index: u64,
    written_bytes: Pace,
    written_records: Pace,
    iterators: Pace,
    reads: Pace,
    read_bytes: Pace,
    /// An answer of more than a second's worth keeps readers out for as long as it is worth.
    unreadable_until: Instant,
}

impl Shard {
    /// An open one without records. `created` is the second in its sequence numbers.
    pub(crate) fn new(number: u32, range: HashKeyRange, created: u64, now: Now) -> Self {
        let pace = Pace::new(now.instant);
        Self {
            number,
            parent: None,
            adjacent_parent: None,
            range,
            start: SequenceNumber { created, shard: number, index: 0, second: created },
            opened: now.millis,
            closed: None,
            records: VecDeque::new(),
            next_index: 1,
            written_bytes: pace,
            written_records: pace,
            iterators: pace,
            reads: pace,
            read_bytes: pace,
            unreadable_until: now.instant,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(crate) fn has_parent(&self, number: u32) -> bool {
        self.parent == Some(number) || self.adjacent_parent == Some(number)
    }

    /// The last sequence number of a closed shard.
    pub(crate) fn end(&self) -> Option<SequenceNumber> {
        let second = self.closed? / 1000;
        Some(SequenceNumber {
            index: LAST_INDEX,
            second: second.max(self.start.second),
            ..self.start
        })
    }

    /// Whether the shard takes a record of that size now; if so that is counted.
    pub(crate) fn try_write(&mut self, now: Instant, size: usize) -> bool {
        let one = share(1, SHARD_WRITE_RECORDS_PER_SECOND);
        let bytes = share(size, SHARD_WRITE_BYTES_PER_SECOND);
        let allowed =
            self.written_records.allows(now, one) && self.written_bytes.allows(now, bytes);
        if allowed {
            self.written_records.take(now, one);
            self.written_bytes.take(now, bytes);
        }
        allowed
    }

    /// Stores a record as the newest.
    pub(crate) fn append(&mut self, now: Now, partition_key: &str, data: Bytes) -> SequenceNumber {
        let second = (now.millis / 1000).max(self.start.second);
        let sequence = SequenceNumber { index: self.next_index, second, ..self.start };
        let partition_key = partition_key.into();
        self.next_index += 1;
        let record = Record { sequence, partition_key, data, arrival: now.millis };
        self.records.push_back(Arc::new(record));
        sequence
    }

    /// Drops the records that arrived at `horizon` or before.
    pub(crate) fn trim(&mut self, horizon: u64) {
        while self.records.front().is_some_and(|record| record.arrival <= horizon) {
            self.records.pop_front();
        }
    }

    /// The index of the oldest record, or of the next one to come.
    pub(crate) fn oldest(&self) -> u64 {
        self.next_index - self.records.len() as u64
    }

    /// The index after the newest record.
    pub(crate) fn tip(&self) -> u64 {
        self.next_index
    }

    /// The records from an index on.
    pub(crate) fn records_from(&self, index: u64) -> impl Iterator<Item = &Arc<Record>> {
        let skipped = index.saturating_sub(self.oldest()).min(self.records.len() as u64);
        self.records.range(skipped as usize..)
    }

    /// The index of the first record that arrived at `millis` or later.
    pub(crate) fn at_time(&self, millis: u64) -> u64 {
        let earlier = self.records.partition_point(|record| record.arrival < millis);
        self.oldest() + earlier as u64
    }

    /// The index of the first record at (or, if not `inclusive`, after) a sequence number of this
    /// shard; `None` if the number is none that this shard gave away.
    pub(crate) fn at_sequence(&self, number: SequenceNumber, inclusive: bool) -> Option<u64> {
        let SequenceNumber { created, shard, index, second } = number;
        if (created, shard) != (self.start.created, self.start.shard) {
            return None;
        }
        if Some(number) == self.end() {
            return Some(self.next_index);
        }
        if index >= self.next_index {
            return None;
        }
        let stored =
            self.records_from(index).next().filter(|record| record.sequence.index == index);
        // A later second than the record's is a place between it and the next one.
        let passed = stored.is_some_and(|record| second > record.sequence.second);
        Some(if inclusive && !passed { index } else { index + 1 })
    }

    /// A place between the record before `index` and the one that is, or will be, there: a
    /// subscription can go on at it or after it.
    pub(crate) fn continuation(&self, index: u64, now: Now) -> SequenceNumber {
        let second = (now.millis / 1000).max(self.start.second) + 1;
        SequenceNumber { index: index - 1, second, ..self.start }
    }

    pub(crate) fn try_iterator(&mut self, now: Instant) -> bool {
        self.iterators.try_take(now, share(1, SHARD_ITERATORS_PER_SECOND))
    }

    /// Whether the shard may be read now; if so the call is counted.
    pub(crate) fn try_read(&mut self, now: Instant) -> bool {
        let any = Duration::from_nanos(1);
        now >= self.unreadable_until
            && self.read_bytes.allows(now, any)
            && self.reads.try_take(now, share(1, SHARD_READS_PER_SECOND))
    }

    /// Counts what a read returned.
    pub(crate) fn count_read(&mut self, now: Instant, size: usize) {
        let cost = share(size, SHARD_READ_BYTES_PER_SECOND);
        self.read_bytes.take(now, cost);
        if cost > SECOND {
            self.unreadable_until = now + cost;
        }
    }
}

/// A shard's id.
pub(crate) fn id(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// The number in a shard's id. AWS goes by what follows the first hyphen, if there is one.
pub(crate) fn number(id: &str) -> Option<u32> {
    let digits = id.split('-').nth(1).unwrap_or(id);
    let legal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = legal.then(|| digits.parse().ok())??;
    i32::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn a_number_is_a_place_if_the_shard_gave_it_away() {
        let now = Clock::start().now();
        let range = HashKeyRange { start: 0, end: u128::MAX };
        let mut shard = Shard::new(3, range, now.millis / 1000, now);
        let given: Vec<SequenceNumber> =
            (0..3).map(|_| shard.append(now, "k", Bytes::from_static(b"x"))).collect();
        let at = |number: SequenceNumber| [true, false].map(|at| shard.at_sequence(number, at));
        assert_eq!(at(shard.start), [Some(0), Some(1)]);
        assert_eq!(at(given[1]), [Some(2), Some(3)]);
        assert_eq!(at(shard.continuation(3, now)), [Some(3), Some(3)]);
        // The next one is nobody's yet, and others are of other shards.
        assert_eq!(at(SequenceNumber { index: 4, ..given[2] }), [None, None]);
        assert_eq!(at(SequenceNumber { shard: 4, ..given[1] }), [None, None]);
        assert_eq!(at(SequenceNumber { created: 1, ..given[1] }), [None, None]);
        shard.closed = Some(now.millis);
        let end = shard.end().expect("is closed");
        assert_eq!([true, false].map(|at| shard.at_sequence(end, at)), [Some(4), Some(4)]);
    }
}
