//! The events of a shard between the last that is done with all before it and the last that was
//! read: which may begin, which wait, and how far the shard is done. No I/O and no clock of its own.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use fanfare_core::Checkpoint;
use tokio::time::Instant;

use super::Hold;

/// The most events of one key that are begun as one group: as many as a unit of work takes.
const GROUP: usize = 50;

/// Where an event stands in its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) sequence_number: Arc<str>,
    /// Its place in its record, where that is an aggregate.
    pub(super) sub_sequence_number: Option<u64>,
    /// Whether it is the last of its record.
    pub(super) is_last: bool,
}

impl Position {
    /// Everything up to here.
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::After {
            sequence_number: self.sequence_number.to_string(),
            sub_sequence_number: self.sub_sequence_number.filter(|_| !self.is_last),
        }
    }
}

/// How much may lie between the lowest event that is not done and the highest that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// The window. Events of one key are begun one group after another, in order; one that failed waits
/// with all behind it of its key, or of the shard.
#[derive(Debug)]
pub(super) struct Window<T> {
    hold: Hold,
    limits: Room,
    /// Tickets number the events: the first of `events` has this one.
    first: u64,
    events: VecDeque<Event<T>>,
    bytes: usize,
    keys: HashMap<Arc<str>, Queue>,
    /// The next of each key that may begin.
    ready: BTreeSet<u64>,
    /// The next of each key that has to wait until then.
    delayed: BTreeSet<(Instant, u64)>,
    /// Tried, and not done.
    failed: BTreeSet<u64>,
    /// The highest below which everything is done, until it is asked for.
    passed: Option<Position>,
}

#[derive(Debug)]
struct Event<T> {
    position: Position,
    bytes: usize,
    failures: u32,
    /// None: done.
    content: Option<(Arc<str>, T)>,
}

/// The events of a key that are not done.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<u64>,
    /// How many have begun.
    running: usize,
    /// Begun, and not done: they wait for the rest of their group.
    returned: Vec<u64>,
    not_before: Option<Instant>,
}

/// An event that is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun<T> {
    /// What its end is reported by.
    pub(super) ticket: u64,
    /// The how-manieth try this is, from 1.
    pub(super) attempt: u32,
    pub(super) key: Arc<str>,
    pub(super) position: Position,
    pub(super) item: T,
}

/// How a begun event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// It failed, and its key waits until then.
    Failed(Instant),
    /// It was not tried, and its key waits until then, if it has to.
    Untried(Option<Instant>),
}

impl<T: Clone> Window<T> {
    pub(super) fn new(hold: Hold, limits: Room) -> Self {
        Window {
            hold,
            limits,
            first: 0,
            events: VecDeque::new(),
            bytes: 0,
            keys: HashMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            failed: BTreeSet::new(),
            passed: None,
        }
    }

    /// Adds an event behind all others.
    pub(super) fn push(&mut self, position: Position, key: &Arc<str>, bytes: usize, item: T) {
        let ticket = self.add(position, bytes, Some((Arc::clone(key), item)));
        let queue = self.keys.entry(Arc::clone(key)).or_default();
        queue.waiting.push_back(ticket);
        if queue.running == 0 && queue.waiting.len() == 1 {
            self.ready.insert(ticket);
        }
    }

    /// Adds a record with nothing to do, which is done as soon as all before it is.
    pub(super) fn pass(&mut self, position: Position) {
        self.add(position, 0, None);
        self.advance();
    }

    fn add(&mut self, position: Position, bytes: usize, content: Option<(Arc<str>, T)>) -> u64 {
        self.bytes += bytes;
        self.events.push_back(Event { position, bytes, failures: 0, content });
        self.first + self.events.len() as u64 - 1
    }

    /// What there is room for; none if it is full.
    pub(super) fn room(&self) -> Option<Room> {
        let events = self.limits.events.saturating_sub(self.events.len());
        let bytes = self.limits.bytes.saturating_sub(self.bytes);
        (events > 0 && bytes > 0).then_some(Room { events, bytes })
    }

    /// Whether everything in it is done.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many keys have an event that may begin.
    pub(super) fn ready(&mut self, now: Instant) -> usize {
        self.wake(now);
        if self.is_held() {
            return self.failed.intersection(&self.ready).count();
        }
        self.ready.len()
    }

    /// When the next event may begin that has to wait for its time.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Begins events of at most so many keys, at most so many in all, the lowest first; each key's
    /// stand in order. Of a key whose next has failed before, and where the shard is held, only that
    /// one.
    pub(super) fn begin(&mut self, now: Instant, keys: usize, events: usize) -> Vec<Begun<T>> {
        self.wake(now);
        let next: Vec<u64> = if self.is_held() {
            self.failed.intersection(&self.ready).take(keys).copied().collect()
        } else {
            self.ready.iter().take(keys).copied().collect()
        };
        let mut begun = Vec::new();
        for ticket in next {
            if begun.len() < events {
                self.ready.remove(&ticket);
                self.begin_group(ticket, events - begun.len(), &mut begun);
            }
        }
        begun
    }

    fn begin_group(&mut self, next: u64, most: usize, begun: &mut Vec<Begun<T>>) {
        let Some(event) = self.event(next) else { return };
        let most = match self.hold {
            Hold::Key if event.failures == 0 => most.min(GROUP),
            _ => 1,
        };
        let Some((key, _)) = &event.content else { return };
        let key = Arc::clone(key);
        for _ in 0..most {
            let Some(queue) = self.keys.get_mut(&key) else { return };
            let Some(ticket) = queue.waiting.pop_front() else { return };
            queue.running += 1;
            let Some(event) = self.event(ticket) else { return };
            let Some((_, item)) = &event.content else { return };
            begun.push(Begun {
                ticket,
                attempt: event.failures + 1,
                key: Arc::clone(&key),
                position: event.position.clone(),
                item: item.clone(),
            });
        }
    }

    /// Notes how an event ended. The next of its key may begin when its whole group has.
    pub(super) fn end(&mut self, ticket: u64, end: End) {
        let Some(event) = ticket
            .checked_sub(self.first)
            .and_then(|place| self.events.get_mut(usize::try_from(place).ok()?))
        else {
            return;
        };
        let Some((key, item)) = event.content.take() else { return };
        let Some(queue) = self.keys.get_mut(&key) else { return };
        let not_before = match end {
            End::Done => None,
            End::Failed(at) => Some(at),
            End::Untried(at) => at,
        };
        queue.running -= 1;
        queue.not_before = queue.not_before.max(not_before);
        if end == End::Done {
            self.failed.remove(&ticket);
        } else {
            queue.returned.push(ticket);
            event.content = Some((Arc::clone(&key), item));
        }
        if matches!(end, End::Failed(_)) {
            event.failures += 1;
            self.failed.insert(ticket);
        }
        if queue.running == 0 {
            self.regroup(&key);
        }
        self.advance();
    }

    /// Puts what came back of a group before what waits.
    fn regroup(&mut self, key: &Arc<str>) {
        let Some(queue) = self.keys.get_mut(key) else { return };
        queue.returned.sort_unstable();
        while let Some(ticket) = queue.returned.pop() {
            queue.waiting.push_front(ticket);
        }
        match (queue.waiting.front(), queue.not_before.take()) {
            (Some(next), Some(at)) => drop(self.delayed.insert((at, *next))),
            (Some(next), None) => drop(self.ready.insert(*next)),
            (None, _) => drop(self.keys.remove(key)),
        }
    }

    /// The highest position below which everything is done, if that has changed.
    pub(super) fn checkpoint(&mut self) -> Option<Checkpoint> {
        self.passed.take().map(|position| position.checkpoint())
    }

    fn advance(&mut self) {
        while let Some(done) = self.events.pop_front_if(|event| event.content.is_none()) {
            self.first += 1;
            self.bytes -= done.bytes;
            self.passed = Some(done.position);
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((at, ticket)) = self.delayed.first().copied()
            && at <= now
        {
            self.delayed.pop_first();
            self.ready.insert(ticket);
        }
    }

    /// Whether only what has failed may begin.
    fn is_held(&self) -> bool {
        self.hold == Hold::Shard && !self.failed.is_empty()
    }

    fn event(&self, ticket: u64) -> Option<&Event<T>> {
        let place = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.events.get(place)
    }
}

#[cfg(test)]
mod tests;
