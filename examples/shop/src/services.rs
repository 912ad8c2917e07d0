//! The three services. Each is a folder's worth of domain code that knows its own events and its
//! own idea of others' events, and nothing of AWS. In a real system each would be a repository.

pub mod delivery;
pub mod orders;
pub mod products;
