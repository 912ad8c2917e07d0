//! An inbox over a database that is a list in memory, with savepoints and faults.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
};

use fanfare_core::{
    Admitted, ConnectionType, Followed, Inbox, InboxError, InboxKey, Loan, Message, RawDelivery,
    Slot, UnitOfWork,
};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Begin,
    Admit,
    Lend,
    Keep,
    Undo,
    Commit,
    /// The commit goes through, and its answer is lost.
    Committed,
}

/// What is committed, and what shall fail.
#[derive(Clone, Default)]
pub struct Ledger {
    state: Arc<Mutex<State>>,
    outbox: bool,
}

#[derive(Default)]
struct State {
    effects: Vec<String>,
    keys: HashMap<InboxKey, Vec<Message>>,
    outbox: Vec<Message>,
    units: Vec<usize>,
    savepoints: usize,
    fault: Option<Box<dyn FnMut(At) -> Option<InboxError> + Send>>,
}

/// What handlers see: the effects of their transaction so far.
#[derive(Default)]
pub struct Connection {
    pub effects: Vec<String>,
}

/// What dereferences to it, as a driver's transaction does.
pub struct Transaction(Connection);

impl Deref for Transaction {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Ledger {
    pub fn with_outbox() -> Self {
        Ledger { outbox: true, ..Ledger::default() }
    }

    /// The same tables, with or without an outbox.
    pub fn recording(&self, outbox: bool) -> Self {
        Ledger { outbox, ..self.clone() }
    }

    pub fn effects(&self) -> Vec<String> {
        self.state.lock().unwrap().effects.clone()
    }

    /// An effect outside of any transaction.
    pub fn note(&self, effect: String) {
        self.state.lock().unwrap().effects.push(effect);
    }

    pub fn remembers(&self, id: &str) -> bool {
        self.state.lock().unwrap().keys.keys().any(|key| key.id == id)
    }

    pub fn outbox(&self) -> Vec<Message> {
        self.state.lock().unwrap().outbox.clone()
    }

    /// How many deliveries were in each unit of work.
    pub fn units(&self) -> Vec<usize> {
        self.state.lock().unwrap().units.clone()
    }

    pub fn savepoints(&self) -> usize {
        self.state.lock().unwrap().savepoints
    }

    pub fn fail(&self, fault: impl FnMut(At) -> Option<InboxError> + Send + 'static) {
        self.state.lock().unwrap().fault = Some(Box::new(fault));
    }

    /// Fails once, in a way that passes by itself.
    pub fn fail_once(&self, at: At) {
        let mut left = Some(at);
        self.fail(move |now| {
            left.take_if(|at| *at == now).map(|at| InboxError::retryable(format!("{at:?}")))
        });
    }

    fn check(&self, at: At) -> Result<(), InboxError> {
        match &mut self.state.lock().unwrap().fault {
            Some(fault) => fault(at).map_or(Ok(()), Err),
            None => Ok(()),
        }
    }
}

struct Unit {
    ledger: Ledger,
    slot: Slot<Transaction>,
    /// How many effects there were at the savepoint.
    savepoint: Option<usize>,
    admitted: Vec<InboxKey>,
}

impl Inbox for Ledger {
    fn connection_type(&self) -> ConnectionType {
        ConnectionType::of::<Connection>()
    }

    fn records_events(&self) -> bool {
        self.outbox
    }

    fn begin(&self) -> fanfare_core::BoxFuture<'_, Result<Box<dyn UnitOfWork>, InboxError>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            self.check(At::Begin)?;
            let slot = Slot::new(Transaction(Connection::default()));
            let unit = Unit { ledger: self.clone(), slot, savepoint: None, admitted: Vec::new() };
            Ok(Box::new(unit) as Box<dyn UnitOfWork>)
        })
    }
}

type Boxed<'a, T> = fanfare_core::BoxFuture<'a, Result<T, InboxError>>;

impl UnitOfWork for Unit {
    fn admit<'a>(&'a mut self, keys: &'a [InboxKey]) -> Boxed<'a, Vec<Admitted>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            self.ledger.check(At::Admit)?;
            let mut sorted = keys.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), keys.len(), "no key comes twice");
            let mut state = self.ledger.state.lock().unwrap();
            state.units.push(keys.len());
            let admitted = keys.iter().map(|key| match state.keys.get(key) {
                Some(followed) => Admitted::Duplicate(followed.clone()),
                None => {
                    self.admitted.push(key.clone());
                    Admitted::New
                }
            });
            Ok(admitted.collect())
        })
    }

    fn lend(&mut self, undoable: bool) -> Boxed<'_, Loan> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.ledger.check(At::Lend)?;
            let transaction = self.slot.take().ok_or_else(|| InboxError::retryable("lent"))?;
            self.savepoint = undoable.then_some(transaction.effects.len());
            self.ledger.state.lock().unwrap().savepoints += usize::from(undoable);
            self.slot.put(transaction);
            self.slot.lend().ok_or_else(|| InboxError::retryable("lent"))
        })
    }

    fn keep(&mut self) -> Boxed<'_, ()> {
        Box::pin(async { self.ledger.check(At::Keep) })
    }

    fn undo(&mut self) -> Boxed<'_, ()> {
        Box::pin(async {
            self.ledger.check(At::Undo)?;
            let mut transaction = self.slot.take().ok_or_else(|| InboxError::retryable("lent"))?;
            transaction.effects.truncate(self.savepoint.expect("undo needs a savepoint"));
            self.slot.put(transaction);
            Ok(())
        })
    }

    fn commit<'a>(
        self: Box<Self>,
        _handled: &'a [&'a RawDelivery],
        followed: &'a [Followed<'a>],
        withdrawn: &'a [&'a InboxKey],
    ) -> Boxed<'a, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.ledger.check(At::Commit)?;
            let transaction = self.slot.take().ok_or_else(|| InboxError::retryable("lent"))?;
            {
                let mut state = self.ledger.state.lock().unwrap();
                state.effects.extend_from_slice(&transaction.effects);
                for key in &self.admitted {
                    state.keys.insert(key.clone(), Vec::new());
                }
                for Followed { key, messages, .. } in followed {
                    if self.ledger.outbox {
                        state.outbox.extend_from_slice(messages);
                    } else {
                        state.keys.insert((*key).clone(), messages.to_vec());
                    }
                }
                for key in withdrawn {
                    state.keys.remove(*key);
                }
            }
            self.ledger.check(At::Committed)
        })
    }
}
