//! What every idempotency store promises, on each there is.

use std::time::{Duration, Instant};

use fanfare_core::{
    Admission, Claim, Destination, IdempotencyError, IdempotencyStore, InboxKey,
    MemoryIdempotencyStore, Message, PayloadHash,
};
use fanfare_sql::SqlIdempotencyStore;

use crate::{
    broker::PATIENCE,
    places::{Place, on_both},
};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(150);

/// The same store, whose claims last so long now, and what was handled so long.
trait Last<S>: Fn(&S, Duration, Duration) -> S {}
impl<S, F: Fn(&S, Duration, Duration) -> S> Last<S> for F {}

fn key(id: &str) -> InboxKey {
    InboxKey::new("products", "orders", id)
}

fn data(text: &str) -> PayloadHash {
    PayloadHash::of(text)
}

fn followed() -> Vec<Message> {
    let destination = Destination::Topic("products".into());
    let attributes = vec![("type".into(), "a.B.v1".into())];
    // As awkward as text can be.
    let body = "{\"data\":{\"a\":\"\\u0000 'ü' \\\\ \"}}";
    vec![Message::new(destination, "id-1", "a.B.v1", "k 'ü'", attributes, body)]
}

async fn claim(store: &impl IdempotencyStore, id: &str) -> Claim {
    match store.begin(key(id), data("{}")).await.unwrap() {
        Admission::New(claim) => claim,
        other => panic!("{id}: {other:?}"),
    }
}

async fn state(store: &impl IdempotencyStore, id: &str) -> Admission {
    store.begin(key(id), data("{}")).await.unwrap()
}

/// Claims it as soon as that can be done.
async fn claim_in_time(store: &impl IdempotencyStore, id: &str) -> Claim {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match state(store, id).await {
            Admission::New(claim) => return claim,
            other => assert!(Instant::now() < deadline, "{id} is still {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn contract<S: IdempotencyStore + Clone + 'static>(make: impl Fn() -> S, last: impl Last<S>) {
    let store = last(&make(), LONG, LONG);
    a_second_delivery_waits_for_the_first_and_then_gets_what_followed(&store).await;
    a_claim_that_is_dropped_lets_the_next_delivery_in(&store).await;
    consumers_and_sources_do_not_share_what_was_handled(&store).await;
    other_data_under_the_same_id_is_told_apart(&store).await;
    of_many_at_once_one_gets_the_claim(&store).await;
    let brief = last(&store, SHORT, LONG);
    the_claim_of_one_that_died_frees_itself(&brief).await;
    a_claim_that_freed_itself_cannot_be_completed(&brief, &store).await;
    what_was_handled_is_forgotten_in_time(&last(&make(), LONG, SHORT)).await;
}

async fn a_second_delivery_waits_for_the_first_and_then_gets_what_followed(
    store: &impl IdempotencyStore,
) {
    let first = claim(store, "1").await;
    assert!(matches!(state(store, "1").await, Admission::InProgress));
    store.complete(first, &followed()).await.unwrap();
    for _ in 0..2 {
        let Admission::Duplicate(messages) = state(store, "1").await else {
            panic!("no duplicate")
        };
        assert_eq!(messages, followed(), "byte for byte");
    }
}

async fn a_claim_that_is_dropped_lets_the_next_delivery_in(store: &impl IdempotencyStore) {
    drop(claim(store, "dropped").await);
    drop(claim_in_time(store, "dropped").await);
}

async fn consumers_and_sources_do_not_share_what_was_handled(store: &impl IdempotencyStore) {
    let shared = claim(store, "shared").await;
    store.complete(shared, &[]).await.unwrap();
    for other in
        [InboxKey::new("delivery", "orders", "shared"), InboxKey::new("products", "x", "shared")]
    {
        assert!(matches!(store.begin(other, data("{}")).await, Ok(Admission::New(_))));
    }
}

async fn other_data_under_the_same_id_is_told_apart(store: &impl IdempotencyStore) {
    let first = claim(store, "other").await;
    let other = || store.begin(key("other"), data("{\"a\":1}"));
    assert!(matches!(other().await, Ok(Admission::OtherPayload)), "while it is being handled");
    store.complete(first, &[]).await.unwrap();
    assert!(matches!(other().await, Ok(Admission::OtherPayload)), "and after");
    assert!(matches!(state(store, "other").await, Admission::Duplicate(_)));
}

async fn of_many_at_once_one_gets_the_claim<S>(store: &S)
where
    S: IdempotencyStore + Clone + 'static,
{
    let begin = |_| {
        let store = store.clone();
        tokio::spawn(async move { store.begin(key("crowd"), data("{}")).await.unwrap() })
    };
    let all = futures_util::future::join_all((0..20).map(begin)).await;
    let all: Vec<Admission> = all.into_iter().map(Result::unwrap).collect();
    let new = all.iter().filter(|one| matches!(one, Admission::New(_))).count();
    let waiting = all.iter().filter(|one| matches!(one, Admission::InProgress)).count();
    assert_eq!((new, waiting), (1, 19));
}

async fn the_claim_of_one_that_died_frees_itself(store: &impl IdempotencyStore) {
    // What nobody drops, as when its process is killed.
    std::mem::forget(claim(store, "died").await);
    drop(claim_in_time(store, "died").await);
}

async fn a_claim_that_freed_itself_cannot_be_completed<S: IdempotencyStore>(brief: &S, store: &S) {
    let late = claim(brief, "late").await;
    let next = claim_in_time(store, "late").await;
    let error = store.complete(late, &[]).await.unwrap_err();
    assert!(matches!(error, IdempotencyError::ClaimExpired), "{error}");
    store.complete(next, &followed()).await.unwrap();
    let Admission::Duplicate(messages) = state(store, "late").await else { panic!("no duplicate") };
    assert_eq!(messages.len(), 1, "the one that had it in the end");
}

async fn what_was_handled_is_forgotten_in_time(store: &impl IdempotencyStore) {
    let handled = claim(store, "handled").await;
    store.complete(handled, &[]).await.unwrap();
    drop(claim_in_time(store, "handled").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_keeps_the_contract() {
    contract(MemoryIdempotencyStore::default, |store, claim, retention| {
        store.clone().claims_last(claim).retention(retention)
    })
    .await;
}

on_both! {
    the_store_keeps_the_contract,
    only_what_has_expired_is_purged,
}

async fn the_store_keeps_the_contract(place: Place) {
    contract(
        || SqlIdempotencyStore::new(&place.database),
        |store, claim, retention| store.clone().claims_last(claim).retention(retention),
    )
    .await;
}

async fn only_what_has_expired_is_purged(place: Place) {
    let store = SqlIdempotencyStore::new(&place.database);
    let kept = claim(&store, "kept").await;
    store.complete(kept, &[]).await.unwrap();
    let _under_way = claim(&store, "under way").await;
    let brief = store.clone().retention(Duration::ZERO);
    for n in 0..1_203 {
        let old = claim(&brief, &format!("old-{n}")).await;
        brief.complete(old, &[]).await.unwrap();
    }
    assert_eq!(store.purge().await.unwrap(), 1_203);
    assert_eq!((store.purge().await.unwrap(), place.count("idempotency").await), (0, 2));
}
