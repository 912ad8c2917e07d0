//! The connection of a unit of work, on its way to a handler and back.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    ops::DerefMut,
    sync::{Arc, Mutex, PoisonError},
};

/// Which connection a handler wants, or an inbox lends. Core knows no database: to it this is a
/// name.
#[derive(Clone, Copy)]
pub struct ConnectionType {
    id: TypeId,
    name: &'static str,
}

impl ConnectionType {
    /// The type `C`.
    #[must_use]
    pub fn of<C: 'static>() -> Self {
        ConnectionType { id: TypeId::of::<C>(), name: type_name::<C>() }
    }

    /// Its path, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl PartialEq for ConnectionType {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for ConnectionType {}

impl fmt::Debug for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Where a [`UnitOfWork`](crate::UnitOfWork) has its connection, `K`: a transaction or whatever
/// else dereferences to what handlers see.
#[derive(Debug)]
pub struct Slot<K> {
    home: Home<K>,
}

/// Where a connection comes back to.
type Home<K> = Arc<Mutex<Option<K>>>;

impl<K> Slot<K>
where
    K: DerefMut + Send + 'static,
    K::Target: Sized + Send + 'static,
{
    /// A slot with this connection in it.
    pub fn new(connection: K) -> Self {
        Slot { home: Arc::new(Mutex::new(Some(connection))) }
    }

    /// Lends it to a handler. None if it is not here.
    #[must_use]
    pub fn lend(&self) -> Option<Loan> {
        let connection = Some(self.take()?);
        Some(Loan(Box::new(Lent { connection, home: Arc::clone(&self.home) })))
    }

    /// Takes it, for the unit's own statements. None if it is not here: a layer answered while
    /// the handler still had it, or a statement was broken off.
    #[must_use]
    pub fn take(&self) -> Option<K> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts it back.
    pub fn put(&self, connection: K) {
        give_back(&self.home, connection);
    }
}

fn give_back<K>(home: &Home<K>, connection: K) {
    *home.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
}

/// A connection on loan to one handler; dropping it gives it back to its [`Slot`].
pub struct Loan(Box<dyn Lend>);

impl Loan {
    /// The connection, if it is a `C`.
    #[must_use]
    pub fn get<C: Send + 'static>(&mut self) -> Option<&mut C> {
        self.0.connection()?.downcast_mut()
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").finish_non_exhaustive()
    }
}

trait Lend: Send {
    fn connection(&mut self) -> Option<&mut (dyn Any + Send)>;
}

struct Lent<K> {
    connection: Option<K>,
    home: Home<K>,
}

impl<K> Lend for Lent<K>
where
    K: DerefMut + Send,
    K::Target: Sized + Send + 'static,
{
    fn connection(&mut self) -> Option<&mut (dyn Any + Send)> {
        Some(&mut **self.connection.as_mut()?)
    }
}

impl<K> Drop for Lent<K> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            give_back(&self.home, connection);
        }
    }
}
