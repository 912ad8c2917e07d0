//! Payloads that are kept elsewhere: how they are published, and how they are consumed.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    Attribute, ClaimCheck, ClaimCheckError, ClaimCheckPublisher, Consumer, DeadLetter,
    DeadLetterError, DeadLetters, Delivery, Destination, HandlerError, MemoryClaimCheck, Message,
    Outcome, PAYLOAD_SIZE_ATTRIBUTE, Pointer, PublishError, PublishReport, Publisher, RawDelivery,
    Reason, Router,
};
use futures_util::StreamExt;
use support::{OrderPlaced, Placed, Recorder, placed};
use tokio::time::sleep;

/// Publishes into memory; the destination `ordered` keeps order.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<Message>>>);

impl Published {
    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Publisher for Published {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.0.lock().unwrap().extend_from_slice(batch);
        PublishReport::new(vec![Ok(()); batch.len()])
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        *destination == topic("ordered")
    }
}

/// A store that fails for some keys, and counts.
#[derive(Clone)]
struct Store {
    memory: MemoryClaimCheck,
    fail: BTreeMap<&'static str, ClaimCheckError>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Store {
    fn new() -> Self {
        let (at_once, most_at_once) = (Arc::default(), Arc::default());
        Store { memory: MemoryClaimCheck::new("b"), fail: BTreeMap::new(), at_once, most_at_once }
    }

    /// Fails for what has this in its key.
    fn failing(mut self, part: &'static str, error: ClaimCheckError) -> Self {
        self.fail.insert(part, error);
        self
    }

    fn checked(&self, key: &str) -> Result<(), ClaimCheckError> {
        let error = self.fail.iter().find(|(part, _)| key.contains(**part));
        error.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }
}

impl ClaimCheck for Store {
    async fn put(&self, key: &str, payload: &str) -> Result<Pointer, ClaimCheckError> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        sleep(Duration::from_millis(10)).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.checked(key)?;
        self.memory.put(key, payload).await
    }

    async fn get(&self, pointer: &Pointer) -> Result<String, ClaimCheckError> {
        self.checked(&pointer.key)?;
        self.memory.get(pointer).await
    }
}

fn topic(name: &str) -> Destination {
    Destination::Topic(name.into())
}

/// A message with a body of so many bytes.
fn message(id: &str, key: &str, topic_name: &str, bytes: usize) -> Message {
    let event = r#"{"specversion":"1.0","id":"ID","source":"orders","type":"t","data":""}"#;
    let event = event.replace("ID", id);
    let body = event.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - event.len())));
    assert_eq!(body.len(), bytes);
    let attributes = vec![("type".into(), "t".into())];
    Message::new(topic(topic_name), id, "t", key, attributes, body)
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limit_with_its_attributes_is_stored_and_replaced_by_a_pointer() {
    let (published, store) = (Published::default(), Store::new());
    // `type`, `String` and `t` weigh 11 bytes.
    let publisher = ClaimCheckPublisher::new(published.clone(), store.clone()).over(1_011);
    let mut batch = [message("a", "k", "orders", 1_000), message("b", "k", "orders", 1_001)];
    batch[1].delay = Some(Duration::from_secs(60));
    publisher.publish(&batch).await.into_result().unwrap();
    let published = published.take();
    assert_eq!(published[0], batch[0]);
    let payloads = store.memory.payloads();
    let (key, payload) = payloads.first_key_value().unwrap();
    assert!(payloads.len() == 1 && key.starts_with("orders/b/"), "{key}");
    assert_eq!(*payload, batch[1].body);
    assert_eq!(published[1].body, Pointer::new("b", key).to_body());
    assert_eq!(published[1].offloaded, Some(1_001));
    let rest = |message: &Message| {
        let mut rest = message.clone();
        (rest.body, rest.offloaded) = (String::new(), None);
        rest
    };
    assert_eq!(rest(&published[1]), rest(&batch[1]), "what filters, orders and delays stays");
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_what_sns_takes_and_nought_stores_everything() {
    let (published, store) = (Published::default(), Store::new());
    let publisher = ClaimCheckPublisher::new(published.clone(), store.clone());
    let batch = [message("a", "k", "orders", 262_133), message("b", "k", "orders", 262_134)];
    publisher.publish(&batch).await.into_result().unwrap();
    let offloaded = |messages: Vec<Message>| messages.into_iter().map(|m| m.offloaded).collect();
    let offloaded: Vec<_> = offloaded(published.take());
    assert_eq!(offloaded, [None, Some(262_134)]);
    let publisher = publisher.over(0);
    publisher.publish(&[message("c", "k", "orders", 100)]).await.into_result().unwrap();
    let small = published.take();
    assert_eq!(small[0].offloaded, Some(100));
    // What is a pointer already stays that.
    publisher.publish(&small).await.into_result().unwrap();
    assert_eq!(published.take(), small);
}

#[tokio::test(start_paused = true)]
async fn publishing_again_stores_the_same_bytes_and_other_bytes_beside_them() {
    let (published, store) = (Published::default(), Store::new());
    let publisher = ClaimCheckPublisher::new(published.clone(), store.clone()).over(0);
    let first = message("a", "k", "orders", 200);
    for message in [first.clone(), first.clone(), message("a", "k", "orders", 300)] {
        publisher.publish(&[message]).await.into_result().unwrap();
    }
    let bodies: Vec<_> = published.take().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_ne!(bodies[0], bodies[2]);
    assert_eq!(store.memory.payloads().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_are_harmless_whatever_sources_and_ids_are() {
    let store = Store::new();
    let publisher = ClaimCheckPublisher::new(Published::default(), store.clone()).over(0);
    for id in ["../../etc", "-..s3Key..-", "a b", "ü", &"x".repeat(2_000)] {
        let mut message = message("id", "k", "orders", 200);
        (message.id, message.body) = (id.into(), format!("foreign {id}"));
        publisher.publish(&[message]).await.into_result().unwrap();
    }
    for key in store.memory.payloads().keys() {
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
        assert!(key.len() <= 300 && key.bytes().all(harmless), "{key}");
        assert!(!key.contains("..") && !key.starts_with('/'), "{key}");
    }
    assert_eq!(store.memory.payloads().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn payloads_of_a_batch_are_stored_side_by_side_and_at_most_four_at_once() {
    let (published, store) = (Published::default(), Store::new());
    let publisher = ClaimCheckPublisher::new(published.clone(), store.clone()).over(0);
    let batch: Vec<_> = (0..10).map(|i| message(&format!("m{i}"), "k", "ordered", 200)).collect();
    publisher.publish(&batch).await.into_result().unwrap();
    assert_eq!(store.most_at_once.load(Ordering::SeqCst), 4);
    let ids: Vec<_> = published.take().into_iter().map(|message| message.id).collect();
    assert_eq!(ids, batch.iter().map(|message| message.id.clone()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_not_sent_and_holds_its_key_back_where_order_is_kept() {
    let down = ClaimCheckError::Unavailable("down".into());
    let refused = ClaimCheckError::Refused("too long".into());
    let store = Store::new().failing("/down/", down).failing("/refused/", refused);
    let published = Published::default();
    let publisher = ClaimCheckPublisher::new(published.clone(), store).over(150);
    for (topic_name, sent) in
        [("ordered", vec!["first", "other"]), ("orders", vec!["first", "other", "small"])]
    {
        let batch = [
            message("first", "k", topic_name, 200),
            message("down", "k", topic_name, 200),
            message("other", "other", topic_name, 200),
            message("small", "k", topic_name, 100),
            message("refused", "k2", topic_name, 200),
        ];
        assert_eq!(publisher.keeps_order(&batch[0].destination), topic_name == "ordered");
        let report = publisher.publish(&batch).await;
        let ids: Vec<_> = published.take().into_iter().map(|message| message.id).collect();
        assert_eq!(ids, sent, "{topic_name}");
        let outcomes = report.outcomes();
        let not_stored = |i: usize| match &outcomes[i] {
            Err(error @ PublishError::NotStored { .. }) => error.is_retryable(),
            other => panic!("{other:?}"),
        };
        assert!(not_stored(1), "what is down may be up later");
        assert!(!not_stored(4), "what is refused is refused again");
        let held = if topic_name == "ordered" { Err(PublishError::Blocked) } else { Ok(()) };
        assert_eq!((&outcomes[0], &outcomes[2], &outcomes[3]), (&Ok(()), &Ok(()), &held));
    }
}

/// Dead letters as they came, with their reasons.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<(RawDelivery, Reason)>>>);

impl DeadLetters for Letters {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        self.0.lock().unwrap().push((letter.delivery.clone(), letter.reason.clone()));
        Ok(())
    }
}

async fn place(orders: Recorder, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    orders.note(order.event.order_id.clone());
    match order.event.order_id.as_str() {
        "reject" => Err(HandlerError::reject("never")),
        _ => Ok(()),
    }
}

/// A delivery whose payload is in `store`, under the order's id as its key.
async fn stored(store: &Store, order: Placed, key: &str) -> RawDelivery {
    let mut delivery = order.raw();
    let size = delivery.body.len().to_string();
    delivery.body = store.memory.put(key, &delivery.body).await.unwrap().to_body();
    let size = Attribute::Text { data_type: "Number".into(), value: size };
    delivery.attributes.insert(PAYLOAD_SIZE_ATTRIBUTE.into(), size);
    delivery.attributes.insert("own".into(), Attribute::text("kept"));
    delivery
}

async fn run(consumer: &Consumer, batch: Vec<RawDelivery>, letters: &Letters) -> Vec<Outcome> {
    let mut outcomes: Vec<_> = consumer.process(batch, 4, letters, &|| true).collect().await;
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn consumer(recorder: &Recorder) -> Consumer {
    Router::new("delivery").on(place).with_state(recorder.clone())
}

#[tokio::test]
async fn a_handler_gets_the_payload_that_its_message_points_to_and_the_store_keeps_it() {
    let (recorder, store, letters) = (Recorder::default(), Store::new(), Letters::default());
    let seen: Arc<Mutex<Vec<RawDelivery>>> = Arc::default();
    let consumer = consumer(&recorder).claim_check(store.clone()).observe({
        let seen = Arc::clone(&seen);
        move |delivery, _| seen.lock().unwrap().push(delivery.clone())
    });
    let batch = vec![
        stored(&store, placed("a").group("g"), "a").await,
        placed("b").group("g").raw(),
        stored(&store, placed("c").group("g"), "c").await,
    ];
    let outcomes = run(&consumer, batch.clone(), &letters).await;
    assert_eq!(outcomes, vec![Outcome::Handled { published: 0 }; 3]);
    assert_eq!(recorder.notes(), ["a", "b", "c"]);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen[0].body, placed("a").group("g").raw().body);
    assert_eq!(seen[0].attributes.keys().collect::<Vec<_>>(), ["own"], "the size is used up");
    // Another subscriber, or a redelivery.
    assert_eq!(run(&consumer, batch, &letters).await.len(), 3);
    assert_eq!(recorder.notes().len(), 6);
}

#[tokio::test]
async fn what_can_never_be_fetched_is_a_dead_letter_as_it_came() {
    let (recorder, letters) = (Recorder::default(), Letters::default());
    let corrupt = |key: &str| ClaimCheckError::Corrupt {
        pointer: Pointer::new("b", key),
        problem: "its checksum is another".into(),
    };
    let store = Store::new().failing("spoilt", corrupt("spoilt"));
    let consumer = consumer(&recorder).claim_check(store.clone());
    let pointer = async |key: &str| stored(&store, placed("a"), key).await;
    let sized = |mut delivery: RawDelivery, name: &str, size: &str| {
        let size = Attribute::Text { data_type: "Number".into(), value: size.into() };
        delivery.attributes.insert(name.into(), size);
        delivery
    };
    let mut foreign = pointer("a").await;
    foreign.body = Pointer::new("evil", "a").to_body();
    let mut gone = pointer("a").await;
    gone.body = Pointer::new("b", "nowhere").to_body();
    let mut malformed = pointer("a").await;
    malformed.body = malformed.body.replace("s3Key", "key");
    let cases = [
        (foreign, "bucket `evil`, which is not allowed"),
        (gone, "s3://b/nowhere is gone"),
        (malformed, "`s3BucketName` and `s3Key`"),
        (pointer("spoilt").await, "its checksum is another"),
        (sized(pointer("a").await, PAYLOAD_SIZE_ATTRIBUTE, "7"), "its message says 7"),
        (sized(pointer("a").await, "SQSLargePayloadSize", "8"), "its message says 8"),
        (sized(pointer("a").await, PAYLOAD_SIZE_ATTRIBUTE, "many"), "is no number"),
    ];
    for (delivery, part) in cases {
        let outcomes = run(&consumer, vec![delivery.clone()], &letters).await;
        let (letter, reason) = letters.0.lock().unwrap().pop().unwrap();
        assert!(matches!(reason, Reason::Unclaimed(_)), "{part}: {reason:?}");
        assert!(reason.to_string().contains(part), "{part}: {reason}");
        assert_eq!(outcomes, [Outcome::DeadLettered(reason)]);
        assert_eq!((letter.body, letter.attributes), (delivery.body, delivery.attributes));
    }
    assert!(recorder.notes().is_empty());
}

#[tokio::test]
async fn what_cannot_be_fetched_now_is_tried_again_and_holds_its_group() {
    let (recorder, letters) = (Recorder::default(), Letters::default());
    let store = Store::new().failing("down", ClaimCheckError::Unavailable("down".into()));
    let consumer = consumer(&recorder).claim_check(store.clone());
    let batch = vec![
        stored(&store, placed("a").group("g"), "down").await,
        placed("b").group("g").raw(),
        placed("c").raw(),
    ];
    let outcomes = run(&consumer, batch, &letters).await;
    assert!(matches!(outcomes[0], Outcome::Failed { .. }), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Blocked { .. }), "{outcomes:?}");
    assert_eq!(recorder.notes(), ["c"]);
    let last = stored(&store, placed("a").attempt(99), "down").await;
    let outcomes = run(&consumer, vec![last.clone()], &letters).await;
    assert!(matches!(outcomes[0], Outcome::DeadLettered(Reason::Exhausted { .. })), "{outcomes:?}");
    assert_eq!(letters.0.lock().unwrap()[0].0.body, last.body);
}

#[tokio::test]
async fn a_rejected_events_dead_letter_is_the_pointer_and_not_the_payload() {
    let (recorder, store, letters) = (Recorder::default(), Store::new(), Letters::default());
    let consumer = consumer(&recorder).claim_check(store.clone());
    let delivery = stored(&store, placed("reject"), "a").await;
    run(&consumer, vec![delivery.clone()], &letters).await;
    let (letter, reason) = letters.0.lock().unwrap().pop().unwrap();
    assert_eq!(reason, Reason::Rejected("never".into()));
    assert_eq!((letter.body, letter.attributes), (delivery.body, delivery.attributes));
}

#[tokio::test]
async fn without_a_claim_check_a_pointer_is_undecodable_and_the_text_says_what_is_missing() {
    let (recorder, store, letters) = (Recorder::default(), Store::new(), Letters::default());
    let delivery = stored(&store, placed("a"), "a").await;
    run(&consumer(&recorder), vec![delivery], &letters).await;
    let (_, reason) = letters.0.lock().unwrap().pop().unwrap();
    assert!(matches!(reason, Reason::Undecodable(_)) && recorder.notes().is_empty());
    assert!(reason.to_string().contains("Consumer::claim_check"), "{reason}");
}
