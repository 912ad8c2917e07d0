//! What a running service takes its events from.

use fanfare_core::{Checkpoint, Lease, LeaseGroup, LeaseStore, MemoryLeaseStore};
use fanfare_sim::{Sim, StoredRecord};

/// A queue of a service, or a stream as the service reads it.
#[derive(Debug)]
pub(super) enum Source {
    /// The queue's name on AWS.
    Queue(String),
    /// Whose leases on the stream the service's are.
    Stream(LeaseGroup),
}

impl Source {
    /// Its name, if it still holds something for the service.
    pub(super) async fn holds(&self, sim: &Sim, leases: &MemoryLeaseStore) -> Option<String> {
        match self {
            Source::Queue(name) => {
                let held = sim.queue_stats(name).is_some_and(|stats| stats.total() > 0);
                held.then(|| name.clone())
            }
            Source::Stream(group) => {
                let records = sim.stream_records(&group.stream);
                // A store in memory does not fail.
                let leases = leases.leases(group).await.unwrap_or_default();
                let held = records.iter().any(|record| !is_done(record, &leases));
                held.then(|| group.to_string())
            }
        }
    }
}

/// Whether the service has stored that it is done with a record.
fn is_done(record: &StoredRecord, leases: &[Lease]) -> bool {
    match leases.iter().find(|lease| lease.key == record.shard_id) {
        Some(lease) => match &lease.checkpoint {
            Checkpoint::End => true,
            // As texts of equal length they compare like numbers.
            Checkpoint::After { sequence_number, sub_sequence_number: None } => {
                record.sequence_number <= *sequence_number
            }
            Checkpoint::After { sequence_number, .. } => record.sequence_number < *sequence_number,
            _ => false,
        },
        // The lease of a shard that was split or merged goes when it has ended, and its children's
        // remember it.
        None => leases.iter().any(|lease| lease.parents.contains(&record.shard_id)),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::NewLease;

    use super::*;

    fn record(shard: &str, number: u32) -> StoredRecord {
        StoredRecord {
            shard_id: shard.into(),
            sequence_number: format!("49{number:054}"),
            partition_key: "o-1".into(),
            data: Default::default(),
            arrival: std::time::SystemTime::UNIX_EPOCH,
        }
    }

    fn after(number: u32, sub_sequence_number: Option<u64>) -> Checkpoint {
        let sequence_number = record("", number).sequence_number;
        Checkpoint::After { sequence_number, sub_sequence_number }
    }

    #[test]
    fn a_record_is_done_when_the_checkpoint_of_its_shard_has_reached_it() {
        let cases = [
            (Checkpoint::Oldest, false),
            (after(9, None), false),
            (after(10, None), true),
            (after(11, None), true),
            (Checkpoint::End, true),
            // Only a part of this one, but all before it.
            (after(10, Some(3)), false),
            (after(11, Some(3)), true),
        ];
        for (checkpoint, done) in cases {
            let lease = Lease::from(NewLease::new("shard-1", checkpoint.clone(), Vec::new()));
            assert_eq!(is_done(&record("shard-1", 10), &[lease]), done, "{checkpoint:?}");
        }
    }

    #[test]
    fn a_shard_without_a_lease_has_not_been_begun_unless_its_children_have() {
        let parents = vec!["shard-1".to_string()];
        let child = Lease::from(NewLease::new("shard-2", Checkpoint::Oldest, parents));
        assert!(!is_done(&record("shard-1", 10), &[]));
        assert!(is_done(&record("shard-1", 10), std::slice::from_ref(&child)));
        assert!(!is_done(&record("shard-3", 10), &[child]));
    }
}
