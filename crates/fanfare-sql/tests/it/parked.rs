//! Parked groups in databases.

use fanfare_core::{InboxKey, ParkedGroups};
use fanfare_sql::{Database, SqlParkedGroups};
use fanfare_testkit::parked_groups_contract;

use crate::places::{Place, Pool, on_both};

on_both! {
    parked_groups_keep_the_contract,
    a_group_that_is_free_takes_no_room,
    without_tables_the_store_says_what_to_do,
}

async fn parked_groups_keep_the_contract(place: Place) {
    parked_groups_contract(SqlParkedGroups::new(&place.database)).await.unwrap();
}

async fn a_group_that_is_free_takes_no_room(place: Place) {
    let store = SqlParkedGroups::new(&place.database);
    let events = ["1", "2", "3"].map(|id| InboxKey::new("products", "orders", id));
    for event in &events {
        store.park("key", event).await.unwrap();
    }
    assert_eq!(place.count("parked_groups where consumer = 'products' and not handled").await, 3);
    for event in &events {
        store.handled("key", event).await.unwrap();
    }
    assert_eq!(place.count("parked_groups").await, 0);
}

async fn without_tables_the_store_says_what_to_do(place: Place) {
    let database = match place.pool {
        Pool::Postgres(pool) => Database::postgres(pool),
        Pool::Sqlite(pool) => Database::sqlite(pool),
    };
    let store = SqlParkedGroups::new(&database.prefix("missing_").unwrap());
    let error = store.turn("key", &InboxKey::new("c", "s", "1")).await.unwrap_err();
    assert!(error.to_string().contains("Database::migrate"), "{error}");
}
