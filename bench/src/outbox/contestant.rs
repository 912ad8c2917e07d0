//! What every outbox has to be able to do here, and the event that all of them carry.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::outbox::ledger::Ledger;

/// Size of an event's data as JSON, in bytes.
pub(crate) const PAYLOAD: usize = 512;

/// Keys that events are spread over, where an outbox knows keys.
pub(crate) const KEYS: u64 = 10_000;

/// Connections that producers share: as many as there are producers.
pub(crate) const CONNECTIONS: u32 = crate::outbox::load::PRODUCERS as u32;

/// The row that every transaction writes, with or without events.
pub(crate) const ORDERS: &str = "create table orders (\
    id bigint primary key generated always as identity, customer text not null, \
    cents bigint not null, placed_at timestamptz not null default now())";

/// The statement that writes it.
pub(crate) const PLACE_ORDER: &str = "insert into orders (customer, cents) values ($1, $2)";

/// An outbox in a database of its own.
pub(crate) trait Contestant: Send + Sync {
    /// One transaction: an order, and these events with it.
    fn transaction(&self, events: Range<u64>) -> BoxFuture<'_, Result<()>>;

    /// Publishes to `ledger` until `stop`.
    fn relay(&self, ledger: Arc<Ledger>, stop: CancellationToken)
    -> BoxFuture<'static, Result<()>>;
}

/// A contestant that can be set up, again and again.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// How it is set up, for the reader of the table.
    pub(crate) notes: &'static str,
    /// In an empty database, at this URL.
    pub(crate) set_up: SetUp,
}

pub(crate) type SetUp = fn(String) -> BoxFuture<'static, Result<Arc<dyn Contestant>>>;

/// The event with this number.
pub(crate) fn placed(event: u64) -> Placed {
    Placed::new(event, format!("order-{:04}", event % KEYS), PAYLOAD)
}
