//! Outbox, relay and event log on a real PostgreSQL and on SQLite files.
#![allow(clippy::unwrap_used)]

mod broker;
mod child;
mod high_water;
mod kills;
mod log;
mod outbox;
mod places;
mod relay;
mod server;
mod stores;
mod tail;
mod trials;
