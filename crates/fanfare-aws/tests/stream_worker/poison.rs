//! What can never be handled, and what is not for this service.

use fanfare_core::{Outcome, Policy, Reason, Retry, Router};
use fanfare_kpl::Aggregator;
use fanfare_sim::Fault;
use fanfare_topology::Kinesis;
use tokio::time::sleep;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn poison_goes_to_the_dead_letter_queue_with_its_place_and_its_neighbours_are_handled() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a", "b", "a", "b"]).await;
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.event.number {
        0 => Act::Retry,
        1 => Act::Reject,
        _ => Act::Succeed,
    });
    let working = shop.work(consumer.retry(Retry::default().max_attempts(3)));
    until(|| seen.len() >= 6).await;
    sleep(seconds(60)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0, 0, 0, 1, 2, 3]);
    seen.assert_in_order();
    let mut parked = shop.stream.dead_letters().await.unwrap();
    parked.sort_by_key(|parked| parked.receive_count);
    let reasons: Vec<_> = parked.iter().map(|parked| parked.reason.clone().unwrap()).collect();
    assert_eq!(reasons, ["rejected: never", "failed for good at attempt 3: not yet"]);
    let records = shop.sim.stream_records(STREAM);
    for (parked, number) in parked.iter().zip([1, 0]) {
        let call = seen.calls().into_iter().find(|call| call.number == number).unwrap();
        let place: Vec<_> = call.message_id.split('/').collect();
        assert_eq!(parked.shard_id.as_deref(), Some(place[0]));
        assert_eq!(parked.sequence_number.as_deref(), Some(place[1]));
        assert!(records.iter().any(|record| record.sequence_number == place[1]));
        assert!(parked.event_id.is_some());
    }
    let letter = &shop.letters()[0];
    assert_eq!(letter.attribute("dead-letter-stream"), Some(STREAM));
    assert!(letter.body.contains("\"order_id\":"), "the body is untouched");
    // All of it is done.
    let again = shop.work(noting().with_state(seen.clone()));
    sleep(seconds(60)).await;
    again.finish().await.unwrap();
    assert_eq!(seen.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_the_dead_letter_queue_does_not_take_stays_and_holds_its_key() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a", "a", "b"]).await;
    for fault in [Fault::Throttle, Fault::BreakConnection, Fault::ServerError] {
        shop.sim.inject("SendMessage", fault);
    }
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.event.number {
        0 => Act::Reject,
        _ => Act::Succeed,
    });
    let working = shop.work(seen.observe(consumer));
    until(|| shop.dead() == 1).await;
    sleep(seconds(5)).await;
    working.finish().await.unwrap();
    let calls: Vec<_> = seen.calls().iter().map(|call| call.number).collect();
    assert_eq!(calls.iter().filter(|number| **number == 0).count(), 4);
    assert_eq!(calls.last(), Some(&1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn events_for_others_are_let_go_and_other_versions_go_by_the_policy() {
    for (policy, dead) in [(Policy::DeadLetter, 1), (Policy::Acknowledge, 0)] {
        let shop = Shop::new(Kinesis::shards(1)).await;
        let paid: Vec<_> = (0..50).map(|i| OrderPaid { order_id: format!("o-{i}") }).collect();
        shop.orders().emit_all(paid).await.unwrap().into_result().unwrap();
        let newer = body_of(&order("a", 7)).replace("OrderPlaced.v1", "OrderPlaced.v2");
        shop.put("a", newer).await;
        shop.publish(1, &["a"]).await;
        let seen = Seen::default();
        let router: Router<Seen> = noting().unknown_tags(policy);
        let working = shop.work(seen.observe(router.with_state(seen.clone())));
        until(|| seen.len() == 1).await;
        sleep(seconds(10)).await;
        working.finish().await.unwrap();
        assert_eq!(shop.dead(), dead);
        let ignored = seen.outcomes().into_iter().filter(|outcome| {
            matches!(outcome, Outcome::Ignored(Reason::UnknownTag { handled: None, .. }))
        });
        assert_eq!(ignored.count(), 50);
        assert_eq!(seen.outcomes().len(), 52);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_parked_whatever_it_is_made_of() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.put("a", "{").await;
    shop.put("a", [0xC3, 0x28, 0x00]).await;
    shop.put("a", "\u{FFFF}").await;
    shop.put("a", "").await;
    shop.put("a", "x".repeat(1_048_575)).await;
    // The magic, two bytes that are no protocol buffer, and their MD5.
    let broken = hex::decode("f3899ac2ffffab2a0d28de6b77ffdd6c72afead099ab").unwrap();
    let place = shop.put("a", broken.clone()).await;
    shop.publish(0, &["a"]).await;
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    until(|| seen.len() == 1).await;
    working.finish().await.unwrap();
    let letters = shop.letters();
    let bodies: Vec<_> = letters.iter().map(|letter| &*letter.body).collect();
    assert_eq!(bodies[..3], ["{", "wygA", "77+/"]);
    for named in &bodies[3..5] {
        assert!(named.starts_with("{\"sequenceNumber\":\"") && named.contains(STREAM), "{named}");
    }
    assert_eq!(bodies[5], "84mawv//qyoNKN5rd//dbHKv6tCZqw==");
    let encodings: Vec<_> =
        letters.iter().map(|letter| letter.attribute("dead-letter-encoding").is_some()).collect();
    assert_eq!(encodings, [false, true, true, false, false, true]);
    assert_eq!(letters[5].attribute("dead-letter-sequence-number"), Some(&*place));
    assert!(letters[5].attribute("dead-letter-problem").unwrap().contains("aggregate"));
    for letter in &letters {
        assert!(letter.attribute("dead-letter-reason").unwrap().starts_with("undecodable: "));
    }
}

#[tokio::test(start_paused = true)]
async fn poison_within_an_aggregate_parks_itself_alone() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    let mut aggregator = Aggregator::new();
    for number in 0..5 {
        let body = if number == 2 { "no event".into() } else { body_of(&order("a", number)) };
        aggregator.add("a", None, body.as_bytes());
    }
    shop.put("a", aggregator.finish().unwrap().data).await;
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    until(|| seen.len() == 4).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0, 1, 3, 4]);
    seen.assert_in_order();
    assert_eq!(shop.letters()[0].body, "no event");
}

#[tokio::test(start_paused = true)]
async fn attempts_begin_anew_with_a_takeover() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    shop.publish(0, &["a"]).await;
    let seen = Seen::default();
    let consumer = || {
        let retry = Retry::fixed(seconds(10));
        scripted(&seen, |_| Act::Retry).retry(retry.max_attempts(3))
    };
    let working = shop.work(consumer());
    until(|| seen.len() == 2).await;
    working.kill().await;
    let working = shop.work(consumer());
    until(|| shop.dead() == 1).await;
    working.finish().await.unwrap();
    let attempts: Vec<_> = seen.calls().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 1, 2, 3]);
}
