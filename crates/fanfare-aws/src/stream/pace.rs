//! How often a shard is read, and how much at once.
//!
//! All consumers of a stream share what a shard gives: 5 reads and 2 MiB a second, and nothing for 5
//! seconds after an answer of 10 MiB. Nobody knows how many they are, so each slows down when it is
//! throttled, and comes back slowly.

use std::time::Duration;

use fanfare_core::Backoff;
use tokio::time::Instant;

use super::window::Room;

/// The least time between two reads of a shard: 5 in a second.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const SHORTEST: Duration = Duration::from_millis(200);

/// Between reads where nothing comes.
const IDLE: Duration = Duration::from_secs(1);

/// The most that throttling slows reading to.
const LONGEST: Duration = Duration::from_secs(4);

/// By so much the gap shrinks with each read that was not throttled.
const STEP: Duration = Duration::from_millis(20);

/// Bytes that a shard gives in a second.
const BYTES_PER_SECOND: f64 = 2_097_152.0;

/// The most records that may be asked for.
const RECORDS: f64 = 10_000.0;

/// Taken for the size of a record until one has come.
const RECORD_BYTES: f64 = 4_096.0;

/// Between failed reads.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(400), Duration::from_secs(30));

/// Throttling is normal where many read a shard: it is warned of once in this time.
const WARN_EVERY: Duration = Duration::from_secs(300);

/// The pace of one reader of one shard.
#[derive(Debug)]
pub(super) struct Pace {
    /// From one read to the next, as far as throttling goes.
    gap: Duration,
    /// The same, as far as there is something to read.
    idle: Duration,
    due: Instant,
    failures: u32,
    warned: Option<Instant>,
    /// What a record was like lately: its bytes, and the events in it.
    record_bytes: f64,
    record_events: f64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace {
            gap: SHORTEST,
            idle: SHORTEST,
            due: now,
            failures: 0,
            warned: None,
            record_bytes: RECORD_BYTES,
            record_events: 1.0,
        }
    }

    /// When the next read may be sent.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// How many records to ask for where there is room for so much.
    pub(super) fn limit(&self, room: Room) -> i32 {
        let bytes = (BYTES_PER_SECOND * self.gap.as_secs_f64()).min(room.bytes as f64);
        let records = (bytes / self.record_bytes).min(room.events as f64 / self.record_events);
        records.clamp(1.0, RECORDS) as i32
    }

    /// A read that was sent at `sent` brought so much; `behind`: there is more.
    pub(super) fn read(&mut self, sent: Instant, records: usize, bytes: usize, behind: bool) {
        self.failures = 0;
        self.gap = self.gap.saturating_sub(STEP).max(SHORTEST);
        self.idle = match records {
            0 if !behind => (self.idle * 2).min(IDLE),
            _ => SHORTEST,
        };
        if records > 0 {
            self.record_bytes = lately(self.record_bytes, bytes as f64 / records as f64).max(1.0);
        }
        let transfer = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        self.due = sent + self.gap.max(self.idle).max(transfer);
    }

    /// A record held so many events.
    pub(super) fn opened(&mut self, events: usize) {
        self.record_events = lately(self.record_events, events as f64).max(1.0);
    }

    /// A read was refused because the shard has given enough; tells whether to warn of it.
    pub(super) fn throttled(&mut self, now: Instant) -> bool {
        self.gap = (self.gap * 2).min(LONGEST);
        // Two that were throttled together should not come back together.
        self.due = now + self.gap.mul_f64(0.75 + fastrand::f64() / 2.0);
        let warn = self.warned.is_none_or(|warned| now - warned > WARN_EVERY);
        if warn {
            self.warned = Some(now);
        }
        warn
    }

    /// A read failed; gives the pause.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        self.failures += 1;
        let pause = BACKOFF.delay(self.failures);
        self.due = now + pause;
        pause
    }

    /// A read that was sent at `sent` brought nothing, and can be sent again otherwise.
    pub(super) fn again(&mut self, sent: Instant) {
        self.due = sent + self.gap;
    }
}

/// A mean that follows what is new.
fn lately(mean: f64, new: f64) -> f64 {
    mean + (new - mean) / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Room = Room { events: 10_000, bytes: 16 << 20 };

    fn gap(pace: &mut Pace, records: usize, bytes: usize, behind: bool) -> Duration {
        let sent = Instant::now();
        pace.read(sent, records, bytes, behind);
        pace.due() - sent
    }

    #[test]
    fn reads_are_200_ms_apart_and_where_nothing_comes_a_second() {
        let mut pace = Pace::new(Instant::now());
        assert_eq!(gap(&mut pace, 10, 1_000, true), SHORTEST);
        assert_eq!(gap(&mut pace, 0, 0, true), SHORTEST);
        let gaps: Vec<_> = (0..4).map(|_| gap(&mut pace, 0, 0, false).as_millis()).collect();
        assert_eq!(gaps, [400, 800, 1_000, 1_000]);
        assert_eq!(gap(&mut pace, 1, 100, false), SHORTEST);
    }

    #[test]
    fn throttling_doubles_the_gap_up_to_some_seconds_and_it_comes_down_slowly() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(pace.throttled(now), "it is said once");
        assert!(!pace.throttled(now));
        (0..10).for_each(|_| assert!(!pace.throttled(now)));
        assert!(pace.due() - now >= LONGEST * 3 / 4 && pace.due() - now <= LONGEST * 5 / 4);
        assert_eq!(gap(&mut pace, 10, 1_000, true), LONGEST - STEP);
        let reads = (1..).find(|_| gap(&mut pace, 10, 1_000, true) == SHORTEST).unwrap();
        assert!((100..300).contains(&reads), "{reads} reads");
    }

    #[test]
    fn a_read_asks_for_what_a_shard_gives_until_the_next_and_for_what_there_is_room_for() {
        let mut pace = Pace::new(Instant::now());
        for _ in 0..20 {
            gap(&mut pace, 100, 100 * 1_000, true);
        }
        let share = 2 * 1_048_576 / 5 / 1_000;
        assert!((share - 5..share + 5).contains(&pace.limit(PLENTY)), "{}", pace.limit(PLENTY));
        assert_eq!(pace.limit(Room { events: 7, ..PLENTY }), 7);
        assert!(pace.limit(Room { bytes: 10_000, ..PLENTY }) <= 10);
        assert_eq!(pace.limit(Room { events: 1, bytes: 1 }), 1);
        (0..20).for_each(|_| pace.opened(50));
        assert!(pace.limit(Room { events: 1_000, ..PLENTY }) <= 21);
    }

    #[test]
    fn after_much_at_once_the_next_read_waits_until_a_shard_has_given_that() {
        let mut pace = Pace::new(Instant::now());
        assert_eq!(gap(&mut pace, 10, 10 << 20, true), Duration::from_secs(5));
    }
}
