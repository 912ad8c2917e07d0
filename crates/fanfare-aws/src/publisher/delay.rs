//! Which messages can be delayed, and for how long.

use std::time::Duration;

use fanfare_core::{Message, PublishError};
use fanfare_topology::Kind;

use crate::limits::DELAY_SECONDS;

/// Refuses a delay that its destination does not know, or ignores; `queue` is the kind of queue that it
/// is, none of a topic or stream.
pub(super) fn check(message: &Message, queue: Option<Kind>) -> Result<(), PublishError> {
    let seconds = message.delay.map_or(0, seconds);
    let problem = match queue {
        _ if seconds == 0 => return Ok(()),
        None => "only tasks can be delayed: send it to one service, by Task::to(…).after(…)".into(),
        Some(Kind::Fifo) => format!(
            "{} is FIFO, and SQS delays single messages on standard queues only: send it without \
             delay, or bind a topic that the service handles to Kind::Standard",
            message.destination
        ),
        Some(Kind::Standard) if seconds > DELAY_SECONDS => format!(
            "its delay is {seconds} s, and SQS takes at most {DELAY_SECONDS}: have a scheduler send \
             it, or its handler send it on with what is left of the time"
        ),
        Some(Kind::Standard) => return Ok(()),
    };
    Err(PublishError::Undelayable { tag: message.tag.clone(), problem })
}

/// The delay of a message that was checked, as SQS takes it; none if there is none to ask for.
pub(super) fn of(message: &Message) -> Option<i32> {
    message.delay.and_then(|delay| i32::try_from(seconds(delay)).ok()).filter(|delay| *delay > 0)
}

/// Whole seconds, rounded up.
fn seconds(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_to_whole_seconds() {
        let delays = [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, 899_000_000_001];
        let rounded = delays.map(|nanos| seconds(Duration::from_nanos(nanos)));
        assert_eq!(rounded, [0, 1, 1, 1, 2, 900]);
        assert_eq!(seconds(Duration::MAX), u64::MAX);
    }
}
