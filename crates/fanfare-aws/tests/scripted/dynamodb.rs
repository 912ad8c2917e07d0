//! The idempotency store's requests when DynamoDB is in trouble.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use fanfare_aws::{DynamoError, DynamoIdempotencyStore};
use fanfare_core::{Admission, IdempotencyError, IdempotencyStore, InboxKey, PayloadHash};
use serde_json::{Value, json};

use crate::answers::{Answer, Service};

fn store(service: &Service) -> DynamoIdempotencyStore {
    DynamoIdempotencyStore::new(&service.aws(), "shop-idempotency")
}

fn key() -> InboxKey {
    InboxKey::new("products", "orders", "e-1")
}

async fn begin(store: &DynamoIdempotencyStore) -> Result<Admission, IdempotencyError> {
    store.begin(key(), PayloadHash::of("{}")).await
}

fn done() -> Answer {
    Answer::Is(200, None, "{}".into())
}

fn error(code: &'static str) -> Answer {
    Answer::Is(400, None, json!({ "__type": code, "message": "said the service" }).to_string())
}

fn not(item: &Value) -> Answer {
    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let body = json!({ "__type": code, "message": "The conditional request failed", "Item": item });
    Answer::Is(400, None, body.to_string())
}

fn said(error: &IdempotencyError) -> &DynamoError {
    match error {
        IdempotencyError::Store(error) => error.downcast_ref().unwrap(),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_known_again() {
    let (tries, stored) = (AtomicU32::new(0), Mutex::new(Value::Null));
    let service = Service::new(move |request| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        match tries.fetch_add(1, Ordering::SeqCst) {
            0 => {
                *stored.lock().unwrap() = body["Item"].clone();
                Answer::Broken
            }
            1 => not(&stored.lock().unwrap()),
            _ => done(),
        }
    });
    let store = store(&service);
    let Admission::New(claim) = begin(&store).await.unwrap() else { panic!("not new") };
    store.complete(claim, &[]).await.unwrap();
    assert_eq!(service.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_answer_was_lost_is_known_again() {
    let (tries, stored) = (AtomicU32::new(0), Mutex::new(Value::Null));
    let service = Service::new(move |request| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let mut stored = stored.lock().unwrap();
        match tries.fetch_add(1, Ordering::SeqCst) {
            0 => {
                *stored = body["Item"].clone();
                done()
            }
            1 => {
                stored["followed"] = body["ExpressionAttributeValues"][":followed"].clone();
                Answer::Broken
            }
            _ => not(&stored),
        }
    });
    let store = store(&service);
    let Admission::New(claim) = begin(&store).await.unwrap() else { panic!("not new") };
    store.complete(claim, &[]).await.unwrap();
    assert_eq!(service.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_what_does_not_is_named_at_once() {
    let throttled = || error("ProvisionedThroughputExceededException");
    let service = Service::answering([throttled(), error("ThrottlingException"), done()]);
    assert!(matches!(begin(&store(&service)).await, Ok(Admission::New(_))));

    let service = Service::new(move |_| throttled());
    let failed = begin(&store(&service)).await.unwrap_err();
    assert!(said(&failed).is_retryable() && failed.to_string().contains("capacity"), "{failed}");
    assert_eq!(service.requests().len(), 4);

    let cases = [
        ("ResourceNotFoundException", "is missing"),
        ("AccessDeniedException", "dynamodb:PutItem"),
        ("ValidationException", "partition key `id`"),
    ];
    for (code, part) in cases {
        let service = Service::new(move |_| error(code));
        let failed = begin(&store(&service)).await.unwrap_err();
        let text = failed.to_string();
        assert!(text.contains(part) && text.contains("`shop-idempotency`"), "{code}: {text}");
        assert!(!said(&failed).is_retryable(), "{code}");
        assert_eq!(service.requests().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn an_item_of_others_is_an_error() {
    let service = Service::new(|_| not(&json!({ "id": { "S": "x" } })));
    let failed = begin(&store(&service)).await.unwrap_err();
    assert!(matches!(said(&failed), DynamoError::Foreign { .. }), "{failed}");
}
