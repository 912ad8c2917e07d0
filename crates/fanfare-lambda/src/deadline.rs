//! How much time an invocation has.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// By when an invocation has to be done. Made from Lambda's clock once, when it starts; from then on
/// time is tokio's.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// From when on nothing is begun.
    begin_by: Instant,
    /// When what runs is asked to end.
    reached: Instant,
    /// When it is no longer waited for.
    over: Instant,
}

/// The least that is kept free of beginnings, if there is twice as much.
const RESERVE: Duration = Duration::from_secs(1);

/// The bounds of what is kept for the answer.
const ANSWER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

impl Deadline {
    /// For an invocation that starts now and ends at `deadline`, as Lambda says: milliseconds since
    /// 1970.
    pub(crate) fn starting_now(deadline: u64) -> Self {
        let end = SystemTime::UNIX_EPOCH + Duration::from_millis(deadline);
        Deadline::after(end.duration_since(SystemTime::now()).unwrap_or_default())
    }

    fn after(left: Duration) -> Self {
        let now = Instant::now();
        let reserve = if left < 2 * RESERVE { left / 2 } else { (left / 5).max(RESERVE) };
        let answer = (left / 20).clamp(ANSWER.0, ANSWER.1);
        Deadline {
            begin_by: now + (left - reserve),
            reached: now + left.saturating_sub(answer),
            over: now + left.saturating_sub(answer / 2),
        }
    }

    /// Resolves when it is time to end: a twentieth of the time that the invocation had is left, no
    /// less than 200 ms and no more than a second. Resolves at once when that has passed.
    pub async fn reached(&self) {
        tokio::time::sleep_until(self.reached).await;
    }

    /// The time until [`reached`](Self::reached) resolves; zero if it would at once.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.reached.saturating_duration_since(Instant::now())
    }

    /// Whether anything may be begun.
    pub(crate) fn may_begin(&self) -> bool {
        Instant::now() < self.begin_by
    }

    /// Resolves when nothing can be waited for any longer: half of what was left when it was
    /// [`reached`](Self::reached) has passed.
    pub(crate) async fn over(&self) {
        tokio::time::sleep_until(self.over).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds until nothing is begun, until it is reached, and until it is over.
    async fn of(left: u64) -> [u128; 3] {
        let now = Instant::now();
        let Deadline { begin_by, reached, over } = Deadline::after(Duration::from_millis(left));
        [begin_by, reached, over].map(|at| (at - now).as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_follows_what_was_left() {
        assert_eq!(of(900_000).await, [720_000, 899_000, 899_500]);
        assert_eq!(of(10_000).await, [8_000, 9_500, 9_750]);
        assert_eq!(of(3_000).await, [2_000, 2_800, 2_900]);
        assert_eq!(of(2_000).await, [1_000, 1_800, 1_900]);
        assert_eq!(of(1_000).await, [500, 800, 900]);
        assert_eq!(of(100).await, [50, 0, 0]);
        assert_eq!(of(0).await, [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_is_reached_at_once_and_lets_nothing_begin() {
        let deadline = Deadline::starting_now(1_000);
        assert!(!deadline.may_begin());
        assert_eq!(deadline.left(), Duration::ZERO);
        deadline.reached().await;
        deadline.over().await;
    }
}
