//! Outbox, relay, inbox, leases, parked groups, event log, replay and projections, on PostgreSQL and SQLite.
//!
//! A service changes its state and records its events in one transaction of its own database; a
//! relay publishes them, whatever dies in between; its consumers' effects happen once.
//!
//! | to … | see |
//! |---|---|
//! | name the database and make the tables | [`Database`] |
//! | record events with the state that they tell of | [`Outbox`] |
//! | publish what was recorded | [`Relay`] |
//! | handle events in the same transaction as their effect | [`SqlInbox`] |
//! | handle events once whose effect is elsewhere, nearly | [`SqlIdempotencyStore`] |
//! | keep a key's order behind a dead letter | [`SqlParkedGroups`] |
//! | share the shards of a stream between workers | [`SqlLeaseStore`] |
//! | keep all events, read them again, build aggregates on them | [`EventLog`], [`Outbox::append`] |
//! | hand history to one consumer | [`Replay`] |
//! | keep a view up to date with the log, and make it anew | [`Projection`] |
//!
//! | feature | brings |
//! |---|---|
//! | `postgres`, `sqlite` | that database; both are on unless default features are off |
//! | `tokio-postgres` | recording within transactions of that crate |
//! | `wal`, `wal-tls` | `Relay::tail_log`: a relay that is told by PostgreSQL's log what was recorded, instead of looking; over TLS |
//!
//! Events, and what handlers were told, are kept until they are purged: run
//! [`SqlInbox::purge_hourly`] beside a consumer, and call [`SqlIdempotencyStore::purge`],
//! [`EventLog::purge`] and [`Outbox::purge_dead_letters`] as often as suits you.

mod change;
mod connection;
mod database;
mod error;
mod idempotency;
mod inbox;
mod leases;
mod log;
mod names;
mod outbox;
mod parked;
mod projection;
mod query;
mod relay;
mod replay;
mod schema;
mod shard;
mod statement;
mod wake;

#[cfg(feature = "sqlite")]
pub use connection::{begin_immediate, open_sqlite};
pub use database::Database;
pub use error::SqlError;
pub use idempotency::SqlIdempotencyStore;
pub use inbox::SqlInbox;
pub use leases::SqlLeaseStore;
pub use log::{AppendError, EventLog, Expected, Filter, LoggedEvent, Position};
pub use outbox::{Backlog, DeadEvent, HeldKey, Outbox, RecordError};
pub use parked::SqlParkedGroups;
pub use projection::{
    BuildProgress, Generation, Lag, OnFailure, Projection, ProjectionError, Until, View,
};
pub use relay::{Drained, OnRefusal, Relay};
pub use replay::{Replay, ReplayError, ReplayProgress, Replayed};
pub use shard::{SHARDS, shard_of};
pub use statement::Transaction;
