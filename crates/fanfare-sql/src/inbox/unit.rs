//! One transaction with its deliveries. On PostgreSQL it costs these round trips: begin, admit,
//! with several deliveries a savepoint and one release of it for each; what follows from all of
//! them in one statement, if something does; the keys that are withdrawn, if there are any; each
//! delivery that the log keeps; commit.

use std::{borrow::Cow, collections::HashMap, mem::take, sync::Arc};

use fanfare_core::{
    Admitted, BoxFuture, Followed, InboxError, InboxKey, Loan, Message, RawDelivery, Slot,
    UnitOfWork,
};

use super::{
    statements::{Statements, list, list_followed},
    tx::Tx,
};
use crate::{
    EventLog, Outbox, SqlError,
    outbox::Order,
    statement::{Statement, Value},
};

type Answer<'a, T> = BoxFuture<'a, Result<T, InboxError>>;

pub(super) struct Unit<T> {
    slot: Slot<T>,
    statements: Arc<Statements>,
    outbox: Option<Outbox>,
    /// Keeps what was handled.
    log: Option<EventLog>,
    /// Who handles it.
    consumer: Arc<str>,
    /// Whether there is a savepoint to go back to.
    savepoint: bool,
    /// Events that were handled before and whose followers are stored.
    stored: Vec<InboxKey>,
}

impl<T: Tx> Unit<T> {
    pub(super) fn new(
        tx: T,
        statements: Arc<Statements>,
        outbox: Option<Outbox>,
        log: Option<EventLog>,
    ) -> Self {
        let (savepoint, stored, consumer) = (false, Vec::new(), "".into());
        Unit { slot: Slot::new(tx), statements, outbox, log, consumer, savepoint, stored }
    }

    /// The transaction. One that a broken-off future took is rolled back and gone.
    fn tx(&self) -> Result<T, InboxError> {
        self.slot.take().ok_or_else(|| {
            InboxError::retryable(
                "the connection is not back: a layer answered while the handler still had it",
            )
        })
    }

    /// Runs statements without values.
    async fn script(&self, sql: &'static str) -> Result<(), InboxError> {
        let mut tx = self.tx()?;
        let ran = tx.script(sql).await;
        // Also after a failure: a savepoint can still be gone back to.
        self.slot.put(tx);
        Ok(ran?)
    }

    async fn admitted(&mut self, keys: &[InboxKey]) -> Result<Vec<Admitted>, InboxError> {
        let mut tx = self.tx()?;
        if let Some(key) = keys.first() {
            self.consumer = Arc::clone(&key.consumer);
        }
        let new: Vec<Key> =
            tx.fetch_prepared(statement(&self.statements.admit, list(keys))).await?;
        let mut followed = HashMap::new();
        if new.len() < keys.len() {
            let rows = tx.fetch(statement(&self.statements.followed, list(keys))).await?;
            followed = by_key(rows)?;
        }
        self.slot.put(tx);
        let new: std::collections::HashSet<Key> = new.into_iter().collect();
        let admitted = keys.iter().map(|key| {
            let of = (key.consumer.to_string(), key.source.clone(), key.id.clone());
            if new.contains(&of) {
                return Admitted::New;
            }
            let followed = followed.remove(&of).unwrap_or_default();
            if !followed.is_empty() {
                self.stored.push(key.clone());
            }
            Admitted::Duplicate(followed)
        });
        Ok(admitted.collect())
    }

    async fn finish(
        mut self,
        handled: &[&RawDelivery],
        followed: &[Followed<'_>],
        withdrawn: &[&InboxKey],
    ) -> Result<(), InboxError> {
        let mut tx = self.tx()?;
        if !withdrawn.is_empty() {
            let withdraw = statement(&self.statements.withdraw, list(withdrawn.iter().copied()));
            tx.fetch::<(i64,)>(withdraw).await?;
        }
        if let Some(log) = &self.log {
            // Before what follows from it.
            for delivery in handled {
                log.keep(&mut tx, &self.consumer, delivery).await?;
            }
        }
        match &self.outbox {
            Some(outbox) => {
                let messages: Cow<'_, [Message]> = match followed {
                    [one] => one.messages.into(),
                    many => many.iter().flat_map(|of| of.messages).cloned().collect(),
                };
                outbox.insert(&mut tx, &messages, Order::Locked).await?;
                let stored = take(&mut self.stored);
                if !stored.is_empty() {
                    let recorded = statement(&self.statements.recorded, list(&stored));
                    tx.fetch::<(i64,)>(recorded).await?;
                }
            }
            None if followed.is_empty() => {}
            None => {
                let follow = statement(&self.statements.follow, list_followed(followed));
                tx.fetch_prepared::<(i64,)>(follow).await?;
            }
        }
        tx.end().await?;
        if let Some(outbox) = self.outbox.filter(|_| !followed.is_empty()) {
            outbox.wake();
        }
        Ok(())
    }
}

impl<T: Tx> UnitOfWork for Unit<T> {
    fn admit<'a>(&'a mut self, keys: &'a [InboxKey]) -> Answer<'a, Vec<Admitted>> {
        Box::pin(self.admitted(keys))
    }

    fn lend(&mut self, undoable: bool) -> Answer<'_, Loan> {
        Box::pin(async move {
            if undoable && !self.savepoint {
                self.script("savepoint fanfare").await?;
                self.savepoint = true;
            }
            self.slot.lend().ok_or_else(|| InboxError::retryable("the connection is not back"))
        })
    }

    fn keep(&mut self) -> Answer<'_, ()> {
        Box::pin(async {
            if self.savepoint {
                // The next one's savepoint with it. Without one, the commit finds out.
                self.script("release savepoint fanfare; savepoint fanfare").await?;
            }
            Ok(())
        })
    }

    fn undo(&mut self) -> Answer<'_, ()> {
        Box::pin(self.script("rollback to savepoint fanfare"))
    }

    fn commit<'a>(
        self: Box<Self>,
        handled: &'a [&'a RawDelivery],
        followed: &'a [Followed<'a>],
        withdrawn: &'a [&'a InboxKey],
    ) -> Answer<'a, ()> {
        Box::pin(self.finish(handled, followed, withdrawn))
    }
}

/// Consumer, source, id.
type Key = (String, String, String);

fn statement(sql: &Arc<str>, events: String) -> Statement {
    Statement { sql: Arc::clone(sql), values: vec![Value::Text(events)] }
}

type Row = (String, String, String, String);

fn by_key(rows: Vec<Row>) -> Result<HashMap<Key, Vec<Message>>, SqlError> {
    let row = |(consumer, source, id, followed): Row| {
        Ok(((consumer, source, id), messages(&followed, "inbox_followed")?))
    };
    rows.into_iter().map(row).collect()
}

/// Messages from where they were stored.
pub(crate) fn messages(stored: &str, table: &'static str) -> Result<Vec<Message>, SqlError> {
    serde_json::from_str(stored).map_err(|_| SqlError::Corrupt {
        table,
        problem: "what followed is no list of messages".into(),
    })
}
