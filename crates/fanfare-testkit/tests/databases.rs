//! Databases for tests: each is its own, and goes with its value.
#![allow(clippy::unwrap_used)]

use fanfare_testkit::postgres::{Postgres, PostgresError};
use fanfare_testkit::sqlite;
use sqlx::{Connection, Executor, PgConnection, Row, SqliteConnection};

async fn names(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = connection.fetch_all("select datname::text from pg_database").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn two_postgres_databases_share_nothing() {
    let Some(postgres) = Postgres::from_env().unwrap() else { return };
    let (one, other) = (postgres.database().await.unwrap(), postgres.database().await.unwrap());
    one.pool().execute("create table numbers (n int)").await.unwrap();
    assert!(other.pool().execute("select n from numbers").await.is_err());
    // By its URL it is the same database as by its options.
    let mut connection = PgConnection::connect(one.url()).await.unwrap();
    connection.execute("insert into numbers values (1)").await.unwrap();
    assert_eq!(one.pool().fetch_all("select n from numbers").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_postgres_database_goes_with_its_value_though_clients_are_connected() {
    let Some(postgres) = Postgres::from_env().unwrap() else { return };
    let (dropped, closed) =
        (postgres.database().await.unwrap(), postgres.database().await.unwrap());
    let (dropped_name, closed_name) = (dropped.name().to_owned(), closed.name().to_owned());
    let (pool, other_pool) = (dropped.pool(), closed.pool());
    let _transaction = pool.begin().await.unwrap();
    let _other_transaction = other_pool.begin().await.unwrap();
    let server = std::env::var("DATABASE_URL").unwrap();
    let before = names(&server).await;
    assert!(before.contains(&dropped_name) && before.contains(&closed_name));
    drop(dropped);
    closed.close().await.unwrap();
    let after = names(&server).await;
    assert!(!after.contains(&dropped_name) && !after.contains(&closed_name));
}

#[tokio::test]
async fn a_postgres_database_that_a_killed_process_left_is_dropped_by_the_first_of_another() {
    if Postgres::from_env().unwrap().is_none() {
        return;
    }
    let server = std::env::var("DATABASE_URL").unwrap();
    // Of 1970, as its UUIDv7 says.
    let left = format!("fanfare_test_00000000000070008000{:012x}", std::process::id());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let create = format!("create database {left} template template0");
    connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    // This process is not the first of its kind: a test of its own in it is.
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "two_postgres_databases_share_nothing"])
        .output()
        .unwrap();
    assert!(other.status.success());
    assert!(!names(&server).await.contains(&left));
}

#[tokio::test]
async fn a_postgres_database_goes_though_a_logical_replication_slot_of_it_is_in_use() {
    let Some(postgres) = Postgres::from_env().unwrap() else { return };
    let database = postgres.database().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    // A temporary slot is in use as long as its session lives.
    let slots = "select pg_create_logical_replication_slot('temporary_' || current_database(), \
         'pgoutput', true), pg_create_logical_replication_slot(current_database(), 'pgoutput')";
    connection.execute(slots).await.unwrap();
    database.close().await.unwrap();
}

#[test]
fn another_database_s_url_is_refused_without_being_repeated() {
    for url in ["sqlite:shop.sqlite", "mysql://root:secret@127.0.0.1/shop", "127.0.0.1:5432", ""] {
        let error = Postgres::at(url).unwrap_err();
        assert!(matches!(error, PostgresError::Url), "{url}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn two_sqlite_databases_share_nothing_and_go_with_their_values() {
    let (one, other) = (sqlite::TestDatabase::new().unwrap(), sqlite::TestDatabase::new().unwrap());
    let pool = one.pool();
    pool.execute("create table numbers (n int)").await.unwrap();
    assert!(other.pool().execute("select n from numbers").await.is_err());
    let mode = pool.fetch_one("pragma journal_mode").await.unwrap();
    assert_eq!(mode.get::<String, _>(0), "wal");
    let mut connection = SqliteConnection::connect(&one.url()).await.unwrap();
    assert!(connection.fetch_all("select n from numbers").await.unwrap().is_empty());
    let folder = one.folder().to_owned();
    assert!(one.path().exists());
    drop(one);
    assert!(!folder.exists());
}
