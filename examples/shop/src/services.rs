//! The services. Each is a folder's worth of domain code that knows its own events and its own
//! idea of others' events, and nothing of AWS; what it keeps is behind a trait of its own, whose SQL
//! is in its `store.rs`. In a real system each would be a repository.

// Events are their fields, in the words of their service.
#![allow(missing_docs)]

pub mod delivery;
pub mod orders;
pub mod products;
pub mod recommendation;

/// What keeps a service's state did not do what was asked.
pub use fanfare::sql::SqlError as StoreError;
