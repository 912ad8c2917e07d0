//! Message groups: which message of which group may be handed out next.
//!
//! A group is handed out from its head, and not at all while one of its messages is in flight.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::message::Key;

/// The groups of a FIFO queue.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// Heads that may be received, oldest first.
    ready: BTreeMap<Key, Arc<str>>,
}

#[derive(Debug, Default)]
struct Group {
    line: BTreeMap<Key, Place>,
    in_flight: usize,
    /// This group's entry in `ready`.
    ready_head: Option<Key>,
}

/// Where a message of a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Delayed.
    Waiting,
    /// Receivable in its turn.
    Ready,
    /// Received.
    InFlight,
}

impl Groups {
    /// Puts a message into its place, new or moved.
    pub(crate) fn put(&mut self, group: &Arc<str>, key: Key, place: Place) {
        let entry = self.groups.entry(Arc::clone(group)).or_default();
        let before = entry.line.insert(key, place);
        entry.in_flight -= usize::from(before == Some(Place::InFlight));
        entry.in_flight += usize::from(place == Place::InFlight);
        self.refresh(group);
    }

    pub(crate) fn remove(&mut self, group: &Arc<str>, key: Key) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        let before = entry.line.remove(&key);
        entry.in_flight -= usize::from(before == Some(Place::InFlight));
        self.refresh(group);
    }

    /// The next message to hand out. `current` is the group that this receive is at: it goes on
    /// with that group's line, although the messages it took from it are in flight by now.
    pub(crate) fn next(&self, current: &mut Option<Arc<str>>) -> Option<Key> {
        if let Some(line) = current.as_ref().and_then(|name| self.groups.get(name))
            && let Some((key, Place::Ready)) =
                line.line.iter().find(|(_, place)| **place != Place::InFlight)
        {
            return Some(*key);
        }
        let (key, group) = self.ready.first_key_value()?;
        *current = Some(Arc::clone(group));
        Some(*key)
    }

    /// Keeps `ready` in step with a group that changed; an empty group is forgotten.
    fn refresh(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let head = match group.line.first_key_value() {
            Some((key, Place::Ready)) if group.in_flight == 0 => Some(*key),
            _ => None,
        };
        if group.ready_head != head {
            if let Some(old) = group.ready_head.take() {
                self.ready.remove(&old);
            }
            if let Some(new) = head {
                self.ready.insert(new, Arc::clone(name));
            }
            group.ready_head = head;
        }
        if group.line.is_empty() {
            self.groups.remove(name);
        }
    }
}
