//! Recording events in the transaction that makes them true.

mod insert;
mod stored;
mod tend;

use std::sync::Arc;

use fanfare_core::{EncodeError, Event, IntoEvents, Message, seal, seal_event};

use crate::{
    Database, SqlError, Transaction,
    database::Dialect,
    log::{Gate, entries, log_and_outbox, log_sqlite},
};
pub(crate) use insert::Order;
pub(crate) use stored::{COLUMNS, attributes_text, destination_text, message};
pub use tend::{Backlog, DeadEvent, HeldKey};

/// Records a service's events in its own transactions; a [`Relay`](crate::Relay) publishes them.
///
/// Either both the state and its events are there, or neither is. Cheap to clone.
///
/// ```no_run
/// # use fanfare_core::Event;
/// # use fanfare_sql::{Database, Outbox};
/// # #[derive(Event, serde::Serialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
/// # struct OrderPlaced { order_id: String }
/// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = Outbox::new(&Database::postgres(pool.clone()), "orders");
///
/// let mut tx = pool.begin().await?;
/// sqlx::query("insert into orders (id) values ($1)").bind("o-1").execute(&mut *tx).await?;
/// outbox.record(&mut tx, &OrderPlaced { order_id: "o-1".into() }).await?;
/// tx.commit().await?;
/// outbox.wake();                     // else the relay finds it at its next poll
/// # Ok(()) }
/// ```
///
/// On SQLite begin the transaction with [`begin_immediate`](crate::begin_immediate): one that begins
/// as a reader, as `pool.begin()` does, fails with `database is locked` as soon as another writes.
///
/// # Order
/// Events are published in the order in which their rows got their ids. Within a transaction that
/// is the order of recording. Between transactions that touch one key it is the order of commits if
/// the transactions wait for each other: because each changes or locks the key's own row before it
/// records, or because [`record_ordered`](Self::record_ordered) makes them.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub(crate) database: Database,
    pub(crate) source: Arc<str>,
    pub(crate) logged: bool,
}

/// An event was not recorded; the transaction should be rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It could not be written as JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The database refused it.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl RecordError {
    /// Whether the same transaction may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, RecordError::Sql(error) if error.is_retryable())
    }
}

impl Outbox {
    /// The outbox of `service`, whose name becomes the events' `source`.
    #[must_use]
    pub fn new(database: &Database, service: impl Into<Arc<str>>) -> Self {
        Outbox { database: database.clone(), source: service.into(), logged: false }
    }

    /// Keeps what is recorded in the [`EventLog`](crate::EventLog) too, for good: in the same
    /// transaction, on PostgreSQL in the same statement.
    #[must_use]
    pub fn logged(self) -> Self {
        Outbox { logged: true, ..self }
    }

    /// Records one event for its topic and gives its id.
    ///
    /// # Errors
    /// [`RecordError`]; on PostgreSQL the transaction is spoilt by it and can only be rolled back.
    pub async fn record<E: Event>(
        &self,
        tx: &mut impl Transaction,
        event: &E,
    ) -> Result<String, RecordError> {
        let message = seal_event(&self.source, event)?;
        self.insert(tx, std::slice::from_ref(&message), Order::AsIs).await?;
        Ok(message.id)
    }

    /// Records many events, and tasks, in one statement; gives their ids in order.
    ///
    /// # Errors
    /// As [`record`](Self::record); then none is recorded.
    pub async fn record_all(
        &self,
        tx: &mut impl Transaction,
        events: impl IntoEvents,
    ) -> Result<Vec<String>, RecordError> {
        let messages = seal(&self.source, events)?;
        self.insert(tx, &messages, Order::AsIs).await?;
        Ok(messages.into_iter().map(|message| message.id).collect())
    }

    /// [`record_all`](Self::record_all), and makes transactions that record events of one key wait
    /// for each other until they end, so that the key's events are published in the order of their
    /// commits. On PostgreSQL by an advisory lock for each key, all taken in one order; on SQLite
    /// writers wait for each other anyway.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub async fn record_ordered(
        &self,
        tx: &mut impl Transaction,
        events: impl IntoEvents,
    ) -> Result<Vec<String>, RecordError> {
        let messages = seal(&self.source, events)?;
        self.insert(tx, &messages, Order::Locked).await?;
        Ok(messages.into_iter().map(|message| message.id).collect())
    }

    /// Tells the relays that a transaction which recorded something has committed: those in this
    /// process at once, those in others by a `NOTIFY` on a connection of its own (PostgreSQL). A
    /// relay that is not told asks twice a second.
    pub fn wake(&self) {
        self.database.wake();
    }

    /// Records messages that are sealed already.
    pub(crate) async fn insert<T: Transaction>(
        &self,
        tx: &mut T,
        messages: &[Message],
        order: Order,
    ) -> Result<(), SqlError> {
        if messages.is_empty() {
            return Ok(());
        }
        if !self.logged {
            return self.insert_unlogged(tx, messages, order).await;
        }
        let (names, entries) = (&self.database.names, entries(messages)?);
        if T::DIALECT == Dialect::Sqlite {
            tx.run(log_sqlite(names, &entries, None)).await?;
            return self.insert_unlogged(tx, messages, order).await;
        }
        let gate = if order == Order::Locked { Gate::Keys } else { Gate::Open };
        tx.run(log_and_outbox(names, &entries, gate)).await?;
        Ok(())
    }

    /// Records messages in the outbox alone.
    pub(crate) async fn insert_unlogged<T: Transaction>(
        &self,
        tx: &mut T,
        messages: &[Message],
        order: Order,
    ) -> Result<(), SqlError> {
        tx.run(insert::statement(T::DIALECT, &self.database.names, messages, order)).await?;
        Ok(())
    }
}
