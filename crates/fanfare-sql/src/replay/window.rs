//! The part of history that is under way.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, Instant},
};

use fanfare_core::{Disposition, Outcome, RawDelivery};

use crate::{LoggedEvent, Position};

/// Events that were read and are not done, and which of the later ones are done.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    read: Position,
    waiting: BTreeMap<Position, Waiting>,
    settled: BTreeSet<Position>,
}

#[derive(Debug)]
struct Waiting {
    delivery: RawDelivery,
    /// When it may be tried again.
    due: Option<Instant>,
}

impl Window {
    pub(super) fn new(after: Position, size: usize) -> Self {
        Window { size, read: after, waiting: BTreeMap::new(), settled: BTreeSet::new() }
    }

    /// Up to where history has been read.
    pub(super) fn read(&self) -> Position {
        self.read
    }

    /// How many events more may be read.
    pub(super) fn room(&self) -> usize {
        self.size.saturating_sub(self.waiting.len() + self.settled.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what was read behind [`read`](Self::read), at most `limit` events up to `until`.
    pub(super) fn extend(&mut self, page: Vec<LoggedEvent>, limit: usize, until: Position) {
        let last = page.last().map(|event| event.position);
        self.read = match last {
            Some(last) if page.len() >= limit => last,
            _ => until.max(self.read),
        };
        for event in page {
            let position = event.position;
            let mut delivery = event.into_delivery();
            delivery.metadata = delivery.metadata.replayed();
            self.waiting.insert(position, Waiting { delivery, due: None });
        }
    }

    /// How many events may be handled now, counted up to `limit`.
    pub(super) fn count_ready(&self, limit: usize) -> usize {
        self.ready_ones(limit).count()
    }

    /// Up to `limit` events that may be handled now, in order.
    pub(super) fn ready(&self, limit: usize) -> Vec<(Position, RawDelivery)> {
        self.ready_ones(limit).map(|(position, delivery)| (position, delivery.clone())).collect()
    }

    /// In order, and none of a key whose earlier event has to wait.
    fn ready_ones(&self, limit: usize) -> impl Iterator<Item = (Position, &RawDelivery)> {
        let now = Instant::now();
        let mut held: HashSet<&str> = HashSet::new();
        let ready = self.waiting.iter().filter_map(move |(position, Waiting { delivery, due })| {
            let key = delivery.metadata.group.as_deref().unwrap_or_default();
            if due.is_some_and(|due| due > now) {
                held.insert(key);
            }
            (!held.contains(key)).then_some((*position, delivery))
        });
        ready.take(limit)
    }

    /// How long until an event may be tried again.
    pub(super) fn due(&self) -> Option<Duration> {
        let due = self.waiting.values().filter_map(|waiting| waiting.due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Takes note of what became of an event.
    pub(super) fn settle(&mut self, position: Position, outcome: &Outcome) {
        if outcome.disposition() == Disposition::Acknowledge {
            self.waiting.remove(&position);
            self.settled.insert(position);
        } else if let (Outcome::Failed { after, .. }, Some(waiting)) =
            (outcome, self.waiting.get_mut(&position))
        {
            waiting.delivery.metadata.attempt += 1;
            waiting.due = Some(Instant::now() + *after);
        }
    }

    /// The position up to which all is done, and how many events more those are than the last time.
    pub(super) fn done(&mut self) -> (Position, u64) {
        let first = self.waiting.keys().next();
        let position = first.map_or(self.read, |first| Position::new(first.get() - 1));
        let later = self.settled.split_off(&Position::new(position.get() + 1));
        let done = std::mem::replace(&mut self.settled, later).len();
        (position, done as u64)
    }
}
