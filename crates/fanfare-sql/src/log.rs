//! The history of all events.

mod append;
mod filter;
mod insert;
mod mark;
mod read;

use std::time::Duration;

use fanfare_core::{Attribute, Destination, Message, Opened, RawDelivery};
use jiff::Timestamp;

use crate::{Database, SqlError, Transaction, database::Dialect};
pub use append::{AppendError, Expected};
pub use filter::Filter;
pub(crate) use insert::{Entry, Gate, log_and_outbox, log_sqlite};
pub use read::{LoggedEvent, Position};

/// Events that one statement of a purge deletes.
const BATCH: i64 = 1_000;

/// The history of all events that were recorded, and if wanted of those that were consumed, in one
/// order. Cheap to clone.
///
/// A service that keeps one records through [`Outbox::logged`](crate::Outbox::logged).
///
/// ```no_run
/// # use fanfare_sql::{Database, EventLog, Filter, Outbox, Position};
/// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// let database = Database::postgres(pool);
/// let outbox = Outbox::new(&database, "orders").logged();      // record as ever
///
/// let log = EventLog::new(&database);
/// let placed = Filter::all().family("shop.orders.OrderPlaced.v1");
/// let mut after = Position::START;
/// loop {
///     let page = log.read(&placed, after, 1_000).await?;
///     let Some(last) = page.last() else { break };
///     after = last.position;
///     for event in page { /* … */ }
/// }
/// # Ok(()) }
/// ```
///
/// # Order
/// Positions are drawn when events are recorded and become visible when the transaction commits, so
/// that low ones may appear after high ones. Reading therefore ends at the
/// [high-water mark](Self::high_water): whoever reads on from the last position that he was given
/// sees every event once, in the order of positions. Of one key that is the order of commits, under
/// the same condition as in the [outbox](crate::Outbox#order).
///
/// What holds the mark back is a transaction that has recorded into this log and has not ended: keep
/// them short. Others do not, however long they write or read, nor do rollbacks. On PostgreSQL the
/// log is read from the primary, because only there the open transactions are known.
#[derive(Debug, Clone)]
pub struct EventLog {
    pub(crate) database: Database,
}

impl EventLog {
    /// The log in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        EventLog { database: database.clone() }
    }

    /// Up to `limit` events that fit `filter`, behind the position `after`, in the order of their
    /// positions. Fewer than `limit` are all that there are now.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn read(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Vec<LoggedEvent>, SqlError> {
        let mark = self.high_water().await?;
        self.read_until(filter, after, mark, limit).await
    }

    /// [`read`](Self::read), up to a position that is known to be no higher than the mark.
    pub(crate) async fn read_until(
        &self,
        filter: &Filter,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<LoggedEvent>, SqlError> {
        if after >= until || limit == 0 {
            return Ok(Vec::new());
        }
        read::page(&self.database, filter, after, until, limit).await
    }

    /// The history of `key` as it was [appended](crate::Outbox::append), from version `from_version`
    /// on; 1 is its first event. What [`purge`](Self::purge) has deleted is missing: keep a snapshot
    /// of the aggregate where you purge.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn stream(&self, key: &str, from_version: u64) -> Result<Vec<LoggedEvent>, SqlError> {
        read::stream(&self.database, key, from_version).await
    }

    /// The high-water mark: at this position and below it nothing can appear any more. A later answer
    /// may be lower; what an earlier one said still holds.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn high_water(&self) -> Result<Position, SqlError> {
        mark::settled(&self.database).await.map(Position::from_stored)
    }

    /// The highest position that was drawn; what has been committed so far is at it or below.
    pub(crate) async fn drawn(&self) -> Result<Position, SqlError> {
        mark::drawn(&self.database).await.map(Position::from_stored)
    }

    /// Now, by the database's clock.
    pub(crate) async fn now(&self) -> Result<Timestamp, SqlError> {
        read::now(&self.database).await
    }

    /// The position of the last event that was recorded by `time`, [`Position::START`] if there is
    /// none. Where the database's clock was set back, events of that moment may fall on either side.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn position_at(&self, time: Timestamp) -> Result<Position, SqlError> {
        read::position_at(&self.database, time).await
    }

    /// How many events that fit `filter` there are from behind `after` up to `until`.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn count(
        &self,
        filter: &Filter,
        after: Position,
        until: Position,
    ) -> Result<u64, SqlError> {
        read::count(&self.database, filter, after, until).await
    }

    /// Keeps an event that `consumer` received, byte for byte; gives whether it was new. One that is
    /// there already, by source and id, is left as it is. For hosts of one's own:
    /// [`SqlInbox::logged`](crate::SqlInbox::logged) does it for handlers, in their transactions.
    ///
    /// Its destination is the queue of `consumer`; its key is the envelope's, else the delivery's
    /// group, else its id. Binary message attributes are not kept.
    ///
    /// # Errors
    /// [`SqlError::Unloggable`] if it is no CloudEvents event; as [`Outbox::record`] otherwise.
    ///
    /// [`Outbox::record`]: crate::Outbox::record
    pub async fn keep<T: Transaction>(
        &self,
        tx: &mut T,
        consumer: &str,
        delivery: &RawDelivery,
    ) -> Result<bool, SqlError> {
        let opened = Opened::open(&delivery.body)?;
        let envelope = opened.envelope();
        let group = delivery.metadata.group.as_ref();
        let key = envelope.key.as_ref().or(group).unwrap_or(&envelope.id);
        let text = |(name, value): (&String, &Attribute)| {
            value.as_str().map(|value| (name.clone(), value.to_owned()))
        };
        let message = Message::new(
            Destination::Queue(consumer.into()),
            &envelope.id,
            &envelope.tag,
            key,
            delivery.attributes.iter().filter_map(text).collect(),
            &delivery.body,
        );
        let entries = [Entry::new(&message, envelope)];
        let statement = match T::DIALECT {
            Dialect::Postgres => insert::log_postgres(&self.database.names, &entries),
            Dialect::Sqlite => log_sqlite(&self.database.names, &entries, None),
        };
        Ok(!tx.run(statement).await?.is_empty())
    }

    /// Deletes events that were recorded longer ago than `age`, in batches of 1,000, each a
    /// transaction of its own; gives how many. The versions of their keys are remembered, so that
    /// [`append`](crate::Outbox::append) goes on counting.
    ///
    /// A projection or replay that has not got that far misses them.
    ///
    /// # Errors
    /// [`SqlError`]; what was deleted by then stays deleted.
    pub async fn purge(&self, age: Duration) -> Result<u64, SqlError> {
        let age = jiff::SignedDuration::try_from(age).unwrap_or(jiff::SignedDuration::MAX);
        let before = read::now(&self.database).await?.checked_sub(age).unwrap_or(Timestamp::MIN);
        // Behind the mark an event may be older than the one that is found.
        let mark = self.high_water().await?;
        let until = self.position_at(before).await?.min(mark);
        let mut deleted = 0;
        loop {
            let batch = read::delete(&self.database, until, BATCH).await?;
            deleted += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}

/// Messages with what the log says of them beside.
pub(crate) fn entries(messages: &[Message]) -> Result<Vec<Entry<'_>>, SqlError> {
    Ok(messages.iter().map(Entry::of).collect::<Result<_, _>>()?)
}
