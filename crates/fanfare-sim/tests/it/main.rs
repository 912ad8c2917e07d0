//! The simulator through the real SDK clients: what a conformance suite that also runs elsewhere
//! cannot see.

// Helpers outside test functions unwrap too: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod common;
mod delivery;
mod faults;
mod kinesis;
mod policies;
mod port;
mod time;
mod wire;
