//! For tests that need transactions of their own: a place of each kind, with its driver's types.

use std::sync::Arc;

use fanfare_core::{Delivery, EventType, HandlerError, Router};
use fanfare_sql::{Database, Transaction, begin_immediate};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, SqliteConnection, SqlitePool};

use crate::places::{Place, Pool};

/// A place whose transactions have a type.
pub(crate) trait Store: Clone + Send + Sync + 'static {
    type Tx: Transaction + Send + 'static;
    /// What handlers see of a transaction.
    type Connection: Transaction + Send + 'static;

    /// None, after saying so, where it is not to be had.
    fn start() -> impl Future<Output = Option<Self>> + Send;
    fn database(&self) -> &Database;
    fn begin(&self) -> impl Future<Output = Self::Tx> + Send;
    fn commit(tx: Self::Tx) -> impl Future<Output = ()> + Send;
    fn rollback(tx: Self::Tx) -> impl Future<Output = ()> + Send;
    /// Runs a statement that gives numbers.
    fn sql(&self, sql: &str) -> impl Future<Output = Vec<i64>> + Send;
    /// Runs a statement that gives numbers, in a transaction.
    fn sql_in(tx: &mut Self::Tx, sql: &str) -> impl Future<Output = Vec<i64>> + Send;
    /// Runs a statement on a handler's connection.
    fn execute(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// A time as the database counts it, so many seconds ago.
    fn seconds_ago(seconds: u32) -> String;
    /// Now, in microseconds, by the database's clock.
    const NOW: &str;
    /// What a table is filled with in its order.
    const SERIAL: &str;
    /// With a handler that writes what happened into a table.
    fn on_tx(router: Router<Table>) -> Router<Table>;
}

/// What a consumer of [`Happened`](crate::places::Happened) sees of it.
#[derive(Debug, Clone, EventType, Deserialize)]
#[event(type = "tests.Happened.v1", topic = "happenings")]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) number: i64,
}

/// A table of a view, and what is asked before an event is written into it.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) gate: Gate,
}

pub(crate) type Gate = Arc<dyn Fn(&Delivery<Seen>) -> Answer + Send + Sync>;

/// What a handler is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Write,
    Fail,
    /// Write, and then wait for ever.
    Hang,
    /// Let a statement fail and say nothing of it.
    Swallow,
}

macro_rules! write_into_table {
    ($name:ident, $connection:ty, $insert:literal) => {
        async fn $name(
            table: Table,
            tx: &mut $connection,
            seen: Delivery<Seen>,
        ) -> Result<(), HandlerError> {
            let answer = (table.gate)(&seen);
            let sql = AssertSqlSafe(format!($insert, table.name));
            let Seen { key, number } = seen.event;
            sqlx::query(sql).bind(key).bind(number).execute(&mut *tx).await?;
            match answer {
                Answer::Write => Ok(()),
                Answer::Fail => Err(HandlerError::retry("as it was told")),
                Answer::Hang => std::future::pending().await,
                Answer::Swallow => {
                    let _ = sqlx::query("select 1 from nowhere").execute(tx).await;
                    Ok(())
                }
            }
        }
    };
}
write_into_table!(write_postgres, PgConnection, "insert into {} (key, number) values ($1, $2)");
write_into_table!(write_sqlite, SqliteConnection, "insert into {} (key, number) values ($1, $2)");

/// Now, by the database's clock.
pub(crate) async fn now<S: Store>(store: &S) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(store.sql(S::NOW).await[0]).unwrap()
}

#[derive(Clone)]
pub(crate) struct OnPostgres(Arc<Place>);

impl OnPostgres {
    #[cfg(feature = "tokio-postgres")]
    pub(crate) fn url(&self) -> String {
        use sqlx::ConnectOptions;
        let mut url = self.pool().connect_options().to_url_lossy();
        // sqlx's own options.
        url.set_query(None);
        url.to_string()
    }

    pub(crate) fn pool(&self) -> &PgPool {
        let Pool::Postgres(pool) = &self.0.pool else { unreachable!() };
        pool
    }
}

impl Store for OnPostgres {
    type Tx = sqlx::Transaction<'static, sqlx::Postgres>;
    type Connection = sqlx::PgConnection;

    async fn start() -> Option<Self> {
        Place::postgres().await.map(|place| OnPostgres(Arc::new(place)))
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    async fn begin(&self) -> Self::Tx {
        self.pool().begin().await.unwrap()
    }

    async fn commit(tx: Self::Tx) {
        tx.commit().await.unwrap();
    }

    async fn rollback(tx: Self::Tx) {
        tx.rollback().await.unwrap();
    }

    async fn sql(&self, sql: &str) -> Vec<i64> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(self.pool()).await.unwrap()
    }

    async fn sql_in(tx: &mut Self::Tx, sql: &str) -> Vec<i64> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut **tx).await.unwrap()
    }

    async fn execute(connection: &mut Self::Connection, sql: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
    }

    fn seconds_ago(seconds: u32) -> String {
        format!("clock_timestamp() - interval '{seconds} seconds'")
    }

    const NOW: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::int8";
    const SERIAL: &str = "bigint generated always as identity primary key";

    fn on_tx(router: Router<Table>) -> Router<Table> {
        router.on_tx(write_postgres)
    }
}

#[derive(Clone)]
pub(crate) struct OnSqlite(Arc<Place>);

impl OnSqlite {
    pub(crate) fn pool(&self) -> &SqlitePool {
        let Pool::Sqlite(pool) = &self.0.pool else { unreachable!() };
        pool
    }
}

impl Store for OnSqlite {
    type Tx = sqlx::Transaction<'static, sqlx::Sqlite>;
    type Connection = sqlx::SqliteConnection;

    async fn start() -> Option<Self> {
        Place::sqlite().await.map(|place| OnSqlite(Arc::new(place)))
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    async fn begin(&self) -> Self::Tx {
        begin_immediate(self.pool()).await.unwrap()
    }

    async fn commit(tx: Self::Tx) {
        tx.commit().await.unwrap();
    }

    async fn rollback(tx: Self::Tx) {
        tx.rollback().await.unwrap();
    }

    async fn sql(&self, sql: &str) -> Vec<i64> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(self.pool()).await.unwrap()
    }

    async fn sql_in(tx: &mut Self::Tx, sql: &str) -> Vec<i64> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut **tx).await.unwrap()
    }

    async fn execute(connection: &mut Self::Connection, sql: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
    }

    fn seconds_ago(seconds: u32) -> String {
        format!("cast(unixepoch('subsec') * 1000 as integer) - {seconds} * 1000")
    }

    const NOW: &str = "select cast(unixepoch('subsec') * 1000 as integer) * 1000";
    const SERIAL: &str = "integer primary key autoincrement";

    fn on_tx(router: Router<Table>) -> Router<Table> {
        router.on_tx(write_sqlite)
    }
}

/// Makes a test of each function that takes a [`Store`], on PostgreSQL and on SQLite.
macro_rules! on_each {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            crate::stores::on!(crate::stores::OnPostgres: $($name),+);
        }
        mod on_sqlite {
            crate::stores::on!(crate::stores::OnSqlite: $($name),+);
        }
    };
}
pub(crate) use on_each;

/// Makes a test of each function, on one kind of database.
macro_rules! on {
    ($store:ty: $($name:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(store) = <$store as crate::stores::Store>::start().await else { return };
            super::$name(store).await;
        }
    )+};
}
pub(crate) use on;
