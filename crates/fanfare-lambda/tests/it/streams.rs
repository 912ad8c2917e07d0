use fanfare_core::{Metadata, Retry, Router};
use fanfare_kpl::Aggregator;
use fanfare_lambda::{InvocationError, kinesis};
use serde_json::json;

use crate::world::{World, event, failures, invoke, order, placed, record};

const NINE: &str = "49999999999999999999999999999999999999999999999999999999";
const TEN: &str = "50000000000000000000000000000000000000000000000000000000";

fn ids(world: &World) -> Vec<String> {
    world.metadata().into_iter().map(|metadata| metadata.message_id).collect()
}

#[tokio::test(start_paused = true)]
async fn the_lowest_number_that_was_not_handled_is_reported_alone() {
    for (numbers, lowest) in [
        // As numbers, not as texts.
        (["8", "9", "10"], "9"),
        (["99", "100", "1000"], "100"),
        (["8", TEN, NINE], NINE),
        (["8", NINE, TEN], NINE),
    ] {
        let world = World::default();
        let [a, b, c] = numbers;
        let batch =
            event([order(a, "k1", "a"), order(b, "k2", "fail-1"), order(c, "k3", "fail-2")]);
        let response = invoke(&kinesis(world.consumer()), batch).await.unwrap();
        assert_eq!(response, failures(&[lowest]), "{numbers:?}");
        assert_eq!(world.done(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_stops_at_its_first_failure_and_other_keys_go_on() {
    let world = World::default();
    let batch = event([
        order("1", "k1", "a1"),
        order("2", "k2", "fail-1"),
        order("3", "k1", "a2"),
        order("4", "k2", "b2"),
    ]);
    let response = invoke(&kinesis(world.consumer()), batch).await.unwrap();
    assert_eq!(response, failures(&["2"]));
    assert_eq!(world.begun(), ["a1", "fail-1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_told_of_by_shard_and_number() {
    let world = World::default();
    invoke(&kinesis(world.consumer()), event([order("7", "k1", "a")])).await.unwrap();
    let metadata = world.metadata().remove(0);
    let Metadata { message_id, attempt, group, sent_at, .. } = metadata;
    assert_eq!((&*message_id, attempt), ("shardId-000000000006/7", 1));
    assert_eq!(group.as_deref(), Some("k1"));
    assert_eq!(sent_at.unwrap().as_millisecond(), 1_700_000_000_123);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_is_its_events_each_with_its_own_key() {
    let world = World::default();
    let mut aggregator = Aggregator::new();
    for (key, order_id) in [("k1", "a1"), ("k2", "fail-1"), ("k1", "a2"), ("k2", "b2")] {
        aggregator.add(key, None, placed(order_id).to_string().as_bytes());
    }
    let aggregate = record("8", "k1", &aggregator.finish().unwrap().data);
    let batch = event([order("7", "k3", "c"), aggregate, order("9", "k2", "b3")]);
    let response = invoke(&kinesis(world.consumer()), batch).await.unwrap();
    assert_eq!(response, failures(&["8"]));
    assert_eq!(world.begun(), ["c", "a1", "fail-1", "a2"]);
    let shard = "shardId-000000000006";
    let expected = ["7", "8/0", "8/1", "8/2"].map(|place| format!("{shard}/{place}"));
    assert_eq!(ids(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn a_broken_record_goes_by_the_consumers_policy_and_does_not_fail_its_neighbours() {
    // Magic, two bytes that are no protocol buffer, and their MD5.
    let broken: [u8; 22] = [
        0xf3, 0x89, 0x9a, 0xc2, 0xff, 0xff, 0xab, 0x2a, 0x0d, 0x28, 0xde, 0x6b, 0x77, 0xff, 0xdd,
        0x6c, 0x72, 0xaf, 0xea, 0xd0, 0x99, 0xab,
    ];
    let mut no_base64 = record("2", "k2", b"");
    no_base64["kinesis"]["data"] = "%%%".into();
    let mut no_data = record("3", "k3", b"");
    no_data["kinesis"]["data"] = json!(null);
    let batch = event([
        order("1", "k1", "a"),
        no_base64,
        no_data,
        record("4", "k4", &broken),
        record("5", "k5", &[0xFF, 0xFE]),
        order("6", "k6", "b"),
    ]);
    let world = World::default();
    let function = kinesis(world.consumer()).dead_letters(world.clone());
    assert_eq!(invoke(&function, batch.clone()).await.unwrap(), failures(&[]));
    assert_eq!(world.done(), ["a", "b"]);
    let shard = "shardId-000000000006";
    let letters: Vec<_> = world.letters().into_iter().map(|(id, _)| id).collect();
    assert_eq!(letters, ["2", "3", "4", "5"].map(|number| format!("{shard}/{number}")));

    let response = invoke(&kinesis(World::default().consumer()), batch).await.unwrap();
    assert_eq!(response, failures(&["2"]), "without dead letters it is reported");
}

#[tokio::test(start_paused = true)]
async fn events_for_others_are_let_go_as_a_stream_brings_everything() {
    let world = World::default();
    let mut other = placed("a");
    other["type"] = "shop.orders.OrderPaid.v1".into();
    let other = record("1", "k1", other.to_string().as_bytes());
    let response = invoke(&kinesis(world.consumer()), event([other])).await.unwrap();
    assert_eq!(response, failures(&[]));
}

#[tokio::test(start_paused = true)]
async fn a_record_without_its_number_fails_the_invocation() {
    let mut nameless = order("1", "k1", "a");
    nameless["kinesis"]["sequenceNumber"] = json!(null);
    let function = kinesis(World::default().consumer());
    let error = invoke(&function, event([nameless])).await.unwrap_err();
    let field = "kinesis.sequenceNumber";
    assert_eq!(error, InvocationError::NoIdentifier { record: 0, field });
}

#[tokio::test(start_paused = true)]
async fn a_consumer_of_nothing_is_not_ready() {
    let mut function = kinesis(Router::<()>::new("nobody"));
    let ready = tower::ServiceExt::ready(&mut function).await;
    assert!(matches!(ready, Err(InvocationError::Consumer(_))));
}

#[tokio::test(start_paused = true)]
async fn what_was_parked_behind_a_failure_is_not_parked_again() {
    let world = World::default();
    let function = kinesis(world.consumer()).dead_letters(world.clone());
    let batch = || {
        let mut aggregator = Aggregator::new();
        for (key, order_id) in [("k1", "fail-1"), ("k2", "reject"), ("k3", "a")] {
            aggregator.add(key, None, placed(order_id).to_string().as_bytes());
        }
        let aggregate = record("1", "k1", &aggregator.finish().unwrap().data);
        event([aggregate, order("2", "k2", "reject"), order("3", "k4", "b")])
    };
    for _ in 0..3 {
        assert_eq!(invoke(&function, batch()).await.unwrap(), failures(&["1"]));
    }
    assert_eq!(world.letters().len(), 2);
    assert_eq!(world.done(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_the_function_itself_and_end() {
    let world = World::default();
    let function = kinesis(world.consumer().retry(Retry::default().max_attempts(3)))
        .dead_letters(world.clone());
    let batch =
        || event([order("1", "k1", "fail-1"), order("2", "k1", "a"), order("3", "k2", "b")]);
    for _ in 0..2 {
        let response = invoke(&function, batch()).await.unwrap();
        assert_eq!(response, failures(&["1"]));
    }
    // The third failure is the last: it is parked, and its key goes on.
    assert_eq!(invoke(&function, batch()).await.unwrap(), failures(&[]));
    assert_eq!(world.letters().len(), 1);
    let attempts_of = |number: &str| {
        let metadata = world.metadata().into_iter();
        let of_record = metadata.filter(|metadata| metadata.message_id.ends_with(number));
        of_record.map(|metadata| metadata.attempt).collect::<Vec<_>>()
    };
    assert_eq!(attempts_of("/1"), [1, 2, 3]);
    assert_eq!(attempts_of("/2"), [1], "what was not begun was no attempt");
    assert_eq!(attempts_of("/3"), [1], "what was handled is passed over");
    // What will not come again is forgotten.
    invoke(&function, batch()).await.unwrap();
    assert_eq!(attempts_of("/1"), [1, 2, 3, 1]);
    assert_eq!(attempts_of("/3"), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_of_one_stream_is_not_taken_for_done_of_another() {
    let world = World::default();
    let function = kinesis(world.consumer());
    let one = event([order("1", "k1", "fail-1"), order("2", "k2", "a")]);
    let mut other = event([order("2", "k2", "b")]);
    other["Records"][0]["eventSourceARN"] = json!("arn:aws:kinesis:us-east-1:0:stream/other");
    invoke(&function, one.clone()).await.unwrap();
    assert_eq!(invoke(&function, other).await.unwrap(), failures(&[]));
    invoke(&function, one).await.unwrap();
    assert_eq!(world.done(), ["a", "b"]);
}
