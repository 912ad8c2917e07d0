//! Idempotency stores in databases.

use std::time::Duration;

use fanfare_core::{Admission, Claim, IdempotencyStore, InboxKey, PayloadHash};
use fanfare_sql::SqlIdempotencyStore;
use fanfare_testkit::idempotency_store_contract;

use crate::places::{Place, on_both};

on_both! {
    the_store_keeps_the_contract,
    only_what_has_expired_is_purged,
}

async fn claim(store: &SqlIdempotencyStore, id: &str) -> Claim {
    let key = InboxKey::new("products", "orders", id);
    match store.begin(key, PayloadHash::of("{}")).await.unwrap() {
        Admission::New(claim) => claim,
        other => panic!("{id}: {other:?}"),
    }
}

async fn the_store_keeps_the_contract(place: Place) {
    let make = || SqlIdempotencyStore::new(&place.database);
    idempotency_store_contract(make, |store, claim, retention| {
        store.claims_last(claim).retention(retention)
    })
    .await
    .unwrap();
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
