//! Parked groups in memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{ParkedGroups, ParkedGroupsError, Turn};
use crate::InboxKey;

/// Parked groups in memory, until the process ends: for tests, and for consumers that are one
/// process and may forget. Another process, or the same after a restart, handles the events of a
/// group that is parked here, in front of those in the dead-letter queue. It has no bound but that
/// queue's. Clones share the store.
#[derive(Debug, Clone, Default)]
pub struct MemoryParkedGroups {
    groups: Arc<Mutex<Groups>>,
}

/// By consumer and group.
type Groups = HashMap<(Arc<str>, String), Group>;

#[derive(Debug, Default)]
struct Group {
    /// Not empty.
    parked: VecDeque<InboxKey>,
    /// The same, to look for.
    listed: HashSet<InboxKey>,
    handled: HashSet<InboxKey>,
}

impl MemoryParkedGroups {
    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(group: &str, event: &InboxKey) -> (Arc<str>, String) {
    (Arc::clone(&event.consumer), group.to_owned())
}

impl ParkedGroups for MemoryParkedGroups {
    async fn turn(&self, group: &str, event: &InboxKey) -> Result<Turn, ParkedGroupsError> {
        let groups = self.lock();
        let group = groups.get(&name(group, event));
        Ok(match group.and_then(|group| Some((group, group.parked.front()?))) {
            None => Turn::Free,
            Some((_, first)) if first == event => Turn::Next,
            Some((group, _)) if group.handled.contains(event) => Turn::Past,
            Some((_, first)) => Turn::Behind(first.clone()),
        })
    }

    async fn park(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        let mut groups = self.lock();
        let group = groups.entry(name(group, event)).or_default();
        if !group.handled.contains(event) && group.listed.insert(event.clone()) {
            group.parked.push_back(event.clone());
        }
        Ok(())
    }

    async fn handled(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        let mut groups = self.lock();
        let name = name(group, event);
        let Some(group) = groups.get_mut(&name) else { return Ok(()) };
        if group.listed.remove(event) {
            group.parked.retain(|parked| parked != event);
            if !event.source.is_empty() {
                group.handled.insert(event.clone());
            }
        }
        if group.parked.is_empty() {
            groups.remove(&name);
        }
        Ok(())
    }

    async fn release(&self, consumer: &str, group: &str) -> Result<u64, ParkedGroupsError> {
        let released = self.lock().remove(&(consumer.into(), group.to_owned()));
        Ok(released.map_or(0, |group| group.parked.len() as u64))
    }
}
