//! What a relay asks of a database: the same questions to PostgreSQL and to SQLite.

use fanfare_core::Message;

use super::{lease::Grant, snapshot::Snapshot};
use crate::{Database, SqlError, database::Pool, outbox};

#[cfg(feature = "postgres")]
use super::postgres::Postgres;
#[cfg(feature = "sqlite")]
use super::sqlite::Sqlite;

/// A recorded event that waits.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) shard: u16,
    pub(super) id: i64,
    pub(super) destination: String,
    pub(super) message: Message,
    /// The transaction that recorded it, where the log told of it.
    pub(super) transaction: Option<u64>,
}

/// Where a row stands, without its event.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) shard: u16,
    pub(super) id: i64,
    pub(super) destination: String,
    pub(super) transaction: Option<u64>,
}

impl Row {
    pub(super) fn split(self) -> (Head, Message) {
        let Row { shard, id, destination, message, transaction } = self;
        (Head { shard, id, destination, transaction }, message)
    }
}

/// Names one row.
pub(super) type RowId = (u16, i64);

/// What to look for.
#[derive(Debug)]
pub(super) struct Plan {
    /// Shards, and the id above which to look.
    pub(super) shards: Vec<(u16, i64)>,
    /// The most rows of each shard.
    pub(super) limit: i64,
    /// Keys to leave out.
    pub(super) without_keys: Vec<String>,
    /// Destinations to leave out.
    pub(super) without_destinations: Vec<String>,
}

/// What was found, by shard and id.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) rows: Vec<Row>,
    pub(super) snapshot: Snapshot,
}

/// A held key.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) shard: u16,
    pub(super) key: String,
    pub(super) released: bool,
}

/// Why a key is held.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) event_id: &'a str,
    pub(super) key: &'a str,
    pub(super) reason: &'a str,
    pub(super) failures: u32,
}

/// A connection of a relay's own, opened when it is first needed and again after it broke.
pub(super) enum Store {
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
}

macro_rules! ask {
    ($self:expr, $store:ident => $call:expr) => {
        match $self {
            #[cfg(feature = "postgres")]
            Store::Postgres($store) => $call,
            #[cfg(feature = "sqlite")]
            Store::Sqlite($store) => $call,
        }
    };
}

impl Store {
    /// For lanes.
    pub(super) fn new(database: &Database) -> Self {
        match &database.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => Store::Postgres(Postgres::new(pool, &database.names)),
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => Store::Sqlite(Sqlite::new(pool, &database.names)),
        }
    }

    /// Forgets the connection: after an error nobody knows what state it is in.
    pub(super) fn disconnect(&mut self) {
        ask!(self, store => store.disconnect());
    }

    /// The waiting rows that `plan` asks for.
    pub(super) async fn fetch(&mut self, plan: &Plan) -> Result<Fetched, SqlError> {
        ask!(self, store => store.fetch(plan).await)
    }

    /// Deletes what the broker has accepted, as far as it can be seen in the snapshot that is
    /// returned.
    pub(super) async fn settle(&mut self, rows: &[RowId]) -> Result<Snapshot, SqlError> {
        ask!(self, store => store.settle(rows).await)
    }

    /// The holds in these shards.
    pub(super) async fn holds(&mut self, shards: &[u16]) -> Result<Vec<Hold>, SqlError> {
        ask!(self, store => store.holds(shards).await)
    }

    /// Holds a key and moves all that waits for it out of the way; false if the shard is not ours any
    /// more.
    pub(super) async fn hold(
        &mut self,
        grant: &Grant,
        verdict: Verdict<'_>,
    ) -> Result<bool, SqlError> {
        ask!(self, store => store.hold(grant, verdict).await)
    }

    /// Moves rows of held keys out of the way.
    pub(super) async fn park(&mut self, rows: &[RowId]) -> Result<(), SqlError> {
        ask!(self, store => store.park(rows).await)
    }

    /// Puts back what was parked for a released key, and ends its hold; false as [`hold`](Self::hold).
    pub(super) async fn unpark(&mut self, grant: &Grant, key: &str) -> Result<bool, SqlError> {
        ask!(self, store => store.unpark(grant, key).await)
    }

    /// Gives an event up; false as [`hold`](Self::hold).
    pub(super) async fn bury(
        &mut self,
        grant: &Grant,
        id: i64,
        reason: &str,
    ) -> Result<bool, SqlError> {
        ask!(self, store => store.bury(grant, id, reason).await)
    }

    /// Waits until somebody else has written; for ever where somebody else says so.
    pub(super) async fn changed(&mut self) {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(_) => std::future::pending().await,
            #[cfg(feature = "sqlite")]
            Store::Sqlite(store) => store.changed().await,
        }
    }
}

/// A row from its columns.
pub(super) fn row(
    shard: i16,
    id: i64,
    names: (String, String, String),
    destination: String,
    attributes: &str,
    body: String,
) -> Result<Row, SqlError> {
    let message = outbox::message(names, &destination, attributes, body)?;
    Ok(Row { shard: shard.cast_unsigned(), id, destination, message, transaction: None })
}
