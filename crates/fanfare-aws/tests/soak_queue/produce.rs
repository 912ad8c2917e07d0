//! Those who publish.

use std::{collections::BTreeMap, time::Duration};

use fanfare_core::{Message, Publisher};
use tokio::{task::JoinSet, time::sleep};

use crate::events::{line, message};

pub const PRODUCERS: usize = 4;

/// Between two bursts.
const PAUSE: Duration = Duration::from_secs(4);

/// Publishes the events of this producer's keys, each key's in order, until all are accepted.
pub async fn in_batches(
    publisher: impl Publisher,
    producer: usize,
    events: usize,
    mut rng: fastrand::Rng,
) {
    let mut numbers = (0..events).filter(|number| line(*number) % PRODUCERS == producer).peekable();
    while numbers.peek().is_some() {
        let batch = numbers.by_ref().take(rng.usize(1..400)).map(message).collect();
        publish(&publisher, batch).await;
        sleep(PAUSE.mul_f64(rng.f64())).await;
    }
}

/// The same by a caller for each key, who publishes one event after another.
pub async fn one_by_one(
    publisher: impl Publisher + Clone + 'static,
    producer: usize,
    events: usize,
    mut rng: fastrand::Rng,
) {
    let mut lines: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for number in (0..events).filter(|number| line(*number) % PRODUCERS == producer) {
        lines.entry(line(number)).or_default().push(number);
    }
    let mut callers = JoinSet::new();
    for numbers in lines.into_values() {
        let (publisher, mut rng) = (publisher.clone(), rng.fork());
        callers.spawn(async move {
            for number in numbers {
                publish(&publisher, vec![message(number)]).await;
                if rng.u8(..) == 0 {
                    sleep(PAUSE.mul_f64(rng.f64())).await;
                }
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
}

/// As an outbox would: the same messages until they are accepted.
async fn publish(publisher: &impl Publisher, mut messages: Vec<Message>) {
    while !messages.is_empty() {
        let report = publisher.publish(&messages).await;
        let outcomes = report.outcomes().iter().zip(messages);
        messages = outcomes.filter(|(outcome, _)| outcome.is_err()).map(|(_, m)| m).collect();
    }
}
