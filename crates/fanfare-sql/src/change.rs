//! Changing fanfare's own tables, on either kind of database by the same statements.

use crate::{
    Database, SqlError,
    database::{Dialect, Pool},
    names::Names,
    outbox,
    statement::{Statement, Value, run::Run},
};

/// How a database says what the statements leave open.
pub(crate) struct Words {
    /// For `AGE(column)`: seconds since that time, up to its bracket.
    age: (&'static str, &'static str),
}

impl Words {
    pub(crate) const fn of(dialect: Dialect) -> Self {
        let age = match dialect {
            Dialect::Postgres => ("cast(extract(epoch from clock_timestamp() - ", ") as float8)"),
            Dialect::Sqlite => ("(unixepoch('subsec') - ", " / 1000.0)"),
        };
        Words { age }
    }

    /// `template` in this database's words: it may say `AGE[expression]` and `COLUMNS`, those that
    /// an event keeps wherever it is moved to.
    pub(crate) fn say(&self, names: &Names, template: &str) -> std::sync::Arc<str> {
        let said = template.replace("AGE[", self.age.0).replace(']', self.age.1);
        names.sql(&said.replace("COLUMNS", outbox::COLUMNS))
    }
}

/// A transaction of fanfare's own; dropped, it is rolled back.
pub(crate) enum Change {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>, Names),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>, Names),
}

impl Change {
    pub(crate) async fn begin(database: &Database) -> Result<Self, SqlError> {
        let names = database.names.clone();
        Ok(match &database.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => Change::Postgres(pool.begin().await?, names),
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => Change::Sqlite(crate::begin_immediate(pool).await?, names),
        })
    }

    /// Runs a statement and gives the first column of its rows, all of them numbers.
    pub(crate) async fn run(
        &mut self,
        template: &str,
        values: Vec<Value>,
    ) -> Result<Vec<i64>, SqlError> {
        match self {
            #[cfg(feature = "postgres")]
            Change::Postgres(tx, names) => {
                tx.run(Statement { sql: Words::of(Dialect::Postgres).say(names, template), values })
                    .await
            }
            #[cfg(feature = "sqlite")]
            Change::Sqlite(tx, names) => {
                tx.run(Statement { sql: Words::of(Dialect::Sqlite).say(names, template), values })
                    .await
            }
        }
    }

    pub(crate) async fn commit(self) -> Result<(), SqlError> {
        match self {
            #[cfg(feature = "postgres")]
            Change::Postgres(tx, _) => tx.commit().await?,
            #[cfg(feature = "sqlite")]
            Change::Sqlite(tx, _) => tx.commit().await?,
        }
        Ok(())
    }
}
