//! What keeps a lane from publishing: events that fail, and destinations that do.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use fanfare_core::Backoff;
use tokio::time::Instant;

/// Between the tries of an event that its destination refuses.
const EVENT_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Between the tries of a destination that takes nothing.
const DESTINATION_BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// How many events try a destination that took nothing before.
pub(super) const PROBE: usize = 10;

/// A destination that took nothing so many times in a row is down, and not only busy.
const DOWN: u32 = 3;

/// Keys whose next event was refused, and destinations that take nothing.
#[derive(Debug, Default)]
pub(super) struct Obstacles {
    keys: HashMap<String, Refused>,
    destinations: BTreeMap<String, Open>,
}

/// A key's next event was refused.
#[derive(Debug)]
struct Refused {
    id: i64,
    failures: u32,
    again_at: Instant,
}

/// The circuit to a destination is open.
#[derive(Debug)]
struct Open {
    failures: u32,
    again_at: Instant,
}

/// Whether an event may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Clear,
    /// As one of few that find out whether the destination takes something again.
    Probing,
    Blocked,
}

impl Obstacles {
    /// Whether an event of `key` may go to `destination` now.
    pub(super) fn way(&self, key: &str, destination: &str, now: Instant) -> Way {
        if self.keys.get(key).is_some_and(|refused| refused.again_at > now) {
            return Way::Blocked;
        }
        match self.destinations.get(destination) {
            None => Way::Clear,
            Some(open) if open.again_at > now => Way::Blocked,
            Some(_) => Way::Probing,
        }
    }

    /// Whether there is nothing in the way.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.destinations.is_empty()
    }

    /// When something is to be tried again; this asks for a look from the beginning.
    pub(super) fn next(&self) -> Option<Instant> {
        let keys = self.keys.values().map(|refused| refused.again_at);
        keys.chain(self.destinations.values().map(|open| open.again_at)).min()
    }

    /// When something is to be tried again that may soon be out of the way: a refused event, which is
    /// given up after some tries, or a destination that is only busy.
    pub(super) fn soon(&self) -> Option<Instant> {
        let keys = self.keys.values().map(|refused| refused.again_at);
        let busy = self.destinations.values().filter(|open| open.failures < DOWN);
        keys.chain(busy.map(|open| open.again_at)).min()
    }

    /// Keys that a look must leave out: on one from the floor all that have an obstacle, on one from
    /// the beginning those whose time has not come.
    pub(super) fn keys(&self, sweep: bool, now: Instant) -> Vec<String> {
        let out = self.keys.iter().filter(|(_, refused)| !sweep || refused.again_at > now);
        out.map(|(key, _)| key.clone()).collect()
    }

    /// Destinations that a look must leave out, likewise.
    pub(super) fn destinations(&self, sweep: bool, now: Instant) -> Vec<String> {
        let out = self.destinations.iter().filter(|(_, open)| !sweep || open.again_at > now);
        out.map(|(destination, _)| destination.clone()).collect()
    }

    /// The event `id` of `key` was refused; how often so far.
    pub(super) fn refused(&mut self, key: &str, id: i64, now: Instant) -> u32 {
        let new = Refused { id, failures: 0, again_at: now };
        let refused = self.keys.entry(key.into()).or_insert(new);
        if refused.id != id {
            (refused.id, refused.failures) = (id, 0);
        }
        refused.failures += 1;
        refused.again_at = now + EVENT_BACKOFF.delay(refused.failures);
        refused.failures
    }

    /// Nothing is in the way of `key` any more; true if something was.
    pub(super) fn cleared(&mut self, key: &str) -> bool {
        self.keys.remove(key).is_some()
    }

    /// `destination` took nothing, for a reason that is its own; true if it took something before.
    pub(super) fn failed(&mut self, destination: &str, now: Instant) -> bool {
        let first = !self.destinations.contains_key(destination);
        let new = Open { failures: 0, again_at: now };
        let open = self.destinations.entry(destination.into()).or_insert(new);
        // Several of one wave fail together: that is one failure.
        if open.again_at <= now {
            open.failures += 1;
            open.again_at = now + DESTINATION_BACKOFF.delay(open.failures);
        }
        first
    }

    /// Forgets all but these keys and destinations.
    pub(super) fn keep(&mut self, keys: &HashSet<&str>, destinations: &HashSet<&str>) {
        self.keys.retain(|key, _| keys.contains(key.as_str()));
        self.destinations.retain(|destination, _| destinations.contains(destination.as_str()));
    }

    /// `destination` took something; true if it had not before.
    pub(super) fn took(&mut self, destination: &str) -> bool {
        self.destinations.remove(destination).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_destination_that_fails_is_left_alone_and_then_probed() {
        let (mut obstacles, now) = (Obstacles::default(), Instant::now());
        assert!(obstacles.failed("topic:orders", now));
        assert!(!obstacles.failed("topic:orders", now));
        assert_eq!(obstacles.way("k", "topic:orders", now), Way::Blocked);
        assert_eq!(obstacles.way("k", "topic:others", now), Way::Clear);
        let later = now + Duration::from_millis(201);
        assert_eq!(obstacles.way("k", "topic:orders", later), Way::Probing);
        assert!(obstacles.destinations(true, later).is_empty());
        assert_eq!(obstacles.destinations(false, later), ["topic:orders"]);
        assert!(obstacles.took("topic:orders") && !obstacles.took("topic:orders"));
        assert_eq!(obstacles.way("k", "topic:orders", now), Way::Clear);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_for_one_event_and_its_key_waits_meanwhile() {
        let (mut obstacles, now) = (Obstacles::default(), Instant::now());
        assert_eq!(obstacles.refused("k", 7, now), 1);
        assert_eq!(obstacles.refused("k", 7, now), 2);
        assert_eq!(obstacles.refused("k", 8, now), 1);
        assert_eq!(obstacles.way("k", "topic:orders", now), Way::Blocked);
        assert_eq!(obstacles.way("other", "topic:orders", now), Way::Clear);
        assert_eq!(obstacles.keys(false, now + Duration::from_secs(9)), ["k"]);
        assert!(obstacles.keys(true, now + Duration::from_secs(9)).is_empty());
        assert!(obstacles.cleared("k"));
    }
}
