//! Kinesis through the real SDK client, under tokio's paused clock.

mod basics;
mod common;
