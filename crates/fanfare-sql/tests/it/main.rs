//! Outbox and relay on a real PostgreSQL and on SQLite files.
#![allow(clippy::unwrap_used)]

mod broker;
mod child;
mod kills;
mod outbox;
mod places;
mod relay;
mod trials;
