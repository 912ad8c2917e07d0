//! How much a worker receives ahead, and by how many polls at once: arithmetic, without I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::BATCH_ENTRIES;

/// The most polls at once. Ten milliseconds a receive make that 16,000 messages a second.
const MOST_POLLS: usize = 16;

/// How long the effect of one poll more is watched before the next is added.
const GROWTH: Duration = Duration::from_millis(25);

/// What is received ahead begins within this time, so that it does not wait here while another worker
/// has nothing to do.
const AHEAD: Duration = Duration::from_millis(250);

/// The bounds of what is received ahead where handlers are as good as instant: ten times the
/// concurrency, but no less than keeps three receives going, and no more than this.
const PREFETCH: (usize, usize) = (3 * BATCH_ENTRIES, 1_000);

/// What a receive takes as long as none has been measured.
const RECEIVE: Duration = Duration::from_millis(20);

/// The weight of the latest measurement in a mean.
const WEIGHT: f64 = 0.125;

/// The polls of one queue, and what is known of the pace of its handlers.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many handlers there can be at once.
    concurrency: usize,
    /// What is received ahead begins within this time.
    ahead: Duration,
    polls: usize,
    /// Messages that polls under way may bring.
    reserved: usize,
    /// How many polls there should be at most.
    target: usize,
    grown: Option<Instant>,
    /// The mean time of a handler, in seconds.
    handling: Option<f64>,
    /// The mean time of a receive that need not wait, in seconds.
    receiving: Option<f64>,
    /// Whether the last answer was at least half full.
    busy: bool,
    answered: Option<Instant>,
    /// Receives that failed since the last that did not.
    failures: u32,
}

/// Whether one poll more may begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// For so many messages; and whether it is the only one.
    Poll { most: usize, only: bool },
    /// There is room, but not for a whole receive.
    Few,
    /// There is no room.
    Full,
    /// There are as many as should be.
    Enough,
}

/// What a receive brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) asked: usize,
    pub(super) came: usize,
    /// Whether nothing was waiting for a handler when it came.
    pub(super) hungry: bool,
    pub(super) took: Duration,
}

impl Pace {
    pub(super) fn new(concurrency: usize, visibility: Duration) -> Self {
        Pace {
            concurrency,
            ahead: AHEAD.min(visibility / 4),
            polls: 0,
            reserved: 0,
            target: 1,
            grown: None,
            handling: None,
            receiving: None,
            busy: false,
            answered: None,
            failures: 0,
        }
    }

    /// How many messages are held beside those in handlers: what these finish while a receive is under way,
    /// and a delete, which takes as long; and one receive, as that asks for ten at once.
    pub(super) fn prefetch(&self) -> usize {
        let Some(handling) = self.handling else { return 0 };
        let most = (self.concurrency * 10).clamp(PREFETCH.0, PREFETCH.1) as f64;
        let rate = self.concurrency as f64 / handling.max(f64::EPSILON);
        let receiving = self.receiving.unwrap_or(RECEIVE.as_secs_f64());
        let wanted = rate * 2.0 * receiving + BATCH_ENTRIES as f64;
        wanted.min(rate * self.ahead.as_secs_f64()).min(most) as usize
    }

    /// The most messages that are held at once.
    pub(super) fn capacity(&self) -> usize {
        self.concurrency + self.prefetch()
    }

    /// Whether a poll may begin beside `held` messages, where no more than `room` may come in any
    /// case. A `patient` caller does not take less than a whole receive.
    pub(super) fn offer(&mut self, held: usize, room: usize, patient: bool) -> Offer {
        if self.polls >= self.target {
            return Offer::Enough;
        }
        let room = self.capacity().saturating_sub(held + self.reserved).min(room);
        let whole = self.capacity().min(BATCH_ENTRIES);
        let most = room.min(BATCH_ENTRIES);
        if most == 0 || (most < whole && self.polls > 0) {
            return Offer::Full;
        }
        if most < whole && patient {
            return Offer::Few;
        }
        let only = self.polls == 0;
        self.polls += 1;
        self.reserved += most;
        Offer::Poll { most, only }
    }

    /// A poll has ended; whether another one should begin beside those that there are.
    pub(super) fn answered(&mut self, answer: Answer, now: Instant) -> bool {
        let Answer { asked, came, hungry, took } = answer;
        self.ended(asked);
        self.failures = 0;
        self.answered = Some(now);
        self.busy = came * 2 >= asked;
        if came < asked {
            self.target = match came {
                0 => 1,
                _ if self.busy => self.target,
                _ => (self.target - 1).max(1),
            };
            return false;
        }
        mean(&mut self.receiving, took.as_secs_f64(), 1);
        let watched = self.grown.is_none_or(|grown| now >= grown + GROWTH);
        let grows = hungry && watched && self.target < MOST_POLLS;
        if grows {
            self.target += 1;
            self.grown = Some(now);
        }
        grows
    }

    /// A poll has failed; how many in a row these are.
    pub(super) fn failed(&mut self, asked: usize) -> u32 {
        self.ended(asked);
        self.target = 1;
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// A poll was dropped.
    pub(super) fn dropped(&mut self, asked: usize) {
        self.ended(asked);
    }

    fn ended(&mut self, asked: usize) {
        self.polls -= 1;
        self.reserved -= asked;
    }

    /// Handlers ended, which were busy for so long together.
    pub(super) fn handled(&mut self, handlers: usize, busy: Duration) {
        if handlers > 0 {
            mean(&mut self.handling, busy.as_secs_f64() / handlers as f64, handlers);
        }
    }

    /// Whether messages come so slowly that it is not worth while to wait for more.
    pub(super) fn is_quiet(&self) -> bool {
        !self.busy
    }

    /// When the last successful receive ended.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        self.answered
    }

    /// How many polls are under way.
    pub(super) fn polls(&self) -> usize {
        self.polls
    }
}

/// Moves a mean towards what was measured `times` times.
fn mean(mean: &mut Option<f64>, measured: f64, times: usize) {
    let times = i32::try_from(times).unwrap_or(i32::MAX);
    *mean = Some(match *mean {
        None => measured,
        Some(mean) => measured + (mean - measured) * (1.0 - WEIGHT).powi(times),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn pace(concurrency: usize, handling: Option<Duration>) -> Pace {
        let mut pace = Pace::new(concurrency, MINUTE);
        if let Some(handling) = handling {
            pace.handled(1, handling);
        }
        pace
    }

    fn full(hungry: bool) -> Answer {
        Answer { asked: 10, came: 10, hungry, took: Duration::from_millis(10) }
    }

    #[test]
    fn slow_handlers_have_nothing_received_ahead_and_fast_ones_no_more_than_ten_times_as_much() {
        assert_eq!(pace(30, None).prefetch(), 0, "as long as nothing is known");
        assert_eq!(pace(30, Some(MINUTE)).prefetch(), 0);
        assert_eq!(pace(30, Some(SECOND)).prefetch(), 7, "what begins in a quarter of a second");
        assert_eq!(
            pace(30, Some(SECOND / 200)).prefetch(),
            250,
            "6,000 a second for 40 ms, and 10"
        );
        assert_eq!(pace(30, Some(Duration::ZERO)).prefetch(), 300);
        assert_eq!(pace(1, Some(Duration::ZERO)).prefetch(), 30);
        assert_eq!(pace(100_000, Some(Duration::ZERO)).prefetch(), 1_000);
    }

    #[test]
    fn what_polls_may_bring_and_what_is_held_is_never_more_than_there_is_room_for() {
        let mut pace = pace(30, Some(Duration::ZERO));
        pace.target = 100;
        let mut reserved = 0;
        while let Offer::Poll { most, only } = pace.offer(125, usize::MAX, true) {
            assert_eq!(only, reserved == 0);
            reserved += most;
        }
        assert_eq!(reserved, 200, "of 330");
    }

    #[test]
    fn the_first_poll_takes_what_there_is_and_others_only_a_whole_receive() {
        let mut pace = pace(30, None);
        pace.target = 3;
        assert_eq!(pace.offer(25, usize::MAX, true), Offer::Few);
        assert_eq!(pace.offer(30, usize::MAX, true), Offer::Full);
        assert_eq!(pace.offer(25, usize::MAX, false), Offer::Poll { most: 5, only: true });
        assert_eq!(pace.offer(0, 9, false), Offer::Full);
        assert_eq!(pace.offer(15, usize::MAX, true), Offer::Poll { most: 10, only: false });
        assert_eq!(pace.offer(6, usize::MAX, true), Offer::Full, "15 are on their way");
    }

    #[test]
    fn polls_are_added_one_by_one_while_answers_are_full_and_handlers_hungry() {
        let (mut pace, start) = (pace(1_000, Some(Duration::ZERO)), Instant::now());
        for step in 0..100 {
            assert!(matches!(pace.offer(0, usize::MAX, true), Offer::Poll { .. }));
            pace.answered(full(true), start + GROWTH * step / 2);
        }
        assert_eq!(pace.target, MOST_POLLS);
        assert!(matches!(pace.offer(0, usize::MAX, true), Offer::Poll { .. }));
        let one = Answer { came: 1, ..full(true) };
        assert!(!pace.answered(one, start));
        assert_eq!(pace.target, MOST_POLLS - 1);
        assert!(matches!(pace.offer(0, usize::MAX, true), Offer::Poll { .. }));
        pace.answered(Answer { came: 0, ..full(true) }, start);
        assert_eq!(pace.target, 1);
    }

    #[test]
    fn no_poll_is_added_where_messages_wait_for_handlers() {
        let (mut pace, now) = (pace(30, None), Instant::now());
        for _ in 0..10 {
            assert!(matches!(pace.offer(0, usize::MAX, true), Offer::Poll { .. }));
            assert!(!pace.answered(full(false), now));
        }
        assert_eq!(pace.target, 1);
    }
}
