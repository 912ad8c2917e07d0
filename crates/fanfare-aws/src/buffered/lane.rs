//! The messages for one destination that wait, and which of them may leave.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use fanfare_core::{Message, PublishError, RequestLimits};
use tokio::time::Instant;

use super::call::Call;

/// Flights to one destination that are under way at once.
const FLIGHTS_AT_ONCE: usize = 16;

/// A message in the buffer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) ticket: Ticket,
}

/// Whose it is.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) call: Arc<Call>,
    /// Its place in the call.
    pub(super) index: usize,
    /// The room that it takes.
    pub(super) bytes: u32,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Lane {
    limits: RequestLimits,
    keeps_order: bool,
    /// What may leave; where order is kept, the first of each key that is not under way.
    ready: VecDeque<Entry>,
    ready_bytes: usize,
    /// Where order is kept: each key that is ready or under way, and what waits behind it.
    behind: HashMap<String, VecDeque<Entry>>,
    flights: usize,
    /// Whether a task will look when the linger of the first that is ready is over.
    pub(super) tended: bool,
}

/// What sets messages going that do not fill a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) now: Instant,
    pub(super) linger: Duration,
    /// All are to leave.
    pub(super) flushing: bool,
    /// They may leave because nothing else is under way.
    pub(super) when_idle: bool,
}

/// The entries that have their outcome, and the room that they took.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Freed {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Freed {
    /// Tells an entry's caller what became of it.
    fn settle(&mut self, ticket: Ticket, outcome: Result<(), PublishError>) {
        self.messages += 1;
        self.bytes += ticket.bytes as usize;
        ticket.call.settle(ticket.index, outcome);
    }
}

impl Lane {
    pub(super) fn new(limits: RequestLimits, keeps_order: bool) -> Self {
        Lane {
            limits,
            keeps_order,
            ready: VecDeque::new(),
            ready_bytes: 0,
            behind: HashMap::new(),
            flights: 0,
            tended: false,
        }
    }

    /// Takes a message in.
    pub(super) fn push(&mut self, entry: Entry, freed: &mut Freed) {
        if !self.keeps_order {
            self.ready_bytes += entry.ticket.bytes as usize;
            self.ready.push_back(entry);
        } else if entry.ticket.call.blocks(&entry.message) {
            freed.settle(entry.ticket, Err(PublishError::Blocked));
        } else if let Some(behind) = self.behind.get_mut(&entry.message.key) {
            behind.push_back(entry);
        } else {
            self.behind.insert(entry.message.key.clone(), VecDeque::new());
            self.ready_bytes += entry.ticket.bytes as usize;
            self.ready.push_back(entry);
        }
    }

    /// What is to leave now, one request's worth after another.
    pub(super) fn depart(&mut self, due: Due) -> impl Iterator<Item = Vec<Entry>> {
        std::iter::from_fn(move || {
            let first = self.ready.front().filter(|_| self.flights < FLIGHTS_AT_ONCE)?;
            let leaves = self.is_full()
                || due.flushing
                || (due.when_idle && self.flights == 0)
                || first.ticket.since + due.linger <= due.now;
            leaves.then(|| self.take())
        })
    }

    /// When the first that waits for others has done so for `linger`; none if nothing does, or what does
    /// leaves when a flight lands.
    pub(super) fn lingers_until(&self, linger: Duration) -> Option<Instant> {
        let first = self.ready.front().filter(|_| self.flights < FLIGHTS_AT_ONCE)?;
        Some(first.ticket.since + linger)
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.flights == 0
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= self.limits.messages || self.ready_bytes >= self.limits.bytes
    }

    /// One request's worth of what is ready, in order.
    fn take(&mut self) -> Vec<Entry> {
        let RequestLimits { messages, bytes, repeats_keys, .. } = self.limits;
        let mut batch: Vec<Entry> = Vec::with_capacity(messages.min(self.ready.len()));
        let mut left = bytes;
        let fits = |entry: &Entry, left: usize| entry.ticket.bytes as usize <= left;
        while batch.len() < messages {
            let next = |entry: &mut Entry| batch.is_empty() || fits(entry, left);
            let Some(entry) = self.ready.pop_front_if(next) else { break };
            self.ready_bytes -= entry.ticket.bytes as usize;
            left = left.saturating_sub(entry.ticket.bytes as usize);
            let behind = if repeats_keys { self.behind.get_mut(&entry.message.key) } else { None };
            batch.push(entry);
            if let Some(behind) = behind {
                while batch.len() < messages
                    && let Some(entry) = behind.pop_front_if(|entry| fits(entry, left))
                {
                    left -= entry.ticket.bytes as usize;
                    batch.push(entry);
                }
            }
        }
        self.flights += 1;
        batch
    }

    /// A flight has landed: its messages with their outcomes, in its order.
    pub(super) fn land(
        &mut self,
        landed: impl Iterator<Item = (Entry, Result<(), PublishError>)>,
        freed: &mut Freed,
    ) {
        self.flights -= 1;
        if !self.keeps_order {
            return landed.for_each(|(entry, outcome)| freed.settle(entry.ticket, outcome));
        }
        // By key: whether one failed, and what was held back behind another call's message.
        let mut keys: BTreeMap<String, (bool, Vec<Entry>)> = BTreeMap::new();
        for (Entry { message, ticket }, outcome) in landed {
            let (failed, again) = match keys.get_mut(&message.key) {
                Some(key) => key,
                None => keys.entry(message.key.clone()).or_default(),
            };
            let blocked = outcome == Err(PublishError::Blocked);
            if blocked && *failed && !ticket.call.blocks(&message) {
                again.push(Entry { message, ticket });
                continue;
            }
            if outcome.is_err() {
                *failed = true;
                ticket.call.fail(&message);
            }
            freed.settle(ticket, outcome);
        }
        for (key, (_, again)) in keys {
            self.next_of(&key, again, freed);
        }
    }

    /// Nothing of `key` is under way any more: its next message is ready, `again` before all others.
    fn next_of(&mut self, key: &str, again: Vec<Entry>, freed: &mut Freed) {
        let Some(behind) = self.behind.get_mut(key) else { return };
        for entry in again.into_iter().rev() {
            behind.push_front(entry);
        }
        while let Some(entry) = behind.pop_front() {
            if entry.ticket.call.blocks(&entry.message) {
                freed.settle(entry.ticket, Err(PublishError::Blocked));
                continue;
            }
            // In front: it has waited for longer than what is ready.
            self.ready_bytes += entry.ticket.bytes as usize;
            self.ready.push_front(entry);
            return;
        }
        self.behind.remove(key);
    }
}
