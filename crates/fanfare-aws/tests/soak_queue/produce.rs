//! Those who publish.

use std::time::Duration;

use fanfare_core::{Message, Publisher};
use tokio::time::sleep;

use crate::events::{line, message};

pub const PRODUCERS: usize = 4;

/// Publishes the events of this producer's keys, each key's in order, until all are accepted: as an
/// outbox would, the same messages until they are.
pub async fn produce(
    publisher: impl Publisher,
    producer: usize,
    events: usize,
    mut rng: fastrand::Rng,
) {
    let mut numbers = (0..events).filter(|number| line(*number) % PRODUCERS == producer).peekable();
    while numbers.peek().is_some() {
        let mut left: Vec<Message> =
            numbers.by_ref().take(rng.usize(1..400)).map(message).collect();
        while !left.is_empty() {
            let report = publisher.publish(&left).await;
            let outcomes = report.outcomes().iter().zip(left);
            left = outcomes.filter(|(outcome, _)| outcome.is_err()).map(|(_, m)| m).collect();
        }
        sleep(Duration::from_millis(rng.u64(..4_000))).await;
    }
}
