//! What can go wrong with a database.

use fanfare_core::{BoxError, DecodeError, InboxError, LeaseError};

/// A database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The database refused a statement, or could not be reached.
    #[error("the database failed: {source}")]
    Database {
        /// What its driver said.
        source: BoxError,
        /// Whether the same may succeed later.
        retryable: bool,
    },
    /// A schema or prefix is no plain SQL name.
    #[error(
        "`{name}` is no name for tables: lower-case letters, digits and `_`, beginning with a letter or `_`, at most 40"
    )]
    BadName {
        /// The name as it was given.
        name: String,
    },
    /// SQLite has no schemas.
    #[error("SQLite has no schemas: tell its tables apart by a prefix")]
    NoSchemas,
    /// SQLite has no log that can be followed.
    #[cfg(feature = "wal")]
    #[error("SQLite has no log to follow: run the relay without Relay::tail_log")]
    NoLog,
    /// The tables are missing or of another version.
    #[error(
        "the tables of fanfare are missing: call Database::migrate, or apply Database::migrations by hand"
    )]
    NotMigrated,
    /// A message that is to be logged is no CloudEvents event.
    #[error("an event cannot be logged: {0}")]
    Unloggable(#[from] DecodeError),
    /// A row holds what fanfare did not write.
    #[error("table {table} holds a row that fanfare did not write: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with it, without the value.
        problem: String,
    },
}

impl SqlError {
    /// Whether the same may succeed later: the connection broke, a lock or deadlock was in the way,
    /// the server was shutting down.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, SqlError::Database { retryable: true, .. })
    }
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).map(|c| c.into_owned());
        match code.as_deref() {
            // undefined_table, and SQLite's generic code with its text.
            Some("42P01") => SqlError::NotMigrated,
            Some("1") if error.to_string().contains("no such table") => SqlError::NotMigrated,
            code => {
                let retryable = code.map_or_else(|| is_transport(&error), is_transient);
                SqlError::Database { source: error.into(), retryable }
            }
        }
    }
}

/// Not the database's answer, but none or a broken one.
fn is_transport(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Tls(_)
    )
}

/// Connection failures (08), transaction rollbacks (40), lacking resources (53), an operator's
/// intervention (57), locks (55P03); SQLite's busy (5) and locked (6) with their extensions.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn is_transient(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
            || code == "55P03";
    }
    code.parse::<i32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

#[cfg(feature = "tokio-postgres")]
impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("42P01") => SqlError::NotMigrated,
            code => {
                let retryable = code.map_or_else(|| error.is_closed(), is_transient);
                SqlError::Database { source: error.into(), retryable }
            }
        }
    }
}

impl From<SqlError> for InboxError {
    fn from(error: SqlError) -> Self {
        if error.is_retryable() {
            InboxError::retryable(error)
        } else {
            InboxError::permanent(error)
        }
    }
}

impl From<SqlError> for LeaseError {
    fn from(error: SqlError) -> Self {
        if error.is_retryable() {
            LeaseError::retryable(error)
        } else {
            LeaseError::permanent(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_transient;

    #[test]
    fn what_passes_by_itself_is_worth_another_try() {
        for code in ["08006", "40001", "40P01", "53300", "57P01", "55P03", "5", "517", "6"] {
            assert!(is_transient(code), "{code}");
        }
        for code in ["23505", "42601", "22P02", "1", "19", "2067"] {
            assert!(!is_transient(code), "{code}");
        }
    }
}
