//! Properties of the queue's state machine under random steps: no message is lost or in two
//! states, and no group is handed out past its head.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::attributes::QueueAttributes;
use super::message::{Key, Message, State};
use super::queue::Queue;
use crate::engine::content::{Attributes, Content};

#[derive(Debug, Clone)]
enum Step {
    Send {
        group: u8,
        delay: u64,
    },
    Receive {
        max: usize,
        visibility: u64,
        skip: usize,
    },
    /// Of the messages in flight, the one at this place (modulo their number).
    Delete {
        which: usize,
    },
    ChangeVisibility {
        which: usize,
        timeout: u64,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u8, 0..4_u64).prop_map(|(group, delay)| Step::Send { group, delay }),
        3 => (1..=10_usize, 0..20_u64, 0..3_usize)
            .prop_map(|(max, visibility, skip)| Step::Receive { max, visibility, skip }),
        2 => any::<usize>().prop_map(|which| Step::Delete { which }),
        1 => (any::<usize>(), 0..20_u64)
            .prop_map(|(which, timeout)| Step::ChangeVisibility { which, timeout }),
        2 => (0..15_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// The queue, and what must be in it.
struct World {
    queue: Queue,
    fifo: bool,
    max_receives: Option<u32>,
    now: Instant,
    next_key: Key,
    /// Groups of the messages that are neither deleted nor dead.
    alive: BTreeMap<Key, u8>,
    dead: HashSet<String>,
}

impl World {
    fn new(fifo: bool, max_receives: Option<u32>) -> Self {
        let given = BTreeMap::from([("FifoQueue".to_owned(), "true".to_owned())]);
        let given = if fifo { given } else { BTreeMap::new() };
        let attributes = QueueAttributes::create(fifo, &given).unwrap();
        let now = Instant::now();
        let name = String::from("q");
        let queue = Queue::new(1, name.clone(), name.clone(), name, attributes, now);
        let (alive, dead) = (BTreeMap::new(), HashSet::new());
        Self { queue, fifo, max_receives, now, next_key: 1, alive, dead }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Send { group, delay } => self.send(group, delay),
            Step::Receive { max, visibility, skip } => {
                self.receive(max, visibility, skip);
            }
            Step::Delete { which } => {
                if let Some(key) = self.in_flight(which) {
                    self.queue.remove(key);
                    self.alive.remove(&key);
                }
            }
            Step::ChangeVisibility { which, timeout } => {
                if let Some(key) = self.in_flight(which) {
                    let until = self.now + Duration::from_secs(timeout);
                    self.queue.set_state(key, State::InFlight(until));
                }
            }
            Step::Wait { seconds } => self.now += Duration::from_secs(seconds),
        }
        self.queue.advance(self.now);
        self.check();
    }

    fn send(&mut self, group: u8, delay: u64) {
        let key = self.next_key;
        self.next_key += 1;
        let until = self.now + Duration::from_secs(delay);
        let message = Message {
            id: key.to_string(),
            content: Arc::new(Content::new("m".to_owned(), Attributes::new())),
            trace_header: None,
            sender: String::new(),
            group: self.fifo.then(|| Arc::from(group.to_string())),
            dedup: None,
            sequence: None,
            sent: self.now,
            first_received: None,
            last_received: None,
            receives: 0,
            receives_here: 0,
            dead_letter_source: None,
            state: if delay == 0 { State::Visible } else { State::Delayed(until) },
            receipt: 0,
        };
        self.queue.insert(key, message);
        self.alive.insert(key, group);
    }

    /// Receives, and checks that each message's turn had come.
    fn receive(&mut self, max: usize, visibility: u64, skip: usize) -> Vec<Key> {
        let state = |queue: &Queue, key: Key| queue.message(key).map(|message| message.state);
        let visible: HashSet<Key> = self
            .alive
            .keys()
            .copied()
            .filter(|key| state(&self.queue, *key) == Some(State::Visible))
            .collect();
        let visibility = Duration::from_secs(visibility);
        let taken = self.queue.take(max, self.now, visibility, self.max_receives, || skip);
        for message in &taken.dead {
            let limit = self.max_receives.expect("only a redrive policy buries");
            assert!(message.receives_here >= limit);
            assert!(self.dead.insert(message.id.clone()), "buried twice");
            self.alive.remove(&message.id.parse().expect("ids are keys here"));
        }
        assert!(taken.handed.len() <= max);
        let mut handed = HashSet::new();
        for key in &taken.handed {
            assert!(visible.contains(key), "handed out while it was not visible");
            if self.fifo {
                let earlier = self.alive.range(..key).filter(|(_, g)| **g == self.alive[key]);
                for (before, _) in earlier {
                    assert!(handed.contains(before), "{key} was handed out before {before}");
                }
            }
            assert!(handed.insert(*key), "handed out twice by one receive");
        }
        taken.handed
    }

    fn in_flight(&self, which: usize) -> Option<Key> {
        let is_held = |key: &Key| {
            let message = self.queue.message(*key);
            message.is_some_and(|message| matches!(message.state, State::InFlight(_)))
        };
        let held: Vec<Key> = self.alive.keys().copied().filter(is_held).collect();
        (!held.is_empty()).then(|| held[which % held.len()])
    }

    /// The queue holds what is alive, each message in the one state that its time says.
    fn check(&self) {
        let messages = self.queue.messages();
        let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
        let alive: Vec<String> = self.alive.keys().map(Key::to_string).collect();
        assert_eq!(ids, alive);
        let count = |test: fn(&State) -> bool| messages.iter().filter(|m| test(&m.state)).count();
        assert_eq!(self.queue.visible_count(), count(|s| matches!(s, State::Visible)));
        assert_eq!(self.queue.in_flight_count(), count(|s| matches!(s, State::InFlight(_))));
        assert_eq!(self.queue.delayed_count(), count(|s| matches!(s, State::Delayed(_))));
        for message in messages {
            if let State::Delayed(until) | State::InFlight(until) = message.state {
                assert!(until > self.now, "its time is over");
            }
        }
    }

    /// Whatever happened, everything that is alive can still be received.
    fn drain(&mut self) {
        self.now += Duration::from_secs(60);
        self.queue.advance(self.now);
        self.max_receives = None;
        while !self.alive.is_empty() {
            let handed = self.receive(10, 30, 0);
            assert!(!handed.is_empty(), "stuck with {:?}", self.alive);
            for key in handed {
                self.queue.remove(key);
                self.alive.remove(&key);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_message_is_lost_or_in_two_states_and_groups_keep_their_order(
        fifo: bool,
        max_receives in prop::option::of(1..4_u32),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(fifo, max_receives);
        for step in &steps {
            world.take(step);
        }
        world.drain();
    }
}
