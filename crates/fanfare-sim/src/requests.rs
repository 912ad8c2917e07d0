//! Counts of the calls that reached the simulator.

use std::collections::BTreeMap;

use crate::wire::Service;

/// How many calls arrived, by service and action, since the simulator was made. Calls that a
/// fault or a check refused count too: AWS bills and throttles by them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    counts: BTreeMap<(Service, String), u64>,
}

impl Requests {
    /// Calls of one action, `PublishBatch` for example; of all services where they share a name.
    pub fn count(&self, action: &str) -> u64 {
        self.counts.iter().filter(|((_, name), _)| name == action).map(|(_, count)| count).sum()
    }

    /// All calls.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Service (`kinesis`, `sns`, `sqs`), action and count, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.counts
            .iter()
            .map(|((service, action), count)| (service.name(), action.as_str(), *count))
    }

    pub(crate) fn add(&mut self, service: Service, action: &str) {
        // The action's name is copied only the first time it is seen.
        match self.counts.iter_mut().find(|((s, a), _)| *s == service && a == action) {
            Some((_, count)) => *count += 1,
            None => {
                self.counts.insert((service, action.to_owned()), 1);
            }
        }
    }
}
