use std::time::Duration;

use fanfare_core::Retry;
use fanfare_lambda::{InvocationError, sqs};
use serde_json::json;

use crate::world::{World, context, event, failures, grouped, invoke, invoke_in, message};

#[tokio::test(start_paused = true)]
async fn what_was_handled_is_not_reported() {
    let world = World::default();
    let response = invoke(&sqs(world.consumer()), event(["a", "b"].map(message))).await.unwrap();
    assert_eq!(response, failures(&[]));
    assert_eq!((world.done().len(), world.published().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn exactly_what_was_not_acknowledged_is_reported() {
    let world = World::default();
    let function = sqs(world.consumer()).dead_letters(world.clone());
    let orders = ["a", "fail-1", "b", "panic", "reject", "c"];
    let response = invoke(&function, event(orders.map(message))).await.unwrap();
    assert_eq!(response, failures(&["fail-1", "panic"]));
    assert_eq!(world.done(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn attributes_may_be_null_or_left_out() {
    let world = World::default();
    let function = sqs(world.consumer());
    let (mut null, mut none) = (message("null"), message("none"));
    null["messageAttributes"] = json!(null);
    none.as_object_mut().unwrap().remove("messageAttributes");
    assert_eq!(invoke(&function, event([null, none])).await.unwrap(), failures(&[]));
    assert_eq!(world.done(), ["null", "none"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_event_does_not_fail_its_neighbours() {
    let world = World::default();
    let function = sqs(world.consumer()).dead_letters(world.clone());
    let mut broken = ["no-json", "empty", "null", "other"].map(message);
    broken[0]["body"] = "{".into();
    broken[1]["body"] = "".into();
    broken[2]["body"] = json!(null);
    broken[3]["body"] = json!({ "specversion": "1.0" }).to_string().into();
    let [a, b, c, d] = broken;
    let all = event([message("x"), a, b, message("y"), c, d]);
    assert_eq!(invoke(&function, all).await.unwrap(), failures(&[]));
    assert_eq!(world.done(), ["x", "y"]);
    let letters = world.letters();
    let ids: Vec<_> = letters.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["no-json", "empty", "null", "other"]);
    assert!(letters.iter().all(|(_, reason)| reason.starts_with("undecodable")), "{letters:?}");
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_group_is_reported_with_its_first_failure_and_other_groups_go_on() {
    let world = World::default();
    let batch = [
        grouped("g1", "a1"),
        grouped("g2", "fail-2"),
        grouped("g1", "a2"),
        grouped("g2", "b2"),
        grouped("g3", "c1"),
        grouped("g2", "b3"),
    ];
    let response = invoke(&sqs(world.consumer()), event(batch)).await.unwrap();
    assert_eq!(response, failures(&["fail-2", "b2", "b3"]));
    assert_eq!(world.done(), ["a1", "c1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_a_standard_queue_promises_no_order() {
    let world = World::default();
    let mut batch = [message("fail-1"), message("a")];
    for message in &mut batch {
        message["attributes"]["MessageGroupId"] = "tenant".into();
    }
    let response = invoke(&sqs(world.consumer()), event(batch)).await.unwrap();
    assert_eq!(response, failures(&["fail-1"]));
    assert!(world.metadata().iter().all(|metadata| metadata.group.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_could_not_be_reported_fails_the_invocation_before_anything_begins() {
    let world = World::default();
    for id in [json!(null), json!("")] {
        let mut nameless = message("b");
        nameless["messageId"] = id;
        let failed = invoke(&sqs(world.consumer()), event([message("a"), nameless])).await;
        let error = failed.unwrap_err();
        assert_eq!(error, InvocationError::NoIdentifier { record: 1, field: "messageId" });
        assert!(error.to_string().contains("could not be reported"), "{error}");
    }
    assert!(world.begun().is_empty());
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_the_queue() {
    let world = World::default();
    let function =
        sqs(world.consumer().retry(Retry::default().max_attempts(3))).dead_letters(world.clone());
    let mut batch = [message("fail-1"), message("fail-2")];
    batch[1]["attributes"]["ApproximateReceiveCount"] = "3".into();
    assert_eq!(invoke(&function, event(batch)).await.unwrap(), failures(&["fail-1"]));
    let expected = ("fail-2".into(), "failed for good at attempt 3: no driver".into());
    assert_eq!(world.letters(), [expected]);
    assert_eq!(world.metadata()[1].sent_at.unwrap().as_millisecond(), 1_700_000_000_123);
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_at_once_than_was_said() {
    for (concurrency, seconds) in [(1, 4), (2, 2), (10, 1)] {
        let world = World::default();
        let function = sqs(world.consumer()).concurrency(concurrency);
        let start = tokio::time::Instant::now();
        let orders = ["slow-1000", "slow-0999", "slow-0998", "slow-0997"];
        invoke(&function, event(orders.map(message))).await.unwrap();
        assert_eq!(start.elapsed().as_millis().div_ceil(1_000), seconds, "{concurrency}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_invocations_run_side_by_side() {
    let world = World::default();
    let function = sqs(world.consumer()).concurrency(1);
    let start = tokio::time::Instant::now();
    let invocation = |order_id: &'static str, request: &str| {
        let mut context = context(Duration::from_secs(60));
        context.request_id = request.into();
        let (function, event) = (function.clone(), event([message(order_id), message("fail-1")]));
        async move { invoke_in(&function, event, context).await.unwrap() }
    };
    let both = tokio::join!(invocation("slow-2000", "r1"), invocation("slow-3000", "r2"));
    assert_eq!(both, (failures(&["fail-1"]), failures(&["fail-1"])));
    assert_eq!(start.elapsed().as_millis(), 3_000);
    let requests: Vec<_> = world.metadata().into_iter().map(|m| m.request_id.unwrap()).collect();
    assert_eq!(requests, ["r1", "r2", "r1", "r2"]);
}
