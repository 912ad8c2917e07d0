//! Recording: with the state or not at all, in order, under names of the user's.

use fanfare_sql::{Database, SqlError};

use crate::places::{Happened, Place, Pool, on_both};

on_both! {
    events_are_there_with_the_state_or_not_at_all,
    a_transactions_events_keep_their_order,
    migrating_again_and_side_by_side_changes_nothing,
    tables_that_are_missing_are_named_as_such,
}

async fn events_are_there_with_the_state_or_not_at_all(place: Place) {
    match &place.pool {
        Pool::Postgres(pool) => {
            let mut tx = pool.begin().await.unwrap();
            place.outbox.record(&mut tx, &Happened::new("k", 1)).await.unwrap();
            tx.rollback().await.unwrap();
        }
        Pool::Sqlite(pool) => {
            let mut tx = fanfare_sql::begin_immediate(pool).await.unwrap();
            place.outbox.record(&mut tx, &Happened::new("k", 1)).await.unwrap();
            tx.rollback().await.unwrap();
        }
    }
    assert_eq!(place.count("outbox").await, 0);
    place.record(vec![Happened::new("k", 2), Happened::new("k", 3)]).await.unwrap();
    assert_eq!(place.count("outbox").await, 2);
    let backlog = place.outbox.backlog().await.unwrap();
    assert_eq!(backlog.len(), 1);
    assert_eq!((backlog[0].shard, backlog[0].events), (fanfare_sql::shard_of("k"), 2));
    assert!(backlog[0].oldest.as_secs() < 60, "{backlog:?}");
}

async fn a_transactions_events_keep_their_order(place: Place) {
    let events = (0..500).map(|number| Happened::new("k", number)).collect();
    let ids = place.record(events).await.unwrap();
    let sql = "select event_id from fanfare_outbox order by id";
    let stored: Vec<String> = match &place.pool {
        Pool::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        Pool::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
    };
    assert_eq!(stored, ids);
}

async fn migrating_again_and_side_by_side_changes_nothing(place: Place) {
    let again = (0..4).map(|_| {
        let database = place.database.clone();
        tokio::spawn(async move { database.migrate().await })
    });
    for migrated in again.collect::<Vec<_>>() {
        migrated.await.unwrap().unwrap();
    }
    assert_eq!(place.count("outbox_shards").await, 64);
}

async fn tables_that_are_missing_are_named_as_such(place: Place) {
    let other = place.database.clone().prefix("other_").unwrap();
    let outbox = fanfare_sql::Outbox::new(&other, "orders");
    assert!(matches!(outbox.backlog().await, Err(SqlError::NotMigrated)));
    other.migrate().await.unwrap();
    assert_eq!(outbox.backlog().await.unwrap(), []);
}

#[tokio::test]
async fn tables_can_live_in_a_schema_of_their_own() {
    let Some(place) = Place::postgres().await else { return };
    let Pool::Postgres(pool) = &place.pool else { unreachable!() };
    let database = Database::postgres(pool.clone()).schema("events").unwrap();
    let database = database.prefix("shop_").unwrap();
    let printed = database.migrations();
    assert!(printed.contains("create table events.shop_outbox"), "{printed}");
    // What is printed does what the call does: after it there is nothing left to do.
    sqlx::raw_sql(sqlx::AssertSqlSafe(printed)).execute(pool).await.unwrap();
    database.migrate().await.unwrap();
    let outbox = fanfare_sql::Outbox::new(&database, "orders");
    let mut tx = pool.begin().await.unwrap();
    outbox.record(&mut tx, &Happened::new("k", 1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(outbox.backlog().await.unwrap().len(), 1);
    assert_eq!(place.count("outbox").await, 0);
}

#[tokio::test]
async fn sqlite_has_no_schemas() {
    let place = Place::sqlite().await.unwrap();
    assert!(matches!(place.database.clone().schema("events"), Err(SqlError::NoSchemas)));
}

#[tokio::test]
async fn a_transaction_of_tokio_postgres_records_too() {
    let Some(place) = Place::postgres().await else { return };
    let (mut client, connection) =
        tokio_postgres::connect(&place.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut tx = client.transaction().await.unwrap();
    let first = place.outbox.record(&mut tx, &Happened::new("k", 0)).await.unwrap();
    let more = (1..4).map(|number| Happened::new("k", number)).collect::<Vec<_>>();
    let more = place.outbox.record_all(&mut tx, more).await.unwrap();
    let last = place.outbox.record_ordered(&mut tx, Happened::new("k", 4)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = client.transaction().await.unwrap();
    place.outbox.clone().logged().record(&mut tx, &Happened::new("k", 5)).await.unwrap();
    tx.rollback().await.unwrap();

    let broker = crate::broker::Broker::new();
    let relay = crate::places::Running::start(place.relay(&broker));
    broker.has(5).await;
    relay.stop().await;
    let published: Vec<String> = broker.accepted().into_iter().map(|message| message.id).collect();
    assert_eq!(published, [vec![first], more, last].concat());
}

/// Turning the journal into a write-ahead log is the one step that does not wait for a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_file_can_be_opened_by_many_at_once() {
    let folder = fanfare_testkit::sqlite::TestDatabase::new().unwrap();
    for round in 0..40 {
        let path = folder.folder().join(format!("{round}.sqlite"));
        let opening: Vec<_> =
            (0..8).map(|_| tokio::spawn(fanfare_sql::open_sqlite(path.clone()))).collect();
        for opened in opening {
            let database = Database::sqlite(opened.await.unwrap().unwrap());
            database.migrate().await.unwrap();
        }
    }
}
