//! Which transactions a statement could see.

use std::collections::BTreeSet;

/// Which transactions were running when something was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The first transaction id that had not been given out.
    next: u64,
    running: BTreeSet<u64>,
}

impl Snapshot {
    /// Reads what [`Snapshot::parse`] understands, in PostgreSQL's words.
    #[cfg(feature = "postgres")]
    pub(super) const SQL: &str = "pg_current_snapshot()::text || ' ' || age('3'::xid)";

    #[cfg(test)]
    pub(super) fn new(next: u64, running: impl IntoIterator<Item = u64>) -> Self {
        Snapshot { next, running: running.into_iter().collect() }
    }

    /// `xmin:xmax:running,…`, and how far the counter of transactions is beyond 3, in 32 bits.
    ///
    /// PostgreSQL's `xmax` is only the first id after the last one that has *ended*: what runs at or
    /// above it is not in the list. All ids from there to the counter are taken for running, those of
    /// subtransactions too, which the list leaves out; they end with their transaction or before.
    #[cfg(feature = "postgres")]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (snapshot, counted) = text.split_once(' ')?;
        let mut parts = snapshot.split(':').skip(1);
        let unended: u64 = parts.next()?.parse().ok()?;
        let running = parts.next()?.split(',').filter(|id| !id.is_empty());
        let mut running: BTreeSet<u64> =
            running.map(|id| id.parse().ok()).collect::<Option<_>>()?;
        let counter = counted.parse::<i32>().ok()?.cast_unsigned().wrapping_add(3);
        let next = nearest(counter, unended).max(unended);
        running.extend(unended..next);
        Some(Snapshot { next, running })
    }

    /// Whether `transaction` had not ended: nothing of it could be seen.
    pub(super) fn runs(&self, transaction: u64) -> bool {
        transaction >= self.next || self.running.contains(&transaction)
    }

    /// All that had begun and not ended.
    pub(super) fn running(&self) -> impl Iterator<Item = u64> + '_ {
        self.running.iter().copied()
    }

    /// The transaction that PostgreSQL's log calls `id`: the log leaves the upper half out.
    pub(super) fn transaction(&self, id: u32) -> u64 {
        nearest(id, self.next)
    }
}

/// The number with these lower 32 bits that is nearest to `to`.
fn nearest(low: u32, to: u64) -> u64 {
    // The lower half of `to`.
    let distance = low.wrapping_sub(to as u32).cast_signed();
    to.saturating_add_signed(distance.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "postgres")]
    fn postgres_snapshots_are_read() {
        let read = |text| Snapshot::parse(text).unwrap();
        assert_eq!(read("10:20:10,14,19 17"), Snapshot::new(20, [10, 14, 19]));
        assert_eq!(read("20:20: 17"), Snapshot::new(20, []));
        // 20 and 21 have begun, and nothing above 19 has ended.
        assert_eq!(read("14:20:14 19"), Snapshot::new(22, [14, 20, 21]));
        for bad in ["20", "20:20:", "20:20:x 17", ":: 1"] {
            assert_eq!(Snapshot::parse(bad), None, "{bad}");
        }
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn the_counter_is_read_across_the_end_of_an_epoch() {
        let end = 1 << 32;
        let (at, age) = (end - 1, 1u32.wrapping_sub(3).cast_signed());
        let snapshot = Snapshot::parse(&format!("{at}:{at}: {age}")).unwrap();
        assert_eq!(snapshot, Snapshot::new(end + 1, [end - 1, end]));
    }

    #[test]
    fn the_logs_ids_are_taken_for_the_nearest_transactions() {
        let end = 1 << 32;
        let snapshot = Snapshot::new(3 * end + 5, []);
        assert_eq!(snapshot.transaction(4), 3 * end + 4);
        assert_eq!(snapshot.transaction(9), 3 * end + 9);
        assert_eq!(snapshot.transaction(u32::MAX), 3 * end - 1);
        let snapshot = Snapshot::new(3 * end - 1, []);
        assert_eq!(snapshot.transaction(7), 3 * end + 7);
    }
}
