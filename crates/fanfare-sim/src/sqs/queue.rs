//! The state machine of one queue: every message is delayed, visible or in flight, and nowhere
//! twice. No I/O, no protocol; the caller says what time it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::attributes::QueueAttributes;
use super::fifo::{Groups, Place};
use super::message::{Key, Message, State};
use crate::clock::seconds;
use crate::engine::dedup::DedupWindow;

/// A queue and its messages.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) serial: u64,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) account: String,
    pub(crate) attributes: QueueAttributes,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: Instant,
    pub(crate) modified: Instant,
    pub(crate) purged: Option<Instant>,
    /// Message id and sequence number that a deduplication id was answered with.
    pub(crate) dedup: DedupWindow<(String, String)>,
    /// Wakes long polls: something can be received, or will be sooner than they know.
    pub(crate) wake: Arc<Notify>,
    messages: HashMap<Key, Message>,
    ready: Ready,
    delayed: BTreeSet<(Instant, Key)>,
    in_flight: BTreeSet<(Instant, Key)>,
    by_age: BTreeSet<(Instant, Key)>,
}

/// What may be handed out, in which order.
#[derive(Debug)]
enum Ready {
    Standard(BTreeSet<Key>),
    Fifo(Groups),
}

/// What a receive takes out of the queue.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// In flight now.
    pub(crate) handed: Vec<Key>,
    /// Removed: received as often as the redrive policy allows.
    pub(crate) dead: Vec<Message>,
}

impl Queue {
    pub(crate) fn new(
        serial: u64,
        name: String,
        arn: String,
        account: String,
        attributes: QueueAttributes,
        now: Instant,
    ) -> Self {
        let ready = if attributes.fifo {
            Ready::Fifo(Groups::default())
        } else {
            Ready::Standard(BTreeSet::new())
        };
        Self {
            serial,
            name,
            arn,
            account,
            attributes,
            tags: BTreeMap::new(),
            created: now,
            modified: now,
            purged: None,
            dedup: DedupWindow::default(),
            wake: Arc::default(),
            messages: HashMap::new(),
            ready,
            delayed: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            by_age: BTreeSet::new(),
        }
    }

    /// Lets the time pass: delays and visibility timeouts end, old messages are dropped.
    pub(crate) fn advance(&mut self, now: Instant) {
        let retention = seconds(self.attributes.retention);
        while let Some((_, key)) = self.by_age.first().filter(|(sent, _)| *sent + retention <= now)
        {
            self.remove(*key);
        }
        while let Some((_, key)) = self.delayed.first().filter(|(until, _)| *until <= now) {
            self.set_state(*key, State::Visible);
        }
        while let Some((_, key)) = self.in_flight.first().filter(|(until, _)| *until <= now) {
            self.set_state(*key, State::Visible);
        }
    }

    /// When something becomes receivable by itself.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, Key)>| set.first().map(|(at, _)| *at);
        [first(&self.delayed), first(&self.in_flight)].into_iter().flatten().min()
    }

    /// Stores a message whose `state` says where.
    pub(crate) fn insert(&mut self, key: Key, message: Message) {
        let state = message.state;
        self.by_age.insert((message.sent, key));
        self.messages.insert(key, message);
        self.enter(key, state);
    }

    /// Takes a message out, wherever it is.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Message> {
        self.leave(key);
        let message = self.messages.remove(&key)?;
        self.by_age.remove(&(message.sent, key));
        if let (Ready::Fifo(groups), Some(group)) = (&mut self.ready, &message.group) {
            groups.remove(group, key);
            // The group's next message may be receivable now.
            self.wake.notify_waiters();
        }
        Some(message)
    }

    pub(crate) fn set_state(&mut self, key: Key, state: State) {
        self.leave(key);
        if let Some(message) = self.messages.get_mut(&key) {
            message.state = state;
            self.enter(key, state);
        }
    }

    /// Takes up to `max` messages for a receive and puts them in flight until `until`.
    /// `max_receives` is where the redrive policy, if it can be followed, draws the line;
    /// `skip` says, message by message, how many to pass over (standard queues only).
    pub(crate) fn take(
        &mut self,
        max: usize,
        now: Instant,
        visibility: Duration,
        max_receives: Option<u32>,
        mut skip: impl FnMut() -> usize,
    ) -> Taken {
        let mut taken = Taken::default();
        let mut group = None;
        while taken.handed.len() < max {
            let next = match &self.ready {
                Ready::Standard(visible) => visible.iter().nth(skip()).or(visible.last()).copied(),
                Ready::Fifo(groups) => groups.next(&mut group),
            };
            let Some(key) = next else { break };
            let Some(message) = self.messages.get_mut(&key) else { break };
            if max_receives.is_some_and(|limit| message.receives_here >= limit) {
                taken.dead.extend(self.remove(key));
                continue;
            }
            message.receives += 1;
            message.receives_here += 1;
            message.first_received.get_or_insert(now);
            message.last_received = Some(now);
            self.set_state(key, State::InFlight(now + visibility));
            taken.handed.push(key);
        }
        taken
    }

    pub(crate) fn message(&self, key: Key) -> Option<&Message> {
        self.messages.get(&key)
    }

    pub(crate) fn message_mut(&mut self, key: Key) -> Option<&mut Message> {
        self.messages.get_mut(&key)
    }

    /// All messages, oldest arrival first.
    pub(crate) fn messages(&self) -> Vec<&Message> {
        let mut keys: Vec<&Key> = self.messages.keys().collect();
        keys.sort_unstable();
        keys.into_iter().filter_map(|key| self.messages.get(key)).collect()
    }

    /// The oldest visible message, whatever its group's turn.
    pub(crate) fn oldest_visible(&self) -> Option<Key> {
        let visible = |key: &Key| self.message(*key).is_some_and(|m| m.state == State::Visible);
        self.by_age.iter().map(|(_, key)| *key).find(visible)
    }

    pub(crate) fn clear(&mut self) {
        let keys: Vec<Key> = self.messages.keys().copied().collect();
        for key in keys {
            self.remove(key);
        }
    }

    pub(crate) fn visible_count(&self) -> usize {
        self.messages.len() - self.delayed.len() - self.in_flight.len()
    }

    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn delayed_count(&self) -> usize {
        self.delayed.len()
    }

    /// Takes a message out of the index of its state.
    fn leave(&mut self, key: Key) {
        let Some(message) = self.messages.get(&key) else { return };
        match message.state {
            State::Delayed(until) => {
                self.delayed.remove(&(until, key));
            }
            State::InFlight(until) => {
                self.in_flight.remove(&(until, key));
            }
            State::Visible => {
                if let Ready::Standard(visible) = &mut self.ready {
                    visible.remove(&key);
                }
            }
        }
    }

    /// Puts a message into the index of its state, and wakes long polls if that concerns them.
    fn enter(&mut self, key: Key, state: State) {
        let before = self.next_event();
        match state {
            State::Delayed(until) => {
                self.delayed.insert((until, key));
            }
            State::InFlight(until) => {
                self.in_flight.insert((until, key));
            }
            State::Visible => {
                if let Ready::Standard(visible) = &mut self.ready {
                    visible.insert(key);
                }
            }
        }
        let group = self.messages.get(&key).and_then(|message| message.group.clone());
        if let (Ready::Fifo(groups), Some(group)) = (&mut self.ready, group) {
            let place = match state {
                State::Delayed(_) => Place::Waiting,
                State::Visible => Place::Ready,
                State::InFlight(_) => Place::InFlight,
            };
            groups.put(&group, key, place);
        }
        let sooner = match (before, self.next_event()) {
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if state == State::Visible || sooner {
            self.wake.notify_waiters();
        }
    }
}
