//! Publishing what waits, and no more.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use fanfare_sql::{Drained, OnRefusal};
use tokio::sync::Notify;

use crate::{
    broker::{Broker, number, refused, unavailable},
    places::{Happened, Place, Running, on_both},
    relay::{events, in_order},
};

on_both! {
    a_drain_publishes_all_that_waits_in_order_and_ends,
    an_empty_outbox_costs_no_lease,
    a_drain_that_is_stopped_loses_nothing_and_the_next_goes_on_at_once,
    a_stop_that_has_come_already_publishes_nothing,
    a_broker_that_is_down_ends_the_drain_and_the_next_catches_up,
    a_broker_that_is_busy_does_not_end_the_drain,
    a_refused_event_is_held_and_its_key_goes_on_when_it_is_released,
    with_skip_a_refused_event_is_given_up,
    what_another_has_leased_is_left_to_it,
    what_is_committed_while_a_drain_runs_goes_out_with_it,
    drains_beside_each_other_publish_each_event_once,
    drains_beside_a_relay_publish_each_event_once,
    a_drain_may_take_longer_than_its_lease,
    without_tables_a_drain_fails,
}

async fn drain(place: &Place, broker: &Broker) -> Drained {
    place.relay(broker).drain(pending()).await.unwrap()
}

/// What was done and left: published, waiting, held.
fn told(drained: Drained) -> (u64, u64, u64) {
    (drained.published, drained.waiting, drained.held)
}

async fn nothing_is_leased(place: &Place) {
    assert_eq!(place.count("outbox_shards where owner is not null").await, 0);
    assert_eq!(place.count("outbox_relays").await, 0);
}

async fn a_drain_publishes_all_that_waits_in_order_and_ends(place: Place) {
    for chunk in events(50, 20).chunks(100) {
        place.record(chunk.to_vec()).await.unwrap();
    }
    let broker = Broker::new();
    assert_eq!(told(drain(&place, &broker).await), (1_000, 0, 0));
    in_order(&broker.by_key(), 50, 20);
    assert_eq!(broker.count(), 1_000);
    assert_eq!(place.count("outbox").await, 0);
    nothing_is_leased(&place).await;
    assert_eq!(drain(&place, &broker).await, Drained::default());
}

async fn an_empty_outbox_costs_no_lease(place: Place) {
    place.execute("drop table fanfare_outbox_shards").await;
    place.execute("drop table fanfare_outbox_relays").await;
    let broker = Broker::new();
    assert_eq!(drain(&place, &broker).await, Drained::default());
}

async fn a_drain_that_is_stopped_loses_nothing_and_the_next_goes_on_at_once(place: Place) {
    place.record(events(1, 200)).await.unwrap();
    let stop = Arc::new(Notify::new());
    let enough = Arc::clone(&stop);
    let broker = Broker::with(move |message| {
        if number(message) == 9 {
            enough.notify_one();
        }
        Ok(())
    });
    // So slow that all of them would take a second, in waves of some 20 ms.
    let broker = broker.answering_late(200, Duration::from_millis(5));
    let first = place.relay(&broker).drain(stop.notified()).await.unwrap();
    assert!((10..200).contains(&first.published), "{first:?}");
    assert_eq!((first.waiting, broker.count() as u64), (200 - first.published, first.published));
    nothing_is_leased(&place).await;
    assert_eq!(told(drain(&place, &broker).await), (200 - first.published, 0, 0));
    assert_eq!(broker.count(), 200);
    in_order(&broker.by_key(), 1, 200);
}

async fn a_stop_that_has_come_already_publishes_nothing(place: Place) {
    place.record(events(2, 2)).await.unwrap();
    let broker = Broker::new();
    let drained = place.relay(&broker).drain(std::future::ready(())).await.unwrap();
    assert_eq!((told(drained), broker.count()), ((0, 4, 0), 0));
}

async fn a_broker_that_is_down_ends_the_drain_and_the_next_catches_up(place: Place) {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let broker = Broker::with(move |message| match is_down.load(Ordering::SeqCst) {
        true => Err(unavailable(message)),
        false => Ok(()),
    });
    place.record(events(40, 5)).await.unwrap();
    assert_eq!(told(drain(&place, &broker).await), (0, 200, 0));
    // Three tries of each lane.
    assert!(broker.calls().len() <= 12, "{:?}", broker.calls());
    nothing_is_leased(&place).await;
    down.store(false, Ordering::SeqCst);
    assert_eq!(told(drain(&place, &broker).await), (200, 0, 0));
    in_order(&broker.by_key(), 40, 5);
}

async fn a_broker_that_is_busy_does_not_end_the_drain(place: Place) {
    let mut failed = std::collections::HashSet::new();
    let broker = Broker::with(move |message| match failed.insert(message.id.clone()) {
        true if number(message) == 1 => Err(unavailable(message)),
        _ => Ok(()),
    });
    place.record(events(10, 4)).await.unwrap();
    assert_eq!(told(drain(&place, &broker).await), (40, 0, 0));
    in_order(&broker.by_key(), 10, 4);
}

async fn a_refused_event_is_held_and_its_key_goes_on_when_it_is_released(place: Place) {
    let broker = Broker::with(|message| match (message.key.as_str(), number(message)) {
        ("k-1", 2) => Err(refused(message)),
        _ => Ok(()),
    });
    place.record(events(3, 5)).await.unwrap();
    let relay = place.relay(&broker).attempts(2);
    assert_eq!(told(relay.drain(pending()).await.unwrap()), (12, 0, 1));
    assert_eq!(place.outbox.held().await.unwrap()[0].failures, 2);
    // Nothing else waits: the hold's end is enough.
    broker.judge_by(|_| Ok(()));
    assert!(place.outbox.release("k-1").await.unwrap());
    assert_eq!(told(relay.drain(pending()).await.unwrap()), (3, 0, 0));
    in_order(&broker.by_key(), 3, 5);
}

async fn with_skip_a_refused_event_is_given_up(place: Place) {
    let broker = Broker::with(|message| match number(message) {
        1 => Err(refused(message)),
        _ => Ok(()),
    });
    place.record(events(5, 3)).await.unwrap();
    let relay = place.relay(&broker).attempts(1).on_refusal(OnRefusal::Skip);
    assert_eq!(told(relay.drain(pending()).await.unwrap()), (10, 0, 0));
    assert_eq!(place.count("outbox_dead").await, 5);
    assert!(broker.by_key().values().all(|numbers| *numbers == [0, 2]));
}

async fn what_another_has_leased_is_left_to_it(place: Place) {
    place.record(events(8, 2)).await.unwrap();
    place.lease_all_to("another", 3_600).await;
    let broker = Broker::new();
    assert_eq!(told(drain(&place, &broker).await), (0, 16, 0));
    assert_eq!(place.count("outbox_shards where owner = 'another'").await, 64);
    // Its lease has ended: it is dead.
    place.lease_all_to("another", -1).await;
    assert_eq!(told(drain(&place, &broker).await), (16, 0, 0));
}

async fn what_is_committed_while_a_drain_runs_goes_out_with_it(place: Place) {
    let (go_on, told_to) = mpsc::channel::<()>();
    let came = Arc::new(Notify::new());
    let first = Arc::clone(&came);
    let broker = Broker::with(move |_| {
        first.notify_one();
        // Until there is nobody any more who could tell it.
        tokio::task::block_in_place(|| told_to.recv()).unwrap_err();
        Ok(())
    });
    place.record(vec![Happened::new("a", 0)]).await.unwrap();
    let relay = place.relay(&broker);
    let under_way = tokio::spawn(async move { relay.drain(pending()).await.unwrap() });
    came.notified().await;
    place.record(vec![Happened::new("a", 1), Happened::new("b", 0)]).await.unwrap();
    place.execute("update fanfare_outbox_shards set owner = 'another', expires_at = null where owner is null").await;
    let other = Broker::new();
    assert_eq!(told(drain(&place, &other).await), (0, 3, 0), "all is leased");
    place.execute("update fanfare_outbox_shards set owner = null where owner = 'another'").await;
    drop(go_on);
    assert_eq!(told(under_way.await.unwrap()), (3, 0, 0));
    assert_eq!(broker.by_key()["a"], [0, 1]);
}

async fn drains_beside_each_other_publish_each_event_once(place: Place) {
    let broker = Broker::new();
    let mut published = 0;
    for chunk in events(30, 20).chunks(60) {
        place.record(chunk.to_vec()).await.unwrap();
        let (a, b, c) =
            tokio::join!(drain(&place, &broker), drain(&place, &broker), drain(&place, &broker));
        published += a.published + b.published + c.published;
    }
    published += drain(&place, &broker).await.published;
    assert_eq!((published, broker.count()), (600, 600));
    in_order(&broker.by_key(), 30, 20);
}

async fn drains_beside_a_relay_publish_each_event_once(place: Place) {
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    for chunk in events(30, 20).chunks(60) {
        place.record(chunk.to_vec()).await.unwrap();
        drain(&place, &broker).await;
    }
    broker.has(600).await;
    relay.stop().await;
    assert_eq!(broker.count(), 600);
    in_order(&broker.by_key(), 30, 20);
    assert_eq!(place.count("outbox").await, 0);
}

async fn a_drain_may_take_longer_than_its_lease(place: Place) {
    place.record(events(1, 90)).await.unwrap();
    let broker = Broker::new().answering_late(90, Duration::from_millis(30));
    let relay = place.relay(&broker).lease(Duration::from_secs(2));
    assert_eq!(told(relay.drain(pending()).await.unwrap()), (90, 0, 0));
    in_order(&broker.by_key(), 1, 90);
    nothing_is_leased(&place).await;
}

async fn without_tables_a_drain_fails(place: Place) {
    place.execute("drop table fanfare_outbox").await;
    let error = place.relay(&Broker::new()).drain(pending()).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}
