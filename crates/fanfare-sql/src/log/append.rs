//! Appending with an expected version.

use fanfare_core::{EncodeError, IntoEvents, Message, seal};

use super::{
    entries,
    insert::{Gate, log_and_outbox, log_sqlite, sqlite_stream, version},
};
use crate::{Outbox, SqlError, Transaction, database::Dialect, outbox::Order};

/// The version that a key's stream must be at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The key has no events yet.
    New,
    /// The key's last event has this version; 0 is [`New`](Self::New).
    Version(u64),
    /// Whatever it is.
    Any,
}

/// Events were not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream is at another version: somebody appended in between. Nothing was written, and the
    /// transaction is as it was: load the events that are new, decide again, append again.
    #[error("`{key}` is at version {actual}, not at {expected}: load it again and decide anew")]
    Conflict {
        /// The key.
        key: String,
        /// The version that was expected, 0 for a new stream.
        expected: u64,
        /// The version that it is at, 0 if there is none.
        actual: u64,
    },
    /// An event belongs to another key.
    #[error("{tag} has the key `{actual}` and cannot be appended to `{key}`")]
    OtherKey {
        /// The event's type tag.
        tag: String,
        /// The stream's key.
        key: String,
        /// The event's key.
        actual: String,
    },
    /// The outbox keeps no log.
    #[error("versions are kept in the event log: make the outbox with Outbox::logged")]
    NotLogged,
    /// An event could not be written as JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The database refused it.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl AppendError {
    /// Whether the same append may succeed later in another transaction. A
    /// [`Conflict`](Self::Conflict) does not: it has to be decided anew.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, AppendError::Sql(error) if error.is_retryable())
    }
}

impl Outbox {
    /// Records events of one key, each with the next version of its stream, provided that the stream
    /// is where it is `expected`; gives the new version. What [`EventLog::stream`] loads, decided
    /// upon and appended, is an event-sourced aggregate.
    ///
    /// Of two transactions that append to one key the second waits for the first to end, and then has
    /// its conflict; different keys do not wait for each other. The order of a key's versions is that
    /// of its positions, of its commits and of publishing; record for such a key by this call alone.
    /// Without any events the version is checked and held until the transaction ends.
    ///
    /// ```no_run
    /// # use fanfare_core::Event;
    /// # use fanfare_sql::*;
    /// # #[derive(Event, serde::Serialize)]
    /// # #[event(type = "shop.orders.OrderPaid.v1", topic = "orders", key = order_id)]
    /// # struct OrderPaid { order_id: String }
    /// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let database = Database::postgres(pool.clone());
    /// let outbox = Outbox::new(&database, "orders").logged();
    /// let history = EventLog::new(&database).stream("o-1", 1).await?;
    /// let version = history.last().and_then(|event| event.version).unwrap_or(0);
    /// // … rebuild the aggregate from its history, and decide …
    /// let mut tx = pool.begin().await?;
    /// let paid = OrderPaid { order_id: "o-1".into() };
    /// match outbox.append(&mut tx, "o-1", Expected::Version(version), paid).await {
    ///     Ok(_) => tx.commit().await?,
    ///     Err(AppendError::Conflict { .. }) => { /* load what is new, and decide again */ }
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`AppendError`].
    ///
    /// [`EventLog::stream`]: crate::EventLog::stream
    pub async fn append<T: Transaction>(
        &self,
        tx: &mut T,
        key: &str,
        expected: Expected,
        events: impl IntoEvents,
    ) -> Result<u64, AppendError> {
        if !self.logged {
            return Err(AppendError::NotLogged);
        }
        let messages = seal(&self.source, events)?;
        if let Some(other) = messages.iter().find(|message| message.key != key) {
            let (tag, actual) = (other.tag.clone(), other.key.clone());
            return Err(AppendError::OtherKey { tag, key: key.into(), actual });
        }
        let expected = match expected {
            Expected::New => Some(0),
            Expected::Version(version) => Some(i64::try_from(version).unwrap_or(i64::MAX)),
            Expected::Any => None,
        };
        // Twice: a version that was not there yet may be when the transaction that makes it has been
        // waited for; from then on the stream is ours.
        let mut actual = 0;
        for _ in 0..2 {
            if !messages.is_empty()
                && let Some(base) = self.append_sealed(tx, key, expected, &messages).await?
            {
                return Ok(base.unsigned_abs() + messages.len() as u64);
            }
            let found = tx.run(version(T::DIALECT, &self.database.names, key)).await?;
            actual = found.first().copied().unwrap_or(0);
            if expected.is_some_and(|expected| expected != actual) {
                break;
            }
            if messages.is_empty() {
                return Ok(actual.unsigned_abs());
            }
        }
        let (expected, actual) = (expected.unwrap_or(0).unsigned_abs(), actual.unsigned_abs());
        Err(AppendError::Conflict { key: key.into(), expected, actual })
    }

    /// The version before, or none if it was not the expected one.
    async fn append_sealed<T: Transaction>(
        &self,
        tx: &mut T,
        key: &str,
        expected: Option<i64>,
        messages: &[Message],
    ) -> Result<Option<i64>, SqlError> {
        let (names, entries) = (&self.database.names, entries(messages)?);
        if T::DIALECT == Dialect::Postgres {
            let statement = log_and_outbox(names, &entries, Gate::Stream(key, expected));
            return Ok(tx.run(statement).await?.first().copied());
        }
        let base = tx.run(sqlite_stream(names, key, expected, &entries)).await?;
        let Some(&base) = base.first() else { return Ok(None) };
        tx.run(log_sqlite(names, &entries, Some(base))).await?;
        self.insert_unlogged(tx, messages, Order::AsIs).await?;
        Ok(Some(base))
    }
}
