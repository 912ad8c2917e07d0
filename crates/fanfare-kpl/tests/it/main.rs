//! The format against other implementations, and against bytes that mean harm.

// Helpers outside test functions unwrap too: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod aggregator;
mod golden;
mod opening;

use bytes::Bytes;
use fanfare_kpl::{Aggregate, Opened, open};

/// Partition key, explicit hash key, data.
type Case = Vec<(String, Option<u128>, Vec<u8>)>;

fn aggregate(data: impl Into<Bytes>) -> Aggregate {
    match open(data.into()).unwrap() {
        Opened::Aggregate(aggregate) => aggregate,
        Opened::Plain(_) => panic!("no aggregate"),
    }
}
