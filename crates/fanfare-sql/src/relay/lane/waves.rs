//! Waves: one publish call each, and what its outcomes mean.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use fanfare_core::{Message, PublishError};
use tokio::time::{Instant, timeout};
use xxhash_rust::xxh3::xxh3_64;

use super::{Lane, State};
use crate::{
    SqlError,
    relay::{
        OnRefusal,
        obstacles::{PROBE, Way},
        store::{Head, Row, RowId, Verdict},
    },
};

/// How long the waves of one look go on, so that new events of other keys do not wait for one
/// key's backlog.
const WAVES: Duration = Duration::from_millis(20);

impl Lane {
    /// Sends `rows` in waves; gives those that are to be seen again at the next look.
    pub(super) async fn send(&mut self, rows: Vec<Row>) -> Result<Vec<RowId>, SqlError> {
        let end = Instant::now() + WAVES;
        let (parked, mut rows): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| self.state.held.contains(&row.message.key));
        if !parked.is_empty() {
            self.store.park(&ids(&parked)).await?;
        }
        let mut left = Vec::new();
        loop {
            let (wave, rest) = self.wave(rows, &mut left);
            rows = rest;
            if wave.is_empty() {
                break;
            }
            self.publish(wave).await?;
            if Instant::now() >= end {
                break;
            }
        }
        // What an obstacle keeps back is looked for from the beginning when its time comes.
        let now = Instant::now();
        let free = rows.iter().filter(|row| {
            let way = self.state.obstacles.way(&row.message.key, &row.destination, now);
            way == Way::Clear && !self.state.held.contains(&row.message.key)
        });
        left.extend(free.map(|row| (row.shard, row.id)));
        Ok(left)
    }

    /// Takes what may go now out of `rows`, and gives the rest back in order; what may not go
    /// because a lease is near its end goes to `left`.
    fn wave(&self, rows: Vec<Row>, left: &mut Vec<RowId>) -> (Vec<Row>, Vec<Row>) {
        let now = Instant::now();
        let State { grants, obstacles, held, .. } = &self.state;
        // Keys that have an event in the wave, and keys of which one has to wait for the next; by their
        // hash, as two of one hash lose no more than a place in this wave.
        let (mut going, mut waiting) = (HashSet::<u64>::new(), HashSet::<u64>::new());
        let mut probes: BTreeMap<String, usize> = BTreeMap::new();
        let mut ordered: BTreeMap<String, bool> = BTreeMap::new();
        let (mut wave, mut rest) = (Vec::new(), Vec::new());
        for row in rows {
            let Row { destination, message, .. } = &row;
            if !grants.get(&row.shard).is_some_and(|grant| self.is_safe(grant)) {
                waiting.insert(xxh3_64(message.key.as_bytes()));
                left.push((row.shard, row.id));
                continue;
            }
            let keeps_order = match ordered.get(destination) {
                Some(keeps_order) => *keeps_order,
                None => {
                    let keeps_order = self.publisher.keeps_order_dyn(&message.destination);
                    ordered.insert(destination.clone(), keeps_order);
                    keeps_order
                }
            };
            let key = &message.key;
            let hash = xxh3_64(key.as_bytes());
            let is_next = !waiting.contains(&hash) && (keeps_order || !going.contains(&hash));
            let goes = is_next
                && !held.contains(key)
                && match obstacles.way(key, destination, now) {
                    Way::Clear => true,
                    Way::Blocked => false,
                    Way::Probing => {
                        let sent = probes.entry(destination.clone()).or_default();
                        *sent += 1;
                        *sent <= PROBE
                    }
                };
            if goes {
                going.insert(hash);
                wave.push(row);
            } else {
                waiting.insert(hash);
                rest.push(row);
            }
        }
        (wave, rest)
    }

    /// Publishes a wave and settles what was accepted.
    async fn publish(&mut self, wave: Vec<Row>) -> Result<(), SqlError> {
        let grants: BTreeSet<u16> = wave.iter().map(|row| row.shard).collect();
        let ends =
            grants.iter().filter_map(|shard| Some(self.state.grants.get(shard)?.until)).min();
        let time = ends.map_or(self.lease, |until| until.saturating_duration_since(Instant::now()));
        let time = time.saturating_sub(self.lease / 20);
        let (heads, batch): (Vec<Head>, Vec<Message>) = wave.into_iter().map(Row::split).unzip();
        let report = timeout(time, self.publisher.publish_boxed(&batch)).await;
        let late = Err(PublishError::Blocked);
        let outcomes: Vec<&Result<(), PublishError>> = match &report {
            Ok(report) => report.outcomes().iter().collect(),
            Err(_) => {
                tracing::warn!(lane = self.number, ?time, "publishing took longer than the lease");
                let now = Instant::now();
                for Head { destination, .. } in &heads {
                    self.state.obstacles.failed(destination, now);
                }
                vec![&late; heads.len()]
            }
        };
        let judged = || heads.iter().zip(&batch).zip(outcomes.iter().copied());
        for ((head, message), _) in judged().filter(|(_, outcome)| outcome.is_ok()) {
            self.state.unsettled.push(((head.shard, head.id), head.transaction));
            self.accepted(head, message);
        }
        // After what was accepted, which would clear what fails here out of the way.
        for ((head, _), outcome) in judged() {
            match outcome {
                Err(error) if error.is_retryable() && *error != PublishError::Blocked => {
                    self.failed(head, error);
                }
                _ => {}
            }
        }
        self.settle_what_is_left().await?;
        for ((head, message), outcome) in judged() {
            match outcome {
                Err(error) if !error.is_retryable() => self.refused(head, message, error).await?,
                _ => {}
            }
        }
        Ok(())
    }

    fn accepted(&mut self, head: &Head, message: &Message) {
        let state = &mut self.state;
        state.published += 1;
        if state.obstacles.took(&head.destination) {
            tracing::info!(destination = %message.destination, "takes events again");
            state.floors.reset_all();
        }
        if state.obstacles.cleared(&message.key) {
            state.floors.reset(head.shard);
        }
    }

    /// The destination takes nothing: all that is for it waits.
    fn failed(&mut self, head: &Head, error: &PublishError) {
        if self.state.obstacles.failed(&head.destination, Instant::now()) {
            tracing::warn!(destination = %head.destination, %error, "takes no events: waiting");
        }
    }

    /// The destination takes others, but not this event: its key waits, and at last it is held, or
    /// goes on without it.
    async fn refused(
        &mut self,
        head: &Head,
        message: &Message,
        error: &PublishError,
    ) -> Result<(), SqlError> {
        let Message { id, key, .. } = message;
        let failures = self.state.obstacles.refused(key, head.id, Instant::now());
        tracing::warn!(event.id = %id, failures, %error, "refused");
        let Some(grant) = self.state.grants.get(&head.shard).filter(|_| failures >= self.attempts)
        else {
            return Ok(());
        };
        let reason = error.to_string();
        match self.on_refusal {
            OnRefusal::Strict => {
                let verdict = Verdict { event_id: id, key, reason: &reason, failures };
                if self.store.hold(grant, verdict).await? {
                    tracing::error!(event.id = %id, %reason, "its key is held until it is released");
                    self.state.held.insert(key.clone());
                    self.state.obstacles.cleared(key);
                }
            }
            OnRefusal::Skip => {
                if self.store.bury(grant, head.id, &reason).await? {
                    tracing::error!(event.id = %id, %reason, "given up");
                    self.state.obstacles.cleared(key);
                    self.state.floors.reset(head.shard);
                }
            }
        }
        Ok(())
    }
}

fn ids(rows: &[Row]) -> Vec<RowId> {
    rows.iter().map(|row| (row.shard, row.id)).collect()
}
