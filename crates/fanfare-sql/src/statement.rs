//! The users' transactions, whichever driver they come from, and what fanfare runs in them.

use std::sync::Arc;

use crate::{SqlError, database::Dialect};

/// A transaction that events can be recorded in: sqlx's
/// [`Transaction`](sqlx::Transaction) and plain connections within one, of PostgreSQL and SQLite,
/// and with the feature `tokio-postgres` its `Transaction`.
#[diagnostic::on_unimplemented(
    message = "events cannot be recorded in `{Self}`",
    label = "not a transaction",
    note = "pass `&mut tx` of an sqlx::Transaction<'_, Postgres> or <'_, Sqlite>, a PgConnection or a SqliteConnection; `tokio_postgres::Transaction` needs the feature `tokio-postgres`"
)]
pub trait Transaction: run::Run {}

impl<T: run::Run> Transaction for T {}

/// A statement with its values; prepared and cached by the driver.
#[derive(Debug)]
pub struct Statement {
    pub(crate) sql: Arc<str>,
    pub(crate) values: Vec<Value>,
}

/// A value of a statement.
#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Texts(Vec<String>),
    OptionalTexts(Vec<Option<String>>),
    SmallInts(Vec<i16>),
    Int4s(Vec<i32>),
}

/// `query` with `values` bound to it, lists as `list` makes them.
macro_rules! bind_values {
    ($query:expr, $values:expr, |$list:ident| $as_bound:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $crate::statement::Value::Text(value) => query.bind(value),
                $crate::statement::Value::Int(value) => query.bind(value),
                $crate::statement::Value::Texts($list) => query.bind($as_bound),
                $crate::statement::Value::OptionalTexts($list) => query.bind($as_bound),
                $crate::statement::Value::SmallInts($list) => query.bind($as_bound),
                $crate::statement::Value::Int4s($list) => query.bind($as_bound),
            };
        }
        query
    }};
}
pub(crate) use bind_values;

/// A list as SQLite's JSON functions read it.
#[cfg(feature = "sqlite")]
pub(crate) fn json(values: &impl serde::Serialize) -> String {
    // Lists of strings and numbers: nothing in them can fail.
    serde_json::to_string(values).unwrap_or_default()
}

pub(crate) mod run {
    use super::{Dialect, SqlError, Statement};

    /// What fanfare needs of a transaction; closed to other crates.
    pub trait Run: Send {
        /// Which SQL it speaks.
        #[doc(hidden)]
        const DIALECT: Dialect;

        /// Runs a statement and gives the first column of its rows, all of them numbers.
        #[doc(hidden)]
        fn run(
            &mut self,
            statement: Statement,
        ) -> impl Future<Output = Result<Vec<i64>, SqlError>> + Send;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{AssertSqlSafe, PgConnection, Postgres};

    use super::{Dialect, SqlError, Statement, run::Run};

    impl Run for PgConnection {
        const DIALECT: Dialect = Dialect::Postgres;

        async fn run(&mut self, statement: Statement) -> Result<Vec<i64>, SqlError> {
            let query = sqlx::query_scalar::<Postgres, i64>(AssertSqlSafe(statement.sql));
            let query = bind_values!(query, statement.values, |list| list);
            Ok(query.fetch_all(self).await?)
        }
    }

    impl Run for sqlx::Transaction<'_, Postgres> {
        const DIALECT: Dialect = Dialect::Postgres;

        async fn run(&mut self, statement: Statement) -> Result<Vec<i64>, SqlError> {
            Run::run(&mut **self, statement).await
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

    use super::{Dialect, SqlError, Statement, json, run::Run};

    impl Run for SqliteConnection {
        const DIALECT: Dialect = Dialect::Sqlite;

        async fn run(&mut self, statement: Statement) -> Result<Vec<i64>, SqlError> {
            let query = sqlx::query_scalar::<Sqlite, i64>(AssertSqlSafe(statement.sql));
            // SQLite has no arrays: a list is JSON, which its functions read.
            let query = bind_values!(query, statement.values, |list| json(&list));
            Ok(query.fetch_all(self).await?)
        }
    }

    impl Run for sqlx::Transaction<'_, Sqlite> {
        const DIALECT: Dialect = Dialect::Sqlite;

        async fn run(&mut self, statement: Statement) -> Result<Vec<i64>, SqlError> {
            Run::run(&mut **self, statement).await
        }
    }
}

#[cfg(feature = "tokio-postgres")]
mod tokio_postgres {
    use tokio_postgres::types::ToSql;

    use super::{Dialect, SqlError, Statement, Value, run::Run};

    impl Run for tokio_postgres::Transaction<'_> {
        const DIALECT: Dialect = Dialect::Postgres;

        async fn run(&mut self, statement: Statement) -> Result<Vec<i64>, SqlError> {
            let values: Vec<&(dyn ToSql + Sync)> = statement.values.iter().map(value).collect();
            let rows = self.query(&*statement.sql, &values).await?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        }
    }

    fn value(value: &Value) -> &(dyn ToSql + Sync) {
        match value {
            Value::Text(value) => value,
            Value::Int(value) => value,
            Value::Texts(values) => values,
            Value::OptionalTexts(values) => values,
            Value::SmallInts(values) => values,
            Value::Int4s(values) => values,
        }
    }
}
