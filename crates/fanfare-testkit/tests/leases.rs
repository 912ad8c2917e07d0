//! The contract of lease stores, on the one that needs nothing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use fanfare_core::MemoryLeaseStore;
use fanfare_testkit::lease_store_contract;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_store_in_memory_keeps_the_contract() {
    lease_store_contract(Arc::new(MemoryLeaseStore::default())).await.unwrap();
}
