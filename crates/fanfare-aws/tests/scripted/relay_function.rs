//! Waking a relay that is a Lambda function.

use std::pin::pin;

use fanfare_aws::{RelayFunction, WakeError};
use fanfare_topology::Bindings;
use futures_util::{future::join_all, poll};

use crate::answers::{Answer, Service};

fn relay(service: &Service) -> RelayFunction {
    service.aws().relay_function(&Bindings::new("shop"), "orders")
}

fn accepted() -> Answer {
    Answer::Is(202, None, String::new())
}

#[tokio::test]
async fn a_wake_is_one_invocation_that_nobody_waits_for() {
    let service = Service::answering([accepted()]);
    let relay = relay(&service);
    assert_eq!(relay.name(), "shop-orders-relay");
    relay.wake().await.unwrap();
    let requests = service.requests();
    assert_eq!(requests.len(), 1);
    let uri = "https://lambda.eu-central-1.amazonaws.com/2015-03-31/functions/shop-orders-relay/invocations";
    assert_eq!(requests[0].uri.trim_end_matches('?'), uri);
    assert_eq!(requests[0].header("x-amz-invocation-type"), Some("Event"));
    assert_eq!(requests[0].body, "{}");
}

#[tokio::test]
async fn wakes_that_come_while_one_is_sent_share_the_next() {
    let service = Service::new(|_| accepted()).waiting();
    let relay = relay(&service);
    let mut wakes = pin!(join_all((0..20).map(|_| relay.wake())));
    // Each poll polls all of them: when the first has sent its request, the others have asked.
    while service.requests().is_empty() {
        assert!(poll!(&mut wakes).is_pending());
        tokio::task::yield_now().await;
    }
    service.answer(2);
    assert!(wakes.await.into_iter().all(|woken| woken.is_ok()));
    assert_eq!(service.requests().len(), 2, "one for the first, and one for those that came then");
    service.answer(1);
    relay.wake().await.unwrap();
    assert_eq!(service.requests().len(), 3, "nothing is under way any more");
}

#[tokio::test]
async fn a_wake_that_is_given_up_leaves_the_others_to_it() {
    let service = Service::new(|_| accepted()).waiting();
    let relay = relay(&service);
    let first = tokio::spawn({
        let relay = relay.clone();
        async move { relay.wake().await }
    });
    while service.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = tokio::spawn({
        let relay = relay.clone();
        async move { relay.wake().await }
    });
    tokio::task::yield_now().await;
    first.abort();
    service.answer(1);
    second.await.unwrap().unwrap();
    assert_eq!(service.requests().len(), 2);
}

#[tokio::test]
async fn what_keeps_the_function_from_being_invoked_is_named() {
    let cases = [
        (404, "ResourceNotFoundException", "missing", false),
        (403, "AccessDeniedException", "lambda:InvokeFunction", false),
        (429, "TooManyRequestsException", "right now", true),
        (409, "ResourceConflictException", "right now", true),
        (500, "ServiceException", "right now", true),
        (400, "InvalidRequestContentException", "cannot be invoked", false),
    ];
    for (status, code, part, retryable) in cases {
        let body = r#"{"Message":"said the service"}"#.into();
        let service = Service::answering([Answer::Is(status, Some(code), body)]);
        let error = relay(&service).wake().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("`shop-orders-relay`"), "{code}: {text}");
        assert_eq!(error.is_retryable(), retryable, "{code}: {text}");
        assert_eq!(service.requests().len(), 1, "tried once");
    }
    let error = relay(&Service::answering([Answer::Broken])).wake().await.unwrap_err();
    assert!(matches!(error, WakeError::Unavailable { .. }), "{error}");
}
