use fanfare_lambda::{InvocationError, sns};
use serde_json::json;

use crate::world::{World, event, failures, invoke, notification};

#[tokio::test(start_paused = true)]
async fn a_message_that_was_handled_is_a_success() {
    let world = World::default();
    let response = invoke(&sns(world.consumer()), event([notification("a")])).await.unwrap();
    assert_eq!(response, failures(&[]));
    let metadata = world.metadata().remove(0);
    assert_eq!((&*metadata.message_id, metadata.attempt, metadata.group), ("a", 1, None));
    assert_eq!(metadata.sent_at.unwrap().as_millisecond(), 1_700_000_000_123);
}

#[tokio::test(start_paused = true)]
async fn the_invocation_fails_if_anything_was_not_handled() {
    let world = World::default();
    let batch = event(["a", "fail-1", "b"].map(notification));
    let error = invoke(&sns(world.consumer()), batch).await.unwrap_err();
    assert_eq!(error, InvocationError::NotHandled { failed: 1, total: 3 });
    assert_eq!(world.done(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_handled_is_a_dead_letter_beside_its_neighbours() {
    let world = World::default();
    let function = sns(world.consumer()).dead_letters(world.clone());
    let mut broken = [notification("b"), notification("c")];
    broken[0]["Sns"]["Message"] = "Hello\r\nworld!".into();
    broken[1]["Sns"]["Message"] = json!(null);
    let [b, c] = broken;
    let response = invoke(&function, event([notification("a"), b, c])).await.unwrap();
    assert_eq!(response, failures(&[]));
    assert_eq!(world.done(), ["a"]);
    assert_eq!(world.letters().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_message_or_id_fails_the_invocation() {
    let mut records = [notification("a"), notification("b")];
    records[0]["Sns"]["MessageId"] = json!(null);
    records[1]["Sns"] = json!(null);
    for (record, field) in records.into_iter().zip(["Sns.MessageId", "Sns"]) {
        let failed = invoke(&sns(World::default().consumer()), event([record])).await;
        assert_eq!(failed.unwrap_err(), InvocationError::NoIdentifier { record: 0, field });
    }
}
