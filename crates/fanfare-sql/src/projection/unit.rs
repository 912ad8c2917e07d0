//! The transaction that changes a view and the position up to which it has the log.
//!
//! It is an inbox to the consumer. Nothing is remembered per event: what lies behind the position is
//! new. No savepoints either: where a handler fails among others, everything is rolled back and
//! handled once more, one by one.

use std::{
    collections::HashMap,
    ops::DerefMut,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fanfare_core::{
    Admitted, BoxFuture, ConnectionType, Followed, Inbox, InboxError, InboxKey, Loan, RawDelivery,
    Slot, UnitOfWork,
};

use super::store::ADVANCE;
use crate::{
    Database, SqlError,
    database::{Dialect, Pool},
    names::Names,
    statement::{Statement, Value, run::Run},
};

/// Begins a projection's transactions; clones share where it is.
#[derive(Clone)]
pub(super) struct Units {
    database: Database,
    name: Arc<str>,
    generation: i64,
    place: Arc<Mutex<Place>>,
}

/// Where a feed is.
#[derive(Default)]
pub(super) struct Place {
    /// The position in the database, as far as we know.
    pub(super) position: i64,
    /// The positions of the batch's events, by source and id.
    pub(super) batch: HashMap<(String, String), i64>,
    /// Whether somebody else has changed the position.
    pub(super) superseded: bool,
    /// Whether a transaction was rolled back because of one handler among others.
    pub(super) undone: bool,
    /// The position of a commit whose outcome is not known.
    pub(super) uncertain: Option<i64>,
}

impl Units {
    pub(super) fn new(database: Database, name: Arc<str>, generation: i64, position: i64) -> Self {
        let place = Arc::new(Mutex::new(Place { position, ..Place::default() }));
        Units { database, name, generation, place }
    }

    pub(super) fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> &Names {
        &self.database.names
    }

    /// The position, locked until the transaction ends; no row if it is another one.
    fn lock(&self, dialect: Dialect, position: i64) -> Statement {
        let wait = if dialect == Dialect::Postgres { " for update" } else { "" };
        let sql = format!(
            "select position from {{generations}} \
             where name = $1 and generation = $2 and position = $3{wait}"
        );
        Statement { sql: self.names().sql(&sql), values: self.values(&[position]) }
    }

    fn advance(&self, from: i64, to: i64) -> Statement {
        Statement { sql: self.names().sql(ADVANCE), values: self.values(&[from, to]) }
    }

    fn values(&self, numbers: &[i64]) -> Vec<Value> {
        let names = [Value::Text(self.name.to_string()), Value::Int(self.generation)];
        names.into_iter().chain(numbers.iter().copied().map(Value::Int)).collect()
    }
}

impl Inbox for Units {
    fn connection_type(&self) -> ConnectionType {
        match &self.database.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => ConnectionType::of::<sqlx::PgConnection>(),
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => ConnectionType::of::<sqlx::SqliteConnection>(),
        }
    }

    fn records_events(&self) -> bool {
        false
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn UnitOfWork>, InboxError>> {
        Box::pin(async move {
            let unit: Box<dyn UnitOfWork> = match &self.database.pool {
                #[cfg(feature = "postgres")]
                Pool::Postgres(pool) => {
                    let tx = pool.begin().await.map_err(SqlError::from)?;
                    Box::new(Unit::new(self.clone(), tx))
                }
                #[cfg(feature = "sqlite")]
                Pool::Sqlite(pool) => {
                    let tx = crate::begin_immediate(pool).await?;
                    Box::new(Unit::new(self.clone(), tx))
                }
            };
            Ok(unit)
        })
    }
}

/// A transaction of either database.
trait Tx: Run + DerefMut<Target: Sized + Send + 'static> + Sized + 'static {
    fn commit(self) -> impl Future<Output = Result<(), SqlError>> + Send;
}

#[cfg(feature = "postgres")]
impl Tx for sqlx::Transaction<'static, sqlx::Postgres> {
    async fn commit(self) -> Result<(), SqlError> {
        Ok(self.commit().await?)
    }
}

#[cfg(feature = "sqlite")]
impl Tx for sqlx::Transaction<'static, sqlx::Sqlite> {
    async fn commit(self) -> Result<(), SqlError> {
        Ok(self.commit().await?)
    }
}

/// A transaction under way.
struct Unit<K> {
    units: Units,
    slot: Slot<K>,
    /// Where it begins, and the positions of its events, in order.
    from: i64,
    positions: Vec<(InboxKey, i64)>,
}

impl<K: Tx> Unit<K> {
    fn new(units: Units, tx: K) -> Self {
        let from = units.place().position;
        Unit { units, slot: Slot::new(tx), from, positions: Vec::new() }
    }

    fn take(&self) -> Result<K, InboxError> {
        self.slot.take().ok_or_else(gone)
    }

    /// The last position before one that is not to be remembered.
    fn until(&self, withdrawn: &[&InboxKey]) -> i64 {
        let kept = self.positions.iter().take_while(|(key, _)| !withdrawn.contains(&key));
        kept.last().map_or(self.from, |(_, position)| *position)
    }
}

fn gone() -> InboxError {
    InboxError::retryable("the handler did not give the connection back")
}

fn superseded() -> InboxError {
    InboxError::retryable("somebody else has changed the position")
}

impl<K: Tx> UnitOfWork for Unit<K> {
    fn admit<'a>(
        &'a mut self,
        keys: &'a [InboxKey],
    ) -> BoxFuture<'a, Result<Vec<Admitted>, InboxError>> {
        Box::pin(async move {
            let mut tx = self.take()?;
            let locked = tx.run(self.units.lock(K::DIALECT, self.from)).await?;
            self.slot.put(tx);
            let mut place = self.units.place();
            if locked.is_empty() {
                place.superseded = true;
                return Err(superseded());
            }
            for key in keys {
                let event = (key.source.clone(), key.id.clone());
                let position = place.batch.get(&event).copied();
                let position = position.ok_or_else(|| InboxError::permanent("no such event"))?;
                self.positions.push((key.clone(), position));
            }
            Ok(vec![Admitted::New; keys.len()])
        })
    }

    fn lend(&mut self, _undoable: bool) -> BoxFuture<'_, Result<Loan, InboxError>> {
        Box::pin(async move { self.slot.lend().ok_or_else(gone) })
    }

    fn keep(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(async move {
            self.units.place().undone = true;
            Err(InboxError::retryable("a handler failed: its events are handled one by one"))
        })
    }

    fn commit<'a>(
        self: Box<Self>,
        _handled: &'a [&'a RawDelivery],
        _followed: &'a [Followed<'a>],
        withdrawn: &'a [&'a InboxKey],
    ) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            let to = self.until(withdrawn);
            let mut tx = self.take()?;
            if tx.run(self.units.advance(self.from, to)).await?.is_empty() {
                self.units.place().superseded = true;
                return Err(superseded());
            }
            self.units.place().uncertain = Some(to);
            tx.commit().await?;
            let mut place = self.units.place();
            (place.position, place.uncertain) = (to, None);
            Ok(())
        })
    }
}
