//! The worker on a stream, on the simulator under paused time.
#![allow(clippy::unwrap_used)]

#[path = "../support/stream.rs"]
mod support;

mod basics;
mod fan_out;
mod order;
mod poison;
mod reading;
mod resharding;
mod transactions;
