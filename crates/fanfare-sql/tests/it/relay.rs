//! The relay in one process: order, failures, holds, several relays.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_core::PublishError;
use fanfare_sql::OnRefusal;

use crate::{
    broker::{Broker, PATIENCE, number, refused, unavailable},
    places::{Happened, Place, Running, on_both},
};

on_both! {
    what_was_recorded_is_published_in_order_and_deleted,
    what_waited_before_the_relay_started_is_published_too,
    a_backlog_of_one_key_leaves_in_order_one_event_a_call,
    a_destination_that_is_down_is_left_alone_and_then_catches_up,
    entry_k_of_a_batch_failing_delays_no_other_key,
    a_refused_event_holds_its_key_until_it_is_released,
    a_held_key_goes_on_without_the_refused_event_when_told_to,
    with_skip_a_refused_event_goes_to_the_dead_letters_at_once,
    a_dead_letter_can_be_recorded_once_more,
    several_relays_share_the_shards_and_take_over_from_a_dead_one,
}

pub(crate) fn events(keys: u64, each: u64) -> Vec<Happened> {
    (0..keys * each).map(|n| Happened::new(format!("k-{}", n % keys), n / keys)).collect()
}

pub(crate) fn in_order(by_key: &BTreeMap<String, Vec<u64>>, keys: u64, each: u64) {
    assert_eq!(by_key.len() as u64, keys);
    for (key, numbers) in by_key {
        assert_eq!(*numbers, (0..each).collect::<Vec<_>>(), "{key}");
    }
}

pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn what_was_recorded_is_published_in_order_and_deleted(place: Place) {
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    for chunk in events(50, 20).chunks(100) {
        place.record(chunk.to_vec()).await.unwrap();
    }
    broker.has(1_000).await;
    relay.stop().await;
    in_order(&broker.by_key(), 50, 20);
    assert_eq!(broker.accepted().len(), 1_000);
    assert_eq!(place.count("outbox").await, 0);
}

async fn what_waited_before_the_relay_started_is_published_too(place: Place) {
    place.record(events(10, 10)).await.unwrap();
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    broker.has(100).await;
    relay.stop().await;
    in_order(&broker.by_key(), 10, 10);
    // One event of each key in a call, and the keys of a lane together.
    assert!(broker.calls().iter().all(|&size| size <= 10), "{:?}", broker.calls());
    assert!(broker.calls().len() <= 40, "{:?}", broker.calls());
}

async fn a_backlog_of_one_key_leaves_in_order_one_event_a_call(place: Place) {
    place.record(events(1, 300)).await.unwrap();
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    broker.has(300).await;
    relay.stop().await;
    in_order(&broker.by_key(), 1, 300);
    assert_eq!(broker.calls(), [1; 300]);
}

async fn a_destination_that_is_down_is_left_alone_and_then_catches_up(place: Place) {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let broker = Broker::with(move |message| match is_down.load(Ordering::SeqCst) {
        true => Err(unavailable(message)),
        false => Ok(()),
    });
    let relay = Running::start(place.relay(&broker));
    place.record(events(40, 5)).await.unwrap();
    until("a few tries", async || broker.calls().len() >= 4).await;
    let backlog = place.outbox.backlog().await.unwrap();
    assert_eq!(backlog.iter().map(|shard| shard.events).sum::<u64>(), 200);
    // A lane's first call may have all of its keys; those that follow are few events, to find out.
    let tries = broker.calls();
    assert!(tries.iter().filter(|&&size| size > 10).count() <= 4, "{tries:?}");
    down.store(false, Ordering::SeqCst);
    broker.has(200).await;
    relay.stop().await;
    in_order(&broker.by_key(), 40, 5);
}

async fn entry_k_of_a_batch_failing_delays_no_other_key(place: Place) {
    // Each event fails once, by itself, as entries of a batch do.
    let mut failed = std::collections::HashSet::new();
    let broker = Broker::with(move |message| {
        if number(message) % 3 == 1 && failed.insert(message.id.clone()) {
            return Err(unavailable(message));
        }
        Ok(())
    });
    let relay = Running::start(place.relay(&broker));
    place.record(events(20, 6)).await.unwrap();
    broker.has(120).await;
    relay.stop().await;
    in_order(&broker.by_key(), 20, 6);
    assert_eq!(broker.accepted().len(), 120);
}

async fn a_refused_event_holds_its_key_until_it_is_released(place: Place) {
    let broker = Broker::with(|message| match (message.key.as_str(), number(message)) {
        ("k-1", 2) => Err(refused(message)),
        _ => Ok(()),
    });
    let relay = Running::start(place.relay(&broker).attempts(2));
    place.record(events(3, 5)).await.unwrap();
    until("a hold", async || !place.outbox.held().await.unwrap().is_empty()).await;
    broker.has(12).await;
    // What comes for the key later waits with the rest, and for others nothing does.
    place.record(vec![Happened::new("k-1", 5), Happened::new("k-2", 5)]).await.unwrap();
    broker.has(13).await;
    until("the new event to be parked", async || place.count("outbox_parked").await == 4).await;
    let held = place.outbox.held().await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].key.as_str(), held[0].failures, held[0].waiting), ("k-1", 2, 4));
    assert!(held[0].reason.contains("InvalidParameter"), "{held:?}");
    until("all to be settled", async || place.count("outbox").await == 0).await;

    broker.judge_by(|_| Ok(()));
    assert!(!place.outbox.release("k-2").await.unwrap());
    assert!(place.outbox.release("k-1").await.unwrap());
    broker.has(17).await;
    relay.stop().await;
    assert_eq!(broker.by_key()["k-1"], [0, 1, 2, 3, 4, 5]);
    assert!(place.outbox.held().await.unwrap().is_empty());
    assert_eq!(place.count("outbox_parked").await, 0);
}

async fn a_held_key_goes_on_without_the_refused_event_when_told_to(place: Place) {
    let broker = Broker::with(|message| match number(message) {
        1 => Err(refused(message)),
        _ => Ok(()),
    });
    let relay = Running::start(place.relay(&broker).attempts(1));
    let ids = place.record(events(1, 4)).await.unwrap();
    until("a hold", async || !place.outbox.held().await.unwrap().is_empty()).await;
    assert!(place.outbox.dead_letter("k-0").await.unwrap());
    assert!(!place.outbox.dead_letter("k-0").await.unwrap());
    broker.has(3).await;
    relay.stop().await;
    assert_eq!(broker.by_key()["k-0"], [0, 2, 3]);
    let dead = place.outbox.dead_letters().await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].message.id, ids[1]);
    assert!(dead[0].reason.contains("InvalidParameter"), "{dead:?}");
}

async fn with_skip_a_refused_event_goes_to_the_dead_letters_at_once(place: Place) {
    let broker = Broker::with(|message| match number(message) {
        1 => Err(refused(message)),
        _ => Ok(()),
    });
    let relay = place.relay(&broker).attempts(1).on_refusal(OnRefusal::Skip);
    let relay = Running::start(relay);
    place.record(events(5, 4)).await.unwrap();
    broker.has(15).await;
    until("five dead letters", async || place.count("outbox_dead").await == 5).await;
    relay.stop().await;
    assert!(broker.by_key().values().all(|numbers| *numbers == [0, 2, 3]));
    assert_eq!(place.count("outbox").await, 0);
    assert_eq!(place.outbox.purge_dead_letters(Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(place.outbox.purge_dead_letters(Duration::ZERO).await.unwrap(), 5);
}

async fn a_dead_letter_can_be_recorded_once_more(place: Place) {
    let too_large = |message: &fanfare_core::Message| PublishError::OverLimit {
        tag: message.tag.clone(),
        what: "the message",
        actual: 2,
        limit: 1,
        unit: "bytes",
    };
    let broker = Broker::with(move |message| Err(too_large(message)));
    let relay = place.relay(&broker).attempts(1).on_refusal(OnRefusal::Skip);
    let relay = Running::start(relay);
    let ids = place.record(events(1, 1)).await.unwrap();
    until("a dead letter", async || place.count("outbox_dead").await == 1).await;
    broker.judge_by(|_| Ok(()));
    assert!(place.outbox.redrive(&ids[0]).await.unwrap());
    assert!(!place.outbox.redrive(&ids[0]).await.unwrap());
    broker.has(1).await;
    relay.stop().await;
    assert_eq!(broker.accepted()[0].id, ids[0]);
}

async fn several_relays_share_the_shards_and_take_over_from_a_dead_one(place: Place) {
    let brokers = [Broker::new(), Broker::new()];
    let lease = Duration::from_millis(600);
    let mut relays = Vec::new();
    for broker in &brokers {
        relays.push(Running::start(place.relay(broker).lease(lease)));
    }
    // A relay that the machine lets wait past its lease publishes some again.
    let accepted = || {
        let all = brokers.iter().flat_map(Broker::accepted);
        all.map(|message| message.id).collect::<HashSet<_>>().len()
    };
    let mut recorded = 0;
    until("both to publish", async || {
        place.record(events(20, 1)).await.unwrap();
        recorded += 20;
        brokers.iter().all(|broker| broker.count() > 0)
    })
    .await;
    until("all of it", async || accepted() == recorded).await;
    relays.remove(0).kill().await;
    place.record(events(64, 1)).await.unwrap();
    // Those of the dead one come when its lease has ended.
    until("the rest", async || accepted() == recorded + 64).await;
    relays.remove(0).stop().await;
    assert_eq!(place.count("outbox").await, 0);
}
