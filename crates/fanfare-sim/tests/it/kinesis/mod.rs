//! Kinesis through the real SDK client, under tokio's paused clock.

mod basics;
mod common;
mod fan_out;
mod limits;
mod properties;
mod reading;
mod streams;
