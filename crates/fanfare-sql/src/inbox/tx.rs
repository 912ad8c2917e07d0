//! The two kinds of transaction, alike.

use std::ops::DerefMut;

use sqlx::AssertSqlSafe;

use crate::{
    SqlError,
    query::{FromPostgres, FromSqlite},
    statement::{Statement, bind_values, run::Run},
};

/// A transaction that a unit of work is.
pub(super) trait Tx:
    Run + DerefMut<Target: Sized + Send + 'static> + Sized + 'static
{
    /// Runs a statement that is run seldom: planned anew each time, as its table is by then.
    fn fetch<R>(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<Vec<R>, SqlError>> + Send
    where
        R: FromPostgres + FromSqlite + Send + Unpin;

    /// Runs a statement that is prepared once, and gives its rows.
    fn fetch_prepared<R>(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<Vec<R>, SqlError>> + Send
    where
        R: FromPostgres + FromSqlite + Send + Unpin;

    /// Runs statements without values, in one round trip.
    fn script(&mut self, sql: &'static str) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Commits, or says that it could not.
    fn end(self) -> impl Future<Output = Result<(), SqlError>> + Send;
}

macro_rules! common {
    (|$list:ident| $as_bound:expr) => {
        async fn fetch<R>(&mut self, statement: Statement) -> Result<Vec<R>, SqlError>
        where
            R: FromPostgres + FromSqlite + Send + Unpin,
        {
            let query = sqlx::query_as(AssertSqlSafe(statement.sql)).persistent(false);
            let query = bind_values!(query, statement.values, |$list| $as_bound);
            Ok(query.fetch_all(&mut **self).await?)
        }

        async fn fetch_prepared<R>(&mut self, statement: Statement) -> Result<Vec<R>, SqlError>
        where
            R: FromPostgres + FromSqlite + Send + Unpin,
        {
            let query = sqlx::query_as(AssertSqlSafe(statement.sql));
            let query = bind_values!(query, statement.values, |$list| $as_bound);
            Ok(query.fetch_all(&mut **self).await?)
        }

        async fn script(&mut self, sql: &'static str) -> Result<(), SqlError> {
            sqlx::raw_sql(sql).execute(&mut **self).await?;
            Ok(())
        }
    };
}

#[cfg(feature = "postgres")]
impl Tx for sqlx::Transaction<'static, sqlx::Postgres> {
    common!(|list| list);

    /// A plain `commit` of a transaction in which a statement has failed rolls back and is no
    /// error: whoever passed over the failure would lose what was acknowledged. The `select` fails
    /// there. `and chain`, because sqlx holds the transaction for open: its own rollback, sent as
    /// the connection goes back to the pool, ends the empty one that follows.
    async fn end(mut self) -> Result<(), SqlError> {
        self.script("select; commit and chain").await
    }
}

#[cfg(feature = "sqlite")]
impl Tx for sqlx::Transaction<'static, sqlx::Sqlite> {
    common!(|list| crate::statement::json(&list));

    async fn end(self) -> Result<(), SqlError> {
        Ok(self.commit().await?)
    }
}
