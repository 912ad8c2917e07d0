//! For tests: a [`Harness`] that runs real services on the simulator and the contracts that lease
//! stores, idempotency stores and stores of parked groups are held to, for those who use fanfare;
//! and for fanfare itself the conformance suite that holds the simulator to what AWS does,
//! LocalStack, DynamoDB, and databases of a test's own on PostgreSQL and SQLite.

pub mod conformance;
pub mod dynamodb;
mod harness;
mod idempotency;
mod leases;
pub mod localstack;
mod parked;
pub mod postgres;
pub mod runtime_api;
pub mod sqlite;

pub use harness::{Counts, Harness, HarnessError};
pub use idempotency::idempotency_store_contract;
pub use leases::lease_store_contract;
pub use parked::parked_groups_contract;
