//! Publishing to a Kinesis stream.
//!
//! A [`Call`] sends what may go, and while that is under way what may go next: each answer, each
//! pause that ends and each shard that takes more sets more of its backlog free. So neither a key
//! that waits for an answer nor a shard that is written to too fast holds up the others.

mod backlog;
mod pace;
mod put;
mod record;
mod shards;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare_core::{Message, PublishError};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use super::{BACKOFF, Outcome, REQUESTS_AT_ONCE};
use crate::{
    Aws,
    failure::{Class, Failure},
    limits::STREAM_RECORDS,
};
use backlog::{Backlog, Event};
use put::Request;
use record::Record;
use shards::{ShardMap, Shards};

/// The streams that a publisher and its clones have published to, by name.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<String, Arc<Stream>>>);

impl Streams {
    pub(super) fn stream(&self, aws: &Aws, name: String) -> Arc<Stream> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.entry(name).or_insert_with_key(|name| {
            let arn = aws.stream_arn(name);
            let (aws, name) = (aws.clone(), name.clone());
            Arc::new(Stream { aws, name, arn, shards: Shards::default() })
        });
        Arc::clone(stream)
    }
}

/// A stream, and what all calls that publish to it know of its shards.
#[derive(Debug)]
pub(super) struct Stream {
    aws: Aws,
    name: String,
    arn: String,
    shards: Shards,
}

impl Stream {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Publishes the messages of `batch` at `indices`.
    pub(super) async fn publish(
        &self,
        batch: &[Message],
        indices: Vec<usize>,
        aggregated: bool,
    ) -> Vec<Outcome> {
        let (backlog, done) = Backlog::new(batch, indices, aggregated, Instant::now());
        Call { stream: self, backlog, done }.run().await
    }
}

/// One call's messages for one stream.
struct Call<'a> {
    stream: &'a Stream,
    backlog: Backlog<'a>,
    done: Vec<Outcome>,
}

impl Call<'_> {
    async fn run(mut self) -> Vec<Outcome> {
        let Some(mut map) = self.map().await else { return self.done };
        let mut under_way = FuturesUnordered::new();
        loop {
            map = self.stream.shards.known().unwrap_or(map);
            let (now, free) = (Instant::now(), REQUESTS_AT_ONCE - under_way.len());
            if free > 0 {
                self.backlog.pack(&map, now, free * STREAM_RECORDS);
            }
            for records in self.backlog.requests(now, free) {
                under_way.push(self.request(records, &map).send(self.stream));
            }
            let next = self.backlog.next(now);
            tokio::select! {
                Some((records, results)) = under_way.next() => self.settle(records, results),
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
                else => return self.done,
            }
        }
    }

    /// The shards; `None` if they cannot be had, and all messages have their outcome.
    async fn map(&mut self) -> Option<Arc<ShardMap>> {
        loop {
            let mut failure =
                match self.stream.shards.get(&self.stream.aws, &self.stream.name).await {
                    Ok(map) => return Some(map),
                    Err(failure) => failure,
                };
            if failure.class == Class::Denied {
                failure.code = format!("{}, on kinesis:ListShards", failure.code);
            }
            let waiting = self.backlog.take_waiting();
            self.fail(waiting, &failure, true);
            self.done.extend(self.backlog.take_blocked());
            let next = self.backlog.next(Instant::now())?;
            sleep_until(next).await;
        }
    }

    fn request(&self, mut records: Vec<Record>, map: &Arc<ShardMap>) -> Request {
        let entries = records.iter_mut().map(|record| self.backlog.entry(record)).collect();
        Request { records, entries, map: Arc::clone(map) }
    }

    fn settle(&mut self, records: Vec<Record>, results: Vec<Result<(), Failure>>) {
        let single = records.len() == 1;
        let all_accepted = results.iter().all(Result::is_ok);
        for (record, result) in records.into_iter().zip(results) {
            self.backlog.land(&record);
            match result {
                Ok(()) => {
                    let accepted = record.events.iter().map(|event| (event.left.index, Ok(())));
                    self.done.extend(accepted);
                }
                Err(failure) => {
                    if failure.code == "ProvisionedThroughputExceededException" {
                        record.shard.pace().cut(Instant::now());
                    }
                    let alone = single && !record.is_aggregate();
                    self.fail(record.events, &failure, alone);
                }
            }
        }
        if !all_accepted {
            self.done.extend(self.backlog.take_blocked());
        }
    }

    /// Takes the failure of events that were sent in one record, `alone` in their request or not.
    fn fail(&mut self, events: Vec<Event>, failure: &Failure, alone: bool) {
        let (mut again, mut attempts) = (Vec::new(), 0);
        for mut event in events {
            if self.backlog.is_blocked(&event) {
                self.done.push((event.left.index, Err(PublishError::Blocked)));
                continue;
            }
            let message = self.backlog.message(&event);
            match event.left.fail(failure.clone(), message, &self.stream.arn, alone) {
                None => {
                    attempts = attempts.max(event.left.attempts);
                    again.push(event);
                }
                Some(error) => {
                    self.done.push((event.left.index, Err(error)));
                    self.backlog.fail(&event);
                }
            }
        }
        let mut not_before = Instant::now();
        if failure.class == Class::Transient {
            not_before += BACKOFF.delay(attempts);
        }
        self.backlog.put_back(again, not_before);
    }
}
