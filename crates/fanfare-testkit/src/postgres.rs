//! The PostgreSQL that tests run against: found by its URL in the environment, never started here;
//! and databases in it, one for each test.
//!
//! A test that needs it begins with
//!
//! ```no_run
//! # use fanfare_testkit::postgres::{Postgres, PostgresError};
//! # async fn test() -> Result<(), PostgresError> {
//! let Some(postgres) = Postgres::from_env()? else { return Ok(()) };
//! let database = postgres.database().await?;
//! let pool = database.pool();
//! # Ok(())
//! # }
//! ```
//!
//! and is skipped, saying what is missing, where there is none. `cargo xtask test` provides one.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};
use tokio::sync::OnceCell;
use url::Url;
use uuid::{NoContext, Timestamp, Uuid};

use crate::localstack::REQUIRE_VARIABLE;

/// Holds a PostgreSQL's URL, `postgres://postgres@127.0.0.1:5432/postgres`; its user may create
/// databases.
pub const URL_VARIABLE: &str = "DATABASE_URL";

/// What the names of tests' databases begin with; a UUIDv7 follows, which tells their age.
const PREFIX: &str = "fanfare_test_";

/// A test's database that is older was left by a process that was killed.
const LEFT_OVER: Duration = Duration::from_secs(6 * 60 * 60);

/// Enough for one test, and few enough for many at once.
const CONNECTIONS: u32 = 8;

/// Waiting for a free connection takes as long as what holds it, or fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// A test needs PostgreSQL and there is none, or it does not do what it has to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// No URL is set, and skipping is not allowed.
    #[error("PostgreSQL is needed: run `cargo xtask test`, or set DATABASE_URL")]
    Missing,
    /// The URL is not one of a PostgreSQL.
    #[error("DATABASE_URL is no URL of a PostgreSQL: postgres://user@host:port/database")]
    Url,
    /// A database could not be created or dropped.
    #[error("the test's database could not be {action}")]
    Database {
        /// `created` or `dropped`.
        action: &'static str,
        /// What the server or the way to it said.
        source: sqlx::Error,
    },
}

/// A PostgreSQL to test against.
#[derive(Clone, Debug)]
pub struct Postgres {
    url: Url,
    options: PgConnectOptions,
}

impl Postgres {
    /// The PostgreSQL that the environment names in [`URL_VARIABLE`]; `None`, after saying so on
    /// standard error, if it names none.
    ///
    /// # Errors
    /// [`PostgresError::Missing`] if it names none and [`REQUIRE_VARIABLE`] is set;
    /// [`PostgresError::Url`] if what it names is something else.
    pub fn from_env() -> Result<Option<Self>, PostgresError> {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => Self::at(&url).map(Some),
            Err(_) if std::env::var_os(REQUIRE_VARIABLE).is_some() => Err(PostgresError::Missing),
            Err(_) => {
                eprintln!("skipped: {}", PostgresError::Missing);
                Ok(None)
            }
        }
    }

    /// The PostgreSQL at `url`.
    ///
    /// # Errors
    /// [`PostgresError::Url`].
    pub fn at(url: &str) -> Result<Self, PostgresError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| PostgresError::Url)?;
        let url = Url::parse(url).map_err(|_| PostgresError::Url)?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(PostgresError::Url);
        }
        Ok(Self { url, options })
    }

    /// Creates an empty database of the caller's own. The first call of a process also drops what
    /// processes that were killed hours ago have left.
    ///
    /// # Errors
    /// [`PostgresError::Database`].
    pub async fn database(&self) -> Result<TestDatabase, PostgresError> {
        static SWEPT: OnceCell<()> = OnceCell::const_new();
        let failed = |source| PostgresError::Database { action: "created", source };
        let mut connection = self.options.connect().await.map_err(failed)?;
        SWEPT.get_or_init(|| drop_left_overs(&mut connection)).await;
        let name = format!("{PREFIX}{}", Uuid::now_v7().simple());
        // From template0, to which nobody can be connected: that would refuse the copy.
        let create = format!("create database {name} template template0");
        connection.execute(AssertSqlSafe(create)).await.map_err(failed)?;
        let _ = connection.close().await;
        let mut url = self.url.clone();
        url.set_path(&name);
        Ok(TestDatabase { server: self.options.clone(), url, name, exists: true })
    }
}

/// A database of one test. Dropped with this value, whoever is still connected to it; that blocks
/// the thread for a moment, which [`close`](Self::close) does not.
#[derive(Debug)]
pub struct TestDatabase {
    server: PgConnectOptions,
    url: Url,
    name: String,
    exists: bool,
}

impl TestDatabase {
    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The database's name: lower-case letters, digits and `_`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For connections and pools of the caller's own making.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    /// A new pool of at most 8 connections, opened as they are needed.
    #[must_use]
    pub fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(self.options())
    }

    /// Drops the database, whoever is still connected to it.
    ///
    /// # Errors
    /// [`PostgresError::Database`].
    pub async fn close(mut self) -> Result<(), PostgresError> {
        self.exists = false;
        drop_database(&self.server, &self.name).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if !self.exists {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        // On a thread and a runtime of its own: the caller's may be current, or gone.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(drop_database(&server, &name)))
        });
        if !matches!(dropping.join(), Ok(Ok(Ok(())))) {
            eprintln!("the database {} could not be dropped", self.name);
        }
    }
}

async fn drop_database(server: &PgConnectOptions, name: &str) -> Result<(), PostgresError> {
    let failed = |source| PostgresError::Database { action: "dropped", source };
    let mut connection = server.connect().await.map_err(failed)?;
    drop_on(&mut connection, name).await.map_err(failed)?;
    let _ = connection.close().await;
    Ok(())
}

async fn drop_on(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    // `with (force)` ends sessions, but refuses while a logical replication slot is in use.
    sqlx::query(
        "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots \
         where database = $1 and active",
    )
    .bind(name)
    .execute(&mut *connection)
    .await?;
    connection
        .execute(AssertSqlSafe(format!("drop database if exists {name} with (force)")))
        .await?;
    Ok(())
}

/// Another process may be at the same: what fails is left to it, or to the next run.
async fn drop_left_overs(connection: &mut PgConnection) {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let oldest = since_epoch.saturating_sub(LEFT_OVER);
    let timestamp = Timestamp::from_unix(NoContext, oldest.as_secs(), oldest.subsec_nanos());
    let names = sqlx::query_scalar::<_, String>(
        "select datname::text from pg_database where starts_with(datname, $1) and datname < $2",
    )
    .bind(PREFIX)
    .bind(format!("{PREFIX}{}", Uuid::new_v7(timestamp).simple()))
    .fetch_all(&mut *connection)
    .await;
    for name in names.unwrap_or_default() {
        let _ = drop_on(connection, &name).await;
    }
}
