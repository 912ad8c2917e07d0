//! SQLite databases for tests: a file each, in a folder that goes with the test.

use std::io;
use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use tempfile::TempDir;

/// Readers beside the one writer that SQLite has.
const CONNECTIONS: u32 = 4;

/// A database file of one test, removed with this value.
#[derive(Debug)]
pub struct TestDatabase {
    folder: TempDir,
}

impl TestDatabase {
    /// Makes a folder for the file, which the first connection creates.
    ///
    /// # Errors
    /// The folder cannot be made in the system's temporary folder.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fanfare-test-").tempdir()?;
        Ok(Self { folder })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("test.sqlite")
    }

    /// The folder that the file is in, for more files of the same test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where clients connect: `sqlite:` and the path. The file is created if it is not there.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqlite:{}?mode=rwc", self.path().display())
    }

    /// For connections and pools of the caller's own making: a write-ahead log, and otherwise what
    /// sqlx does by default.
    #[must_use]
    pub fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
    }

    /// A new pool of at most 4 connections, opened as they are needed.
    #[must_use]
    pub fn pool(&self) -> SqlitePool {
        SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(self.options())
    }
}
