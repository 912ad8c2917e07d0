//! The inbox: which events have been handled, remembered in the handlers' own transactions.

mod purge;
mod statements;
mod tx;
mod unit;

use std::{fmt, sync::Arc, time::Duration};

use fanfare_core::{BoxFuture, ConnectionType, Inbox, InboxError, UnitOfWork};

use crate::{Database, EventLog, Outbox, database::Pool};
use statements::Statements;
use unit::Unit;
pub(crate) use {purge::purge, unit::messages};

/// How long a unit of work waits for another's row.
#[cfg(feature = "postgres")]
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Lets handlers that are registered with [`Router::on_tx`](fanfare_core::Router::on_tx) have
/// their effect once: they run in a transaction of this database, in which their event is
/// remembered. Their connection is sqlx's `PgConnection` or `SqliteConnection`. Cheap to clone.
///
/// ```no_run
/// # use fanfare_core::{Consumer, Delivery, Event, EventType, HandlerError, IntoEvents, Router};
/// # use fanfare_sql::{Database, Outbox, SqlInbox};
/// # use sqlx::PgConnection;
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced { product_id: String, quantity: i32 }
/// # #[derive(Event, serde::Serialize)]
/// # #[event(type = "shop.products.StockReduced.v1", topic = "products", key = product_id)]
/// # struct StockReduced { product_id: String }
/// async fn reduce_stock(
///     tx: &mut PgConnection,
///     order: Delivery<OrderPlaced>,
/// ) -> Result<impl IntoEvents, HandlerError> {
///     let OrderPlaced { product_id, quantity } = order.event;
///     sqlx::query("update stock set quantity = quantity - $1 where product_id = $2")
///         .bind(quantity)
///         .bind(&product_id)
///         .execute(tx)
///         .await?;
///     Ok(StockReduced { product_id })
/// }
///
/// # fn example(database: Database) -> Consumer {
/// let router: Router = Router::new("products").on_tx(reduce_stock);
/// let inbox = SqlInbox::new(&database).outbox(&Outbox::new(&database, "products"));
/// Consumer::from(router).inbox(inbox)
/// # }
/// ```
///
/// # What a handler may rely on
/// Its statements commit together with the row that remembers its event, and with the events that
/// it returns, or none of them is there. A second copy of the event, wherever it is handled, waits
/// until the first has ended, and then is a duplicate; or, if the first has failed, is handled.
/// On SQLite, which has one writer, units of work wait for each other altogether, for as long as
/// the connection's busy time-out says.
///
/// A handler must not end the transaction (`begin` on its connection makes a savepoint, which is
/// fine). One that goes on after a statement has failed has failed on PostgreSQL, where the
/// transaction is spoilt by it; to go on, `begin` first and roll that back.
///
/// # How long it remembers
/// Until [`purge`](Self::purge) is called, or [`purge_hourly`](Self::purge_hourly) runs: an event
/// must not be forgotten before its message can no longer come again.
#[derive(Clone)]
pub struct SqlInbox {
    database: Database,
    outbox: Option<Outbox>,
    log: Option<EventLog>,
    #[cfg(feature = "postgres")]
    begin: Arc<str>,
    statements: Arc<Statements>,
}

impl SqlInbox {
    /// How long events should be remembered: the 14 days that a queue keeps a message at most, and
    /// a day. Longer, where dead letters may wait longer before they are sent back.
    pub const RETENTION: Duration = Duration::from_secs(15 * 24 * 60 * 60);

    /// An inbox in `database`, which lets a unit of work wait 10 s for a lock.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        SqlInbox {
            database: database.clone(),
            outbox: None,
            log: None,
            #[cfg(feature = "postgres")]
            begin: begin(LOCK_TIMEOUT),
            statements: Arc::new(Statements::new(database.dialect(), &database.names)),
        }
    }

    /// Records the events that handlers return in `outbox`, which is in the same database, in
    /// their transaction: a [`Relay`](crate::Relay) publishes them, and the consumer needs no
    /// publisher for them. Events of one key are recorded as by
    /// [`Outbox::record_ordered`]. Without an outbox they are stored with
    /// the row that remembers their event, and the consumer publishes them after the commit.
    #[must_use]
    pub fn outbox(self, outbox: &Outbox) -> Self {
        SqlInbox { outbox: Some(outbox.clone()), ..self }
    }

    /// Keeps the events that were handled in the [`EventLog`] of the same database, byte for byte, in
    /// the transaction of their handlers, before those that follow from them: the history of a
    /// service then has what it was told beside what it told others. One more statement for each.
    #[must_use]
    pub fn logged(self) -> Self {
        SqlInbox { log: Some(EventLog::new(&self.database)), ..self }
    }

    /// How long a unit of work waits for a lock: for another copy of its events, and in its
    /// handlers' statements. After that its deliveries come again. Keep it below the visibility
    /// time-out of the queue (60 s by default). Rounded to milliseconds, at least 1. PostgreSQL
    /// only: on SQLite the connection's busy time-out is what counts.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn lock_timeout(self, timeout: Duration) -> Self {
        SqlInbox { begin: begin(timeout), ..self }
    }
}

/// Begins a transaction and bounds its waits, in one round trip.
#[cfg(feature = "postgres")]
fn begin(lock_timeout: Duration) -> Arc<str> {
    let milliseconds = lock_timeout.as_millis().clamp(1, i32::MAX.unsigned_abs().into());
    format!("begin; set local lock_timeout = {milliseconds}").into()
}

impl Inbox for SqlInbox {
    fn connection_type(&self) -> ConnectionType {
        match &self.database.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => ConnectionType::of::<sqlx::PgConnection>(),
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => ConnectionType::of::<sqlx::SqliteConnection>(),
        }
    }

    fn records_events(&self) -> bool {
        self.outbox.is_some()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn UnitOfWork>, InboxError>> {
        Box::pin(async {
            let (statements, outbox) = (Arc::clone(&self.statements), self.outbox.clone());
            let log = self.log.clone();
            let unit: Box<dyn UnitOfWork> = match &self.database.pool {
                #[cfg(feature = "postgres")]
                Pool::Postgres(pool) => {
                    let begin = sqlx::AssertSqlSafe(Arc::clone(&self.begin));
                    let tx = pool.begin_with(begin).await.map_err(crate::SqlError::from)?;
                    Box::new(Unit::new(tx, statements, outbox, log))
                }
                #[cfg(feature = "sqlite")]
                Pool::Sqlite(pool) => {
                    let tx = crate::begin_immediate(pool).await?;
                    Box::new(Unit::new(tx, statements, outbox, log))
                }
            };
            Ok(unit)
        })
    }
}

impl fmt::Debug for SqlInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlInbox")
            .field("database", &self.database)
            .field("records_events", &self.outbox.is_some())
            .finish_non_exhaustive()
    }
}
