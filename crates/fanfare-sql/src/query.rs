//! Statements of fanfare's own, on the database's pool.

use crate::{
    Database, SqlError,
    database::Pool,
    statement::{Statement, bind_values},
};

/// A tuple of columns, from whichever database.
#[cfg(feature = "postgres")]
pub(crate) trait FromPostgres: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> {}
#[cfg(feature = "postgres")]
impl<T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>> FromPostgres for T {}
#[cfg(not(feature = "postgres"))]
pub(crate) trait FromPostgres {}
#[cfg(not(feature = "postgres"))]
impl<T> FromPostgres for T {}

/// A tuple of columns, from whichever database.
#[cfg(feature = "sqlite")]
pub(crate) trait FromSqlite: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> {}
#[cfg(feature = "sqlite")]
impl<T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>> FromSqlite for T {}
#[cfg(not(feature = "sqlite"))]
pub(crate) trait FromSqlite {}
#[cfg(not(feature = "sqlite"))]
impl<T> FromSqlite for T {}

impl Database {
    /// Runs a statement outside of any transaction and gives its rows.
    pub(crate) async fn fetch<R>(&self, statement: Statement) -> Result<Vec<R>, SqlError>
    where
        R: FromPostgres + FromSqlite + Send + Unpin,
    {
        match &self.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                let query = sqlx::query_as(sqlx::AssertSqlSafe(statement.sql));
                let query = bind_values!(query, statement.values, |list| list);
                Ok(query.fetch_all(pool).await?)
            }
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => {
                let query = sqlx::query_as(sqlx::AssertSqlSafe(statement.sql));
                let query = bind_values!(query, statement.values, |list| json(&list));
                Ok(query.fetch_all(pool).await?)
            }
        }
    }
}

#[cfg(feature = "sqlite")]
use crate::statement::json;
