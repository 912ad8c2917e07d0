//! The contract of parked groups, on the store that needs nothing.
#![allow(clippy::unwrap_used)]

use fanfare_core::MemoryParkedGroups;
use fanfare_testkit::parked_groups_contract;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_groups_in_memory_keep_the_contract() {
    parked_groups_contract(MemoryParkedGroups::default()).await.unwrap();
}
