//! Connections as they should be.

#[cfg(feature = "sqlite")]
use std::{
    path::Path,
    time::{Duration, Instant},
};

#[cfg(feature = "sqlite")]
use sqlx::{
    Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

#[cfg(feature = "sqlite")]
use crate::SqlError;

/// How long a connection waits for another's write to end.
#[cfg(feature = "sqlite")]
const BUSY: Duration = Duration::from_secs(10);

/// Between tries to open a file that others are making.
#[cfg(feature = "sqlite")]
const PAUSE: Duration = Duration::from_millis(10);

/// Opens a SQLite file, made if it is missing, for use by several connections and processes: with
/// a write-ahead log that is flushed at each commit, and a wait of up to 10 s for another's write.
///
/// # Errors
/// [`SqlError::Database`] if it cannot be opened.
#[cfg(feature = "sqlite")]
pub async fn open_sqlite(path: impl AsRef<Path>) -> Result<SqlitePool, SqlError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    let begun = Instant::now();
    loop {
        match SqlitePool::connect_with(options.clone()).await.map_err(SqlError::from) {
            // Giving a new file its log does not wait for others who are about to do the same.
            Err(error) if error.is_retryable() && begun.elapsed() < BUSY => {
                tokio::time::sleep(PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Begins a transaction that will write. SQLite has one writer: a transaction that begins as a
/// reader and then finds another writing fails at once, whatever its time-out; this one waits.
///
/// # Errors
/// [`SqlError::Database`], retryable if another wrote for 10 s.
#[cfg(feature = "sqlite")]
pub async fn begin_immediate(
    pool: &SqlitePool,
) -> Result<sqlx::Transaction<'static, Sqlite>, SqlError> {
    Ok(pool.begin_with("BEGIN IMMEDIATE").await?)
}
