//! A database that holds fanfare's tables.

use std::{fmt, sync::Arc};

use sqlx::AssertSqlSafe;

use crate::{
    SqlError,
    names::Names,
    schema,
    wake::{Wake, Woken},
};

/// A database of the user's, and what fanfare's tables in it are called. Cheap to clone.
///
/// All that shares tables in one process should come from clones of one value: they wake each
/// other.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fanfare_sql::Database;
///
/// let pool = sqlx::PgPool::connect("postgres://localhost/shop").await?;
/// let database = Database::postgres(pool).schema("events")?;
/// database.migrate().await?;                       // or apply `database.migrations()` by hand
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Database {
    pub(crate) pool: Pool,
    pub(crate) names: Names,
    pub(crate) wake: Arc<Wake>,
}

/// Which SQL a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

/// The user's pool.
#[derive(Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

impl Database {
    /// Tables in a PostgreSQL database, version 14 or newer.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn postgres(pool: sqlx::PgPool) -> Self {
        Database::new(Pool::Postgres(pool))
    }

    /// Tables in a SQLite database; [`open_sqlite`](crate::open_sqlite) opens one as it should be, and
    /// [`begin_immediate`](crate::begin_immediate) begins transactions that will write.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn sqlite(pool: sqlx::SqlitePool) -> Self {
        Database::new(Pool::Sqlite(pool))
    }

    fn new(pool: Pool) -> Self {
        Database { pool, names: Names::default(), wake: Arc::default() }
    }

    /// The schema that the tables are in; by default the connection's own (`public`). It is made
    /// by [`migrate`](Self::migrate) if it does not exist.
    ///
    /// # Errors
    /// [`SqlError::BadName`]; [`SqlError::NoSchemas`] on SQLite.
    pub fn schema(self, schema: &str) -> Result<Self, SqlError> {
        if self.dialect() == Dialect::Sqlite {
            return Err(SqlError::NoSchemas);
        }
        Ok(Database { names: self.names.with_schema(schema)?, wake: Arc::default(), ..self })
    }

    /// What the names of all tables begin with; by default `fanfare_`.
    ///
    /// # Errors
    /// [`SqlError::BadName`].
    pub fn prefix(self, prefix: &str) -> Result<Self, SqlError> {
        Ok(Database { names: self.names.with_prefix(prefix)?, wake: Arc::default(), ..self })
    }

    /// Makes the tables that are missing. Safe to call by many processes at once, and again: each
    /// migration is applied once, all in one transaction.
    ///
    /// # Errors
    /// [`SqlError::Database`].
    pub async fn migrate(&self) -> Result<(), SqlError> {
        match &self.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                let lock = self.names.shared("migrate");
                sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
                    .bind(lock)
                    .execute(&mut *tx)
                    .await?;
                sqlx::raw_sql(AssertSqlSafe(self.start())).execute(&mut *tx).await?;
                let applied: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(self.names.sql(APPLIED)))
                    .fetch_all(&mut *tx)
                    .await?;
                let steps = self.steps(&applied);
                sqlx::raw_sql(AssertSqlSafe(steps)).execute(&mut *tx).await?;
                tx.commit().await?;
            }
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => {
                let mut tx = crate::begin_immediate(pool).await?;
                sqlx::raw_sql(AssertSqlSafe(self.start())).execute(&mut *tx).await?;
                let applied: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(self.names.sql(APPLIED)))
                    .fetch_all(&mut *tx)
                    .await?;
                let steps = self.steps(&applied);
                sqlx::raw_sql(AssertSqlSafe(steps)).execute(&mut *tx).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// The SQL that [`migrate`](Self::migrate) runs on an empty database, for those who apply
    /// migrations by other means.
    #[must_use]
    pub fn migrations(&self) -> String {
        format!("{}\n{}", self.start(), self.steps(&[]))
    }

    /// What has to be there before the first migration.
    fn start(&self) -> String {
        let start = match &self.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => schema::POSTGRES_START,
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => schema::SQLITE_START,
        };
        let schema =
            self.names.schema().map(|name| format!("create schema if not exists {name};\n"));
        schema.unwrap_or_default() + &self.names.sql(start)
    }

    /// The migrations that are not among `applied`.
    fn steps(&self, applied: &[i64]) -> String {
        let migrations = match &self.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => schema::POSTGRES,
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => schema::SQLITE,
        };
        let open = migrations.iter().filter(|migration| !applied.contains(&migration.version));
        open.map(|migration| migration.sql(&self.names)).collect()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Tells relays, in this process and in others, that something was recorded.
    pub(crate) fn wake(&self) {
        self.wake.wake(self);
    }

    /// What [`wake`](Self::wake) wakes.
    pub(crate) fn woken(&self) -> Woken {
        self.wake.woken()
    }
}

const APPLIED: &str = "select version from {migrations}";

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("dialect", &self.dialect())
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
