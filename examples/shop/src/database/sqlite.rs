//! SQLite: a file for each service, in one folder. Nothing has to be set up.

use std::path::{Path, PathBuf};

use fanfare::sql::{Database, SqlError, begin_immediate, open_sqlite};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool, Transaction};
use tempfile::TempDir;

use super::{Sql, Store};

/// A folder of SQLite files.
pub struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Folder {
    /// A folder that stays, made if it is missing.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Folder { path: path.into(), temporary: None })
    }

    /// A fresh one in the system's temporary folder; it goes when it is [removed](Sql::remove).
    pub fn fresh() -> std::io::Result<Self> {
        let mut folder = tempfile::Builder::new().prefix("fanfare-shop-").tempdir()?;
        // What went wrong can be looked into.
        folder.disable_cleanup(true);
        Ok(Folder { path: folder.path().into(), temporary: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Sql for Sqlite {
    type Home = Folder;

    async fn open(home: &Folder, service: &str) -> Result<Store<Self>, SqlError> {
        let pool = open_sqlite(home.path.join(format!("{service}.sqlite"))).await?;
        Ok(Store { fanfare: Database::sqlite(pool.clone()), pool })
    }

    async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Self>, SqlError> {
        begin_immediate(pool).await
    }

    async fn script(pool: &SqlitePool, statements: &str) -> Result<(), SqlError> {
        let mut tx = begin_immediate(pool).await?;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    fn arguments(home: &Folder) -> [String; 2] {
        ["--data".into(), home.path.display().to_string()]
    }

    async fn remove(home: Folder) -> Result<(), SqlError> {
        match home.temporary {
            Some(mut folder) => {
                folder.disable_cleanup(false);
                folder.close().map_err(|error| sqlx::Error::from(error).into())
            }
            None => Ok(()),
        }
    }
}
