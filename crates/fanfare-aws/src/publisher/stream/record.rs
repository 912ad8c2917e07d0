//! A record in the making: one event, or an aggregate of several.

use std::{ops::RangeInclusive, sync::Arc};

use aws_sdk_kinesis::{error::BuildError, primitives::Blob, types::PutRecordsRequestEntry};
use fanfare_kpl::Aggregator;
use tokio::time::Instant;

use super::{backlog::Event, shards::Shard};
use crate::limits::AGGREGATE_BYTES;

/// A record to be sent.
pub(super) struct Record {
    /// Where it is expected to go.
    pub(super) shard: Arc<Shard>,
    /// In order; never none.
    pub(super) events: Vec<Event>,
    /// From the least to the greatest of its events.
    pub(super) hash_keys: RangeInclusive<u128>,
    /// With its partition key, at most.
    pub(super) bytes: usize,
    /// When its shard's rate lets it go.
    pub(super) ripe_at: Instant,
    /// None if it takes no other event.
    aggregator: Option<Aggregator>,
}

/// What goes into a record of an event.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) partition_key: &'a str,
    pub(super) hash_key: u128,
    pub(super) body: &'a str,
}

impl Content<'_> {
    fn size_in(&self, aggregator: &Aggregator) -> usize {
        aggregator.size_with(self.partition_key, None, self.body.len())
    }
}

impl Record {
    /// A record of one event, which takes others if it is to be `aggregated`, and leaves them room.
    pub(super) fn new(
        shard: &Arc<Shard>,
        event: Event,
        content: Content<'_>,
        aggregated: bool,
        now: Instant,
    ) -> Self {
        let aggregator = aggregated.then(|| Aggregator::new().marked());
        let aggregator = aggregator.filter(|empty| content.size_in(empty) <= AGGREGATE_BYTES);
        let mut record = Record {
            shard: Arc::clone(shard),
            events: vec![event],
            hash_keys: content.hash_key..=content.hash_key,
            bytes: content.partition_key.len() + content.body.len(),
            ripe_at: now,
            aggregator,
        };
        if let Some(aggregator) = &mut record.aggregator {
            aggregator.add(content.partition_key, None, content.body.as_bytes());
            record.bytes = content.partition_key.len() + aggregator.size();
        }
        record
    }

    pub(super) fn takes_others(&self) -> bool {
        self.aggregator.is_some()
    }

    /// Adds an event if there is room; the bytes that the record grew by.
    pub(super) fn add(&mut self, event: Event, content: Content<'_>) -> Option<usize> {
        let aggregator = self.aggregator.as_mut()?;
        let (before, after) = (aggregator.size(), content.size_in(aggregator));
        if after > AGGREGATE_BYTES {
            return None;
        }
        aggregator.add(content.partition_key, None, content.body.as_bytes());
        self.events.push(event);
        self.bytes += after - before;
        let (least, greatest) = self.hash_keys.clone().into_inner();
        self.hash_keys = least.min(content.hash_key)..=greatest.max(content.hash_key);
        Some(after - before)
    }

    /// Whether it is sent as an aggregate: one event goes as it is, for less.
    pub(super) fn is_aggregate(&self) -> bool {
        self.events.len() > 1
    }

    /// Whether it is to have a request of its own.
    pub(super) fn is_alone(&self) -> bool {
        self.events.iter().any(|event| event.left.alone)
    }

    /// As `PutRecords` takes it; `first` is the content of its first event.
    pub(super) fn entry(
        &mut self,
        first: Content<'_>,
    ) -> Result<PutRecordsRequestEntry, BuildError> {
        let entry = PutRecordsRequestEntry::builder();
        let aggregator = self.aggregator.take().filter(|_| self.is_aggregate());
        match aggregator.and_then(Aggregator::finish) {
            Some(aggregated) => entry
                .partition_key(aggregated.partition_key)
                .explicit_hash_key(aggregated.explicit_hash_key.to_string())
                .data(Blob::new(aggregated.data)),
            None => entry.partition_key(first.partition_key).data(Blob::new(first.body)),
        }
        .build()
    }
}
