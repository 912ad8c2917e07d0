//! Where the tests run: a database of their own, of each kind.

use fanfare_core::{Event, IntoEvents};
use fanfare_sql::{Database, Outbox, RecordError, Relay};
use fanfare_testkit::{postgres, postgres::Postgres, sqlite};
use serde::Serialize;
use sqlx::{PgPool, SqlitePool};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{broker::Broker, server};

/// A migrated database that is gone after the test.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) outbox: Outbox,
    pub(crate) pool: Pool,
    /// For other processes.
    pub(crate) url: String,
    _keep: Keep,
}

pub(crate) enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

enum Keep {
    Postgres(#[allow(dead_code)] Box<postgres::TestDatabase>),
    Sqlite(#[allow(dead_code)] sqlite::TestDatabase),
    Server(#[allow(dead_code)] server::Server),
}

impl Place {
    /// A PostgreSQL database; none, after saying so, where there is no server.
    pub(crate) async fn postgres() -> Option<Place> {
        let server = Postgres::from_env().unwrap()?;
        let keep = server.database().await.unwrap();
        let pool = keep.pool();
        let database = Database::postgres(pool.clone());
        let url = keep.url().to_string();
        Some(Place::on(database, Pool::Postgres(pool), url, Keep::Postgres(Box::new(keep))).await)
    }

    /// A PostgreSQL server of the test's own, to be crashed; none, after saying so, where there is no
    /// way to start one.
    pub(crate) async fn server() -> Option<Place> {
        let server = server::Server::start()?;
        let url = server.url().to_string();
        let pool = PgPool::connect(&url).await.unwrap();
        let database = Database::postgres(pool.clone());
        Some(Place::on(database, Pool::Postgres(pool), url, Keep::Server(server)).await)
    }

    /// A SQLite file.
    pub(crate) async fn sqlite() -> Option<Place> {
        let keep = sqlite::TestDatabase::new().unwrap();
        let pool = fanfare_sql::open_sqlite(keep.path()).await.unwrap();
        let database = Database::sqlite(pool.clone());
        let url = keep.url();
        Some(Place::on(database, Pool::Sqlite(pool), url, Keep::Sqlite(keep)).await)
    }

    async fn on(database: Database, pool: Pool, url: String, keep: Keep) -> Place {
        database.migrate().await.unwrap();
        let outbox = Outbox::new(&database, "orders");
        Place { database, outbox, pool, url, _keep: keep }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(_))
    }

    /// Ends the leases of relays that are dead for certain.
    pub(crate) async fn end_leases(&self) {
        self.execute("update fanfare_outbox_shards set owner = null").await;
        self.execute("delete from fanfare_outbox_relays").await;
    }

    /// Leases all shards to `owner`, until so many seconds from now by the database's clock.
    pub(crate) async fn lease_all_to(&self, owner: &str, seconds: i64) {
        let until = match self.pool {
            Pool::Postgres(_) => format!("clock_timestamp() + {seconds} * interval '1 second'"),
            Pool::Sqlite(_) => format!("(unixepoch() + {seconds}) * 1000000"),
        };
        let sql =
            format!("update fanfare_outbox_shards set owner = '{owner}', expires_at = {until}");
        self.execute(&sql).await;
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_string());
        match &self.pool {
            Pool::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            Pool::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
    }

    /// Records events in one transaction, commits and wakes.
    pub(crate) async fn record(&self, events: Vec<Happened>) -> Result<Vec<String>, RecordError> {
        self.record_in(&self.outbox, events).await
    }

    /// Records events in one transaction by this outbox, commits and wakes.
    pub(crate) async fn record_in(
        &self,
        outbox: &Outbox,
        events: impl IntoEvents,
    ) -> Result<Vec<String>, RecordError> {
        let ids = match &self.pool {
            Pool::Postgres(pool) => {
                let mut tx = pool.begin().await.unwrap();
                let ids = outbox.record_all(&mut tx, events).await?;
                tx.commit().await.unwrap();
                ids
            }
            Pool::Sqlite(pool) => {
                let mut tx = fanfare_sql::begin_immediate(pool).await?;
                let ids = outbox.record_all(&mut tx, events).await?;
                tx.commit().await.unwrap();
                ids
            }
        };
        outbox.wake();
        Ok(ids)
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from fanfare_{table}"));
        match &self.pool {
            Pool::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            Pool::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    pub(crate) fn relay(&self, broker: &Broker) -> Relay {
        Relay::new(&self.database, broker.clone())
    }
}

/// A relay in the background, stopped when dropped.
pub(crate) struct Running {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(relay: Relay) -> Running {
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { relay.run(shutdown).await.unwrap() });
        Running { stop: stop.drop_guard(), task }
    }

    /// Stops it and waits until it has.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The tests' event.
#[derive(Debug, Clone, Event, Serialize)]
#[event(type = "tests.Happened.v1", topic = "happenings", key = key)]
pub(crate) struct Happened {
    pub(crate) key: String,
    pub(crate) number: u64,
}

impl Happened {
    pub(crate) fn new(key: impl Into<String>, number: u64) -> Happened {
        Happened { key: key.into(), number }
    }
}

/// An event for a topic that keeps order itself.
#[derive(Debug, Clone, Event, Serialize)]
#[event(type = "tests.Happened.v1", topic = "happenings-ordered", key = key)]
pub(crate) struct Ordered {
    pub(crate) key: String,
    pub(crate) number: u64,
}

impl Ordered {
    pub(crate) fn new(key: impl Into<String>, number: u64) -> Ordered {
        Ordered { key: key.into(), number }
    }
}

/// Makes a test of each function, on PostgreSQL and on SQLite.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(place) = crate::places::Place::postgres().await else { return };
                super::$name(place).await;
            })+
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(place) = crate::places::Place::sqlite().await else { return };
                super::$name(place).await;
            })+
        }
    };
}
pub(crate) use on_both;
