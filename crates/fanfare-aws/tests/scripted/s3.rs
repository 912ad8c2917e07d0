//! A claim check on S3.

use std::sync::{Arc, Mutex};

use fanfare_aws::S3ClaimCheck;
use fanfare_core::{
    ClaimCheck, ClaimCheckError, DeadLetter, DeadLetterError, DeadLetters, Delivery, EventType,
    HandlerError, Metadata, Outcome, Pointer, RawDelivery, Router,
};
use futures_util::StreamExt;
use serde::Deserialize;

use crate::answers::{Answer, Service};

const CHECKSUM: &str = "x-amz-checksum-crc64nvme";

fn store(service: &Service) -> S3ClaimCheck {
    S3ClaimCheck::new(&service.aws(), "payloads").prefix("of/shop/")
}

fn stored() -> Answer {
    Answer::With(vec![], vec![])
}

/// What S3 says where it refuses.
fn error(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>said the service</Message></Error>");
    Answer::Is(status, None, body)
}

fn found(payload: &[u8], checksum: Option<&str>) -> Answer {
    let checksum = checksum.map(|checksum| (CHECKSUM, checksum.to_string()));
    let headers = [("content-length", payload.len().to_string())].into_iter().chain(checksum);
    Answer::With(headers.collect(), payload.to_vec())
}

/// The checksum that the SDK computes.
async fn checksum(payload: &str) -> String {
    let service = Service::answering([stored()]);
    store(&service).put("k", payload).await.unwrap();
    service.requests()[0].header(CHECKSUM).unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_put_below_the_prefix_with_its_checksum() {
    let service = Service::answering([stored()]);
    let pointer = store(&service).put("orders/1/abc", "{\"ü\":1}").await.unwrap();
    assert_eq!(pointer, Pointer::new("payloads", "of/shop/orders/1/abc"));
    let requests = service.requests();
    assert_eq!((requests.len(), &*requests[0].method, &*requests[0].body), (1, "PUT", "{\"ü\":1}"));
    let uri = "https://payloads.s3.eu-central-1.amazonaws.com/of/shop/orders/1/abc?x-id=PutObject";
    assert_eq!(requests[0].uri, uri);
    assert!(requests[0].header(CHECKSUM).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_is_compared_with_its_checksum() {
    let checksum = checksum("payload").await;
    let pointer = Pointer::new("payloads", "k");
    let service = Service::answering([found(b"payload", Some(&checksum))]);
    assert_eq!(store(&service).get(&pointer).await.unwrap(), "payload");
    assert_eq!(service.requests()[0].header("x-amz-checksum-mode"), Some("ENABLED"));
    // Spoilt on the way once, and spoilt where it is kept.
    let spoilt = || found(b"pAyload", Some(&checksum));
    let service = Service::answering([spoilt(), found(b"payload", Some(&checksum))]);
    assert_eq!(store(&service).get(&pointer).await.unwrap(), "payload");
    let service = Service::answering([spoilt(), spoilt(), spoilt(), spoilt()]);
    let error = store(&service).get(&pointer).await.unwrap_err();
    assert!(matches!(&error, ClaimCheckError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("checksum") && !error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_object_without_a_checksum_is_read_and_one_that_is_no_text_is_not() {
    let pointer = Pointer::new("payloads", "k");
    let service = Service::answering([found(b"payload", None), found(b"\xff\xfe", None)]);
    assert_eq!(store(&service).get(&pointer).await.unwrap(), "payload");
    let error = store(&service).get(&pointer).await.unwrap_err();
    assert!(
        matches!(&error, ClaimCheckError::Corrupt { problem, .. } if problem.contains("UTF-8"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_ends_early_is_read_again() {
    let cut = || Answer::With(vec![("content-length", "7".into())], b"pay".to_vec());
    let service = Service::answering([cut(), found(b"payload", None)]);
    let payload = store(&service).get(&Pointer::new("payloads", "k")).await.unwrap();
    assert_eq!(payload, "payload");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_bucket_that_is_not_allowed() {
    let service = Service::new(|_| found(b"payload", None));
    let foreign = Pointer::new("of-others", "k");
    let error = store(&service).get(&foreign).await.unwrap_err();
    assert_eq!(error, ClaimCheckError::NotAllowed { bucket: "of-others".into() });
    assert!(service.requests().is_empty());
    let store = store(&service).allow_bucket("of-others");
    assert_eq!(store.get(&foreign).await.unwrap(), "payload");
    let pointer = store.put("k", "payload").await.unwrap();
    assert_eq!(pointer.bucket, "payloads", "what is stored goes into the own one");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_neither_sent_nor_read() {
    let too_large = |bytes| ClaimCheckError::TooLarge { bytes, limit: 10 };
    // Nothing of it has to arrive.
    let service = Service::new(|_| Answer::With(vec![("content-length", "1000".into())], vec![]));
    let store = store(&service).max_bytes(10);
    assert_eq!(store.put("k", "eleven byte").await.unwrap_err(), too_large(11));
    assert!(service.requests().is_empty());
    let pointer = Pointer::new("payloads", "k");
    assert_eq!(store.get(&pointer).await.unwrap_err(), too_large(1_000));
    assert_eq!(service.requests().len(), 1, "no more tries");
    // Without a size beforehand, or with a wrong one.
    for headers in [vec![], vec![("content-length", "3".into())]] {
        let service = Service::new(move |_| Answer::With(headers.clone(), vec![b'x'; 1_000]));
        let store = S3ClaimCheck::new(&service.aws(), "payloads").max_bytes(10);
        let error = store.get(&pointer).await.unwrap_err();
        assert!(matches!(error, ClaimCheckError::TooLarge { limit: 10, .. }), "{error}");
    }
    assert_eq!(store.put("k", "ten bytes.").await.unwrap().key, "of/shop/k");
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_four_times_and_the_rest_once() {
    let pointer = Pointer::new("payloads", "k");
    // Status, code, tries, whether a later try may succeed, and what the text says.
    let cases = [
        (503, "SlowDown", 4, true, "SlowDown"),
        (500, "InternalError", 4, true, "InternalError"),
        (403, "AccessDenied", 1, true, "allow s3:"),
        (404, "NoSuchBucket", 1, true, "`payloads` is missing"),
        (400, "InvalidArgument", 1, false, "InvalidArgument"),
    ];
    for (status, code, tries, retryable, part) in cases {
        let service = Service::new(move |_| error(status, code));
        let put = store(&service).put("k", "payload").await.unwrap_err();
        let get = store(&service).get(&pointer).await.unwrap_err();
        assert_eq!(service.requests().len(), 2 * tries, "{code}");
        for error in [put, get] {
            assert_eq!(error.is_retryable(), retryable, "{code}: {error}");
            assert!(error.to_string().contains(part), "{code}: {error}");
        }
    }
    let service = Service::answering([Answer::Broken, error(503, "SlowDown"), stored()]);
    store(&service).put("k", "payload").await.unwrap();
    let service = Service::answering([error(404, "NoSuchKey")]);
    let error = store(&service).get(&pointer).await.unwrap_err();
    assert_eq!(error, ClaimCheckError::Gone { pointer });
}

#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
struct OrderPlaced {
    order_id: String,
}

struct NoLetters;

impl DeadLetters for NoLetters {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        panic!("{}", letter.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn consuming_reads_the_payload_and_removes_nothing() {
    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"orders","type":"shop.orders.OrderPlaced.v1","data":{"order_id":"o-1"}}"#;
    let service = Service::new(|_| found(EVENT.as_bytes(), None));
    let placed: Arc<Mutex<Vec<String>>> = Arc::default();
    async fn place(
        placed: Arc<Mutex<Vec<String>>>,
        order: Delivery<OrderPlaced>,
    ) -> Result<(), HandlerError> {
        placed.lock().unwrap().push(order.event.order_id);
        Ok(())
    }
    let router = Router::new("delivery").on(place).with_state(Arc::clone(&placed));
    let consumer = router.claim_check(store(&service));
    let body = Pointer::new("payloads", "k").to_body();
    let batch = vec![RawDelivery::new(body, Metadata::new("m-1", 1))];
    let outcomes: Vec<_> = consumer.process(batch, 1, &NoLetters, &|| true).collect().await;
    assert_eq!(outcomes, [(0, Outcome::Handled { published: 0 })]);
    assert_eq!(*placed.lock().unwrap(), ["o-1"]);
    let methods: Vec<_> = service.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET"]);
}
