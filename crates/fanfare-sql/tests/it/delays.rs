//! Tasks that are to be seen later, recorded.

use std::time::Duration;

use fanfare_core::Task;
use fanfare_sql::{EventLog, Filter, OnRefusal, Position};

use crate::{
    broker::{Broker, number, refused},
    places::{Happened, Place, Running, on_both},
    relay::until,
};

on_both! {
    a_recorded_task_keeps_its_delay,
    a_recorded_task_keeps_its_delay_in_the_dead_letters_and_back,
    a_logged_task_keeps_its_delay,
}

const DELAY: Duration = Duration::from_millis(90_500);

fn delayed(number: u64) -> Task<Happened> {
    Task::to("billing", Happened::new(format!("k-{number}"), number)).after(DELAY)
}

/// The delays of what the broker accepted, by number.
fn accepted(broker: &Broker) -> Vec<(u64, Option<Duration>)> {
    let mut accepted: Vec<_> =
        broker.accepted().iter().map(|message| (number(message), message.delay)).collect();
    accepted.sort_unstable();
    accepted
}

async fn a_recorded_task_keeps_its_delay(place: Place) {
    let broker = Broker::new();
    // Several together, and one by itself, which is another statement.
    let events = (delayed(1), Happened::new("k", 2), delayed(3));
    place.record_in(&place.outbox, events).await.unwrap();
    place.record_in(&place.outbox, delayed(4)).await.unwrap();
    let relay = Running::start(place.relay(&broker));
    broker.has(4).await;
    relay.stop().await;
    let delay = Some(DELAY);
    assert_eq!(accepted(&broker), [(1, delay), (2, None), (3, delay), (4, delay)]);
}

async fn a_recorded_task_keeps_its_delay_in_the_dead_letters_and_back(place: Place) {
    let broker = Broker::with(|message| Err(refused(message)));
    let relay = place.relay(&broker).attempts(1).on_refusal(OnRefusal::Skip);
    let relay = Running::start(relay);
    let ids = place.record_in(&place.outbox, delayed(1)).await.unwrap();
    until("a dead letter", async || place.count("outbox_dead").await == 1).await;
    let dead = place.outbox.dead_letters().await.unwrap();
    assert_eq!(dead[0].message.delay, Some(DELAY));
    broker.judge_by(|_| Ok(()));
    assert!(place.outbox.redrive(&ids[0]).await.unwrap());
    broker.has(1).await;
    relay.stop().await;
    assert_eq!(accepted(&broker), [(1, Some(DELAY))]);
}

async fn a_logged_task_keeps_its_delay(place: Place) {
    let outbox = place.outbox.clone().logged();
    place.record_in(&outbox, (delayed(1), Happened::new("k", 2))).await.unwrap();
    let log = EventLog::new(&place.database);
    let logged = log.read(&Filter::all(), Position::START, 10).await.unwrap();
    let delays: Vec<_> =
        logged.iter().map(|event| (number(&event.message), event.message.delay)).collect();
    assert_eq!(delays, [(1, Some(DELAY)), (2, None)]);
    assert_eq!(logged[0].message.attributes[0].0, fanfare_core::TYPE_ATTRIBUTE);
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    broker.has(2).await;
    relay.stop().await;
    assert_eq!(accepted(&broker), [(1, Some(DELAY)), (2, None)]);
}
