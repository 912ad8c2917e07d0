//! Where services keep their state: a database each, of one of two kinds. The one place that knows
//! what kinds there are; services know a [`Store`] and traits of their own.

mod postgres;
#[cfg(feature = "cli")]
mod sqlite;

use fanfare::sql::{Database, SqlError, Transaction};
use sqlx::{Pool, pool::PoolConnection};

pub use postgres::Schemas;
#[cfg(feature = "cli")]
pub use sqlite::Folder;

use crate::{
    services::{delivery::Deliveries, orders::Orders, products::Stock, recommendation::Purchases},
    view::OrderViews,
};

/// A kind of database: sqlx's, with what the shop's services do on its connections.
pub trait Sql:
    sqlx::Database<Connection: Transaction + Orders + Stock + Deliveries + Purchases + OrderViews>
{
    /// Where the databases of this kind are.
    type Home: Send + Sync;

    /// Opens the database of `service`, made if it is missing, without tables.
    fn open(
        home: &Self::Home,
        service: &str,
    ) -> impl Future<Output = Result<Store<Self>, SqlError>> + Send;

    /// Begins a transaction that will write.
    fn begin(
        pool: &Pool<Self>,
    ) -> impl Future<Output = Result<sqlx::Transaction<'static, Self>, SqlError>> + Send;

    /// Runs statements without values, of which one process does at a time.
    fn script(
        pool: &Pool<Self>,
        statements: &str,
    ) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// The arguments that lead another process of the shop there.
    fn arguments(home: &Self::Home) -> [String; 2];

    /// Removes all databases at `home`, if they were made for one run.
    fn remove(home: Self::Home) -> impl Future<Output = Result<(), SqlError>> + Send;
}

/// The database of one service. Clones are the same database.
pub struct Store<D: Sql> {
    /// fanfare's tables in it.
    pub fanfare: Database,
    pool: Pool<D>,
}

impl<D: Sql> Store<D> {
    /// Makes the tables that are missing: fanfare's, and the service's own.
    pub async fn migrate(&self, tables: &str) -> Result<(), SqlError> {
        self.fanfare.migrate().await?;
        self.script(tables).await
    }

    /// Runs statements without values.
    pub async fn script(&self, statements: &str) -> Result<(), SqlError> {
        D::script(&self.pool, statements).await
    }

    /// Begins a transaction that will write. Keep it short: SQLite has one writer.
    pub async fn begin(&self) -> Result<sqlx::Transaction<'static, D>, SqlError> {
        D::begin(&self.pool).await
    }

    /// A connection to read with.
    pub async fn read(&self) -> Result<PoolConnection<D>, SqlError> {
        Ok(self.pool.acquire().await?)
    }
}

impl<D: Sql> Clone for Store<D> {
    fn clone(&self) -> Self {
        Store { fanfare: self.fanfare.clone(), pool: self.pool.clone() }
    }
}

/// Implements a service's trait on the connections of both kinds: their SQL is the same.
macro_rules! on_both {
    (impl $port:ident { $($methods:tt)* }) => {
        impl $port for sqlx::PgConnection { $($methods)* }
        #[cfg(feature = "cli")]
        impl $port for sqlx::SqliteConnection { $($methods)* }
    };
}
pub(crate) use on_both;
