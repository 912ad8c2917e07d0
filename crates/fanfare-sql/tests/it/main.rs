//! Outbox and relay on a real PostgreSQL and on SQLite files.
#![allow(clippy::unwrap_used)]

mod broker;
mod outbox;
mod places;
mod relay;
