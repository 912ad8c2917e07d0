use fanfare_lambda::{InvocationError, any, kinesis, sns, sqs};
use serde_json::json;

use crate::world::{World, event, failures, invoke, message, notification, order};

#[tokio::test(start_paused = true)]
async fn events_of_queues_streams_and_topics_are_told_apart() {
    let world = World::default();
    let function = any(world.consumer());
    let queue = event([message("a"), message("fail-1")]);
    assert_eq!(invoke(&function, queue).await.unwrap(), failures(&["fail-1"]));
    let stream =
        event([order("7", "k1", "fail-2"), order("8", "k2", "fail-3"), order("9", "k3", "b")]);
    assert_eq!(invoke(&function, stream).await.unwrap(), failures(&["7"]));
    let topic = event([notification("c")]);
    assert_eq!(invoke(&function, topic).await.unwrap(), failures(&[]));
    assert!(invoke(&function, event([notification("fail-4")])).await.is_err());
    assert_eq!(world.done(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_records_in_it_is_an_empty_success() {
    let world = World::default();
    let empty = || event([]);
    assert_eq!(invoke(&any(world.consumer()), empty()).await.unwrap(), failures(&[]));
    assert_eq!(invoke(&sqs(world.consumer()), empty()).await.unwrap(), failures(&[]));
    assert_eq!(invoke(&kinesis(world.consumer()), empty()).await.unwrap(), failures(&[]));
    assert_eq!(invoke(&sns(world.consumer()), empty()).await.unwrap(), failures(&[]));
}

#[tokio::test(start_paused = true)]
async fn an_event_from_elsewhere_is_an_error_that_says_what_is_taken() {
    let taken = "aws:sqs, aws:kinesis and aws:sns";
    for (elsewhere, from) in [
        (event([json!({ "eventSource": "aws:s3", "s3": {} })]), "`aws:s3`"),
        (
            event([json!({ "eventSource": "aws:dynamodb", "eventID": "1", "dynamodb": {} })]),
            "`aws:dynamodb`",
        ),
        (event([json!({ "cf": {} })]), "an unnamed source"),
        (json!({ "source": "aws.events", "detail": {} }), "`aws.events`"),
        (json!({ "eventSource": "aws:kafka", "records": {} }), "`aws:kafka`"),
        (json!({}), "an unnamed source"),
        (json!({ "Records": null, "source": { "any": "thing" } }), "an unnamed source"),
    ] {
        let error = invoke(&any(World::default().consumer()), elsewhere).await.unwrap_err();
        assert_eq!(error, InvocationError::UnknownSource { from: from.into(), taken });
        let text = error.to_string();
        assert!(text.contains(from) && text.contains(taken) && text.contains("`task`"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_for_one_source_takes_no_other() {
    let consumer = || World::default().consumer();
    let errors = [
        invoke(&sqs(consumer()), event([order("1", "k1", "a")])).await,
        invoke(&kinesis(consumer()), event([notification("a")])).await,
        invoke(&sns(consumer()), event([message("a")])).await,
    ];
    for error in errors {
        assert!(matches!(error, Err(InvocationError::UnknownSource { .. })));
    }
}
