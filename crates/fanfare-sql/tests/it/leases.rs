//! Leases on the shards of streams.

use std::sync::Arc;

use fanfare_core::{Checkpoint, LeaseGroup, LeaseStore, NewLease};
use fanfare_sql::{Database, SqlLeaseStore};
use fanfare_testkit::lease_store_contract;

use crate::places::{Place, Pool, on_both};

on_both! {
    the_lease_store_keeps_the_contract,
    without_tables_a_lease_store_fails_for_good,
    columns_are_named_as_in_the_kinesis_client_library,
    a_row_of_others_is_an_error,
}

async fn the_lease_store_keeps_the_contract(place: Place) {
    let store = SqlLeaseStore::new(&place.database);
    lease_store_contract(Arc::new(store)).await.unwrap();
}

async fn without_tables_a_lease_store_fails_for_good(place: Place) {
    let database = match place.pool {
        Pool::Postgres(pool) => Database::postgres(pool),
        Pool::Sqlite(pool) => Database::sqlite(pool),
    };
    let store = SqlLeaseStore::new(&database.prefix("missing_").unwrap());
    let error = store.leases(&LeaseGroup::new("shop", "orders")).await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("Database::migrate"), "{error}");
}

async fn columns_are_named_as_in_the_kinesis_client_library(place: Place) {
    let store = SqlLeaseStore::new(&place.database);
    let group = LeaseGroup::new("shop", "orders");
    let time = Checkpoint::At("2026-02-03T04:05:06Z".parse().unwrap());
    let parents = vec!["shardId-0".into(), "shardId-1".into()];
    store.begin(&group, &[NewLease::new("shardId-2", time, parents)]).await.unwrap();
    let seen = store.leases(&group).await.unwrap().remove(0);
    let taken = store.take(&group, &seen, "w1").await.unwrap().unwrap();
    assert!(store.ask(&group, &taken, "w2").await.unwrap());
    let condition = "consumer = 'shop' and stream = 'orders' and lease_key = 'shardId-2' \
         and lease_owner = 'w1' and lease_epoch = 1 and lease_counter = 1 \
         and lease_successor = 'w2' and checkpoint = 'AT_TIMESTAMP 2026-02-03T04:05:06Z' \
         and checkpoint_sub_sequence_number is null \
         and parent_shard_ids = '[\"shardId-0\",\"shardId-1\"]'";
    assert_eq!(place.count(&format!("leases where {condition}")).await, 1);
}

async fn a_row_of_others_is_an_error(place: Place) {
    let store = SqlLeaseStore::new(&place.database);
    for (n, (checkpoint, parents)) in
        [("LATEST", "[]"), ("AT_TIMESTAMP soon", "[]"), ("1", "none")].into_iter().enumerate()
    {
        place
            .execute(&format!(
                "insert into fanfare_leases (consumer, stream, lease_key, checkpoint, parent_shard_ids) \
                 values ('{n}', 'orders', 'a', '{checkpoint}', '{parents}')"
            ))
            .await;
        let error = store.leases(&LeaseGroup::new(n.to_string(), "orders")).await.unwrap_err();
        assert!(error.to_string().contains("fanfare did not write"), "{error}");
    }
}
