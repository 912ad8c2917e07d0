//! The contract of idempotency stores, on the one that needs nothing and on DynamoDB.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        ScalarAttributeType,
    },
};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use fanfare_aws::{Aws, DynamoError, DynamoIdempotencyStore};
use fanfare_core::{
    Admission, Claim, Destination, IdempotencyError, IdempotencyStore, InboxKey,
    MemoryIdempotencyStore, Message, PayloadHash,
};
use fanfare_testkit::{dynamodb::DynamoDb, idempotency_store_contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_idempotency_store_in_memory_keeps_the_contract() {
    idempotency_store_contract(MemoryIdempotencyStore::default, |store, claim, retention| {
        store.claims_last(claim).retention(retention)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_idempotency_store_on_dynamodb_keeps_the_contract() {
    let Some(place) = Place::new("id").await else { return };
    let make = || DynamoIdempotencyStore::new(&place.aws, &*place.table);
    idempotency_store_contract(make, |store, claim, retention| {
        store.claims_last(claim).retention(retention)
    })
    .await
    .unwrap();
}

/// A table that nobody else uses.
struct Place {
    config: SdkConfig,
    aws: Aws,
    client: Client,
    table: String,
}

impl Place {
    /// With this partition key; none, after saying so, where there is no DynamoDB.
    async fn new(key: &str) -> Option<Place> {
        let config = DynamoDb::from_env().unwrap()?.sdk_config();
        let (client, aws) = (Client::new(&config), Aws::new(&config, "000000000000").unwrap());
        let table = format!("idempotency-{}", uuid::Uuid::new_v4());
        let of = AttributeDefinition::builder().attribute_name(key);
        let hash = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash);
        client
            .create_table()
            .table_name(&table)
            .attribute_definitions(of.attribute_type(ScalarAttributeType::S).build().unwrap())
            .key_schema(hash.build().unwrap())
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .unwrap();
        Some(Place { config, aws, client, table })
    }

    fn store(&self) -> DynamoIdempotencyStore {
        DynamoIdempotencyStore::new(&self.aws, &*self.table)
    }

    /// The store as a process sees it that has this clock.
    fn store_with(&self, clock: &Clock) -> DynamoIdempotencyStore {
        let clock = SharedTimeSource::new(clock.clone());
        let config = self.config.to_builder().time_source(clock).build();
        DynamoIdempotencyStore::new(&Aws::new(&config, "000000000000").unwrap(), &*self.table)
    }
}

/// A clock that is set.
#[derive(Clone, Debug)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn at(seconds: u64) -> Clock {
        Clock(Arc::new(AtomicU64::new(seconds)))
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + self.0.load(Ordering::SeqCst))
    }
}

fn key() -> InboxKey {
    InboxKey::new("products", "orders", "e-1")
}

async fn begin(store: &DynamoIdempotencyStore) -> Admission {
    store.begin(key(), PayloadHash::of("{}")).await.unwrap()
}

async fn claim(store: &DynamoIdempotencyStore) -> Claim {
    match begin(store).await {
        Admission::New(claim) => claim,
        other => panic!("not new: {other:?}"),
    }
}

/// What followed, as much of it as makes so many bytes of JSON.
fn followed(bytes: usize) -> Vec<Message> {
    let message = |body: String| {
        vec![Message::new(Destination::Topic("t".into()), "i", "a.B.v1", "k", Vec::new(), body)]
    };
    let empty = serde_json::to_string(&message(String::new())).unwrap().len();
    message("x".repeat(bytes - empty))
}

fn said(error: &IdempotencyError) -> &DynamoError {
    match error {
        IdempotencyError::Store(error) => error.downcast_ref().unwrap(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_message_costs_two_requests_and_a_duplicate_one() {
    let Some(place) = Place::new("id").await else { return };
    let store = place.store();
    let first = claim(&store).await;
    assert_eq!(place.aws.requests(), 1);
    store.complete(first, &[]).await.unwrap();
    assert_eq!(place.aws.requests(), 2);
    assert!(matches!(begin(&store).await, Admission::Duplicate(_)));
    assert_eq!(place.aws.requests(), 3);
}

#[tokio::test]
async fn a_claim_frees_itself_when_it_has_ended_by_anybodys_clock() {
    let Some(place) = Place::new("id").await else { return };
    let (mine, other) = (Clock::at(0), Clock::at(0));
    let (first, second) = (place.store_with(&mine), place.store_with(&other));
    let late = claim(&first).await;
    other.set(5 * 60 + 4);
    assert!(matches!(begin(&second).await, Admission::InProgress), "its clock may be ahead");
    mine.set(5 * 60);
    let error = first.complete(late, &[]).await.unwrap_err();
    assert!(matches!(error, IdempotencyError::ClaimExpired), "{error}");

    // The slow clock says that the claim lasts, and still what another has is left to it.
    mine.set(1_000);
    other.set(1_000 + 5 * 60 + 5);
    let slow = claim(&first).await;
    let next = claim(&second).await;
    let error = first.complete(slow, &followed(200)).await.unwrap_err();
    assert!(matches!(error, IdempotencyError::ClaimExpired), "{error}");
    second.complete(next, &[]).await.unwrap();
    assert!(matches!(begin(&second).await, Admission::Duplicate(messages) if messages.is_empty()));
}

#[tokio::test]
async fn what_followed_may_nearly_fill_an_item_and_no_more() {
    let Some(place) = Place::new("id").await else { return };
    let store = place.store();
    let error = store.complete(claim(&store).await, &followed(409_600)).await.unwrap_err();
    let DynamoError::TooLarge { bytes: 409_600, limit } = *said(&error) else { panic!("{error}") };
    assert!(error.to_string().contains("fewer or smaller events"), "{error}");
    let again = loop {
        match begin(&store).await {
            Admission::New(claim) => break claim,
            _ => tokio::task::yield_now().await,
        }
    };
    // The server that tests run against refuses items a little below DynamoDB's limit.
    let fits = followed(400_000);
    assert!(limit > 400_000);
    store.complete(again, &fits).await.unwrap();
    let Admission::Duplicate(messages) = begin(&store).await else { panic!("no duplicate") };
    assert_eq!(messages, fits);
}

#[tokio::test]
async fn time_to_live_never_ends_before_an_item_does() {
    let Some(place) = Place::new("id").await else { return };
    let clock = Clock::at(0);
    let store = place.store_with(&clock).retention(Duration::from_millis(86_400_001));
    let number = async |name: &str| {
        let id = AttributeValue::S(r#"["products","orders","e-1"]"#.into());
        let get = place.client.get_item().table_name(&place.table).key("id", id);
        let item = get.send().await.unwrap().item.unwrap();
        item[name].as_n().unwrap().parse::<u64>().unwrap()
    };
    let first = claim(&store).await;
    assert_eq!(number("until").await, 1_800_000_305_000);
    assert_eq!(number("expires_at").await, 1_800_000_306);
    store.complete(first, &[]).await.unwrap();
    assert_eq!(number("until").await, 1_800_086_400_001);
    assert_eq!(number("expires_at").await, 1_800_086_401);
}

#[tokio::test]
async fn a_table_that_is_missing_or_of_another_shape_is_named() {
    let Some(place) = Place::new("event").await else { return };
    let error = place.store().begin(key(), PayloadHash::of("{}")).await.unwrap_err();
    assert!(matches!(said(&error), DynamoError::Refused { .. }), "{error}");
    let missing = DynamoIdempotencyStore::new(&place.aws, "nobody-made-it");
    let error = missing.begin(key(), PayloadHash::of("{}")).await.unwrap_err();
    assert!(matches!(said(&error), DynamoError::Missing { .. }), "{error}");
}
