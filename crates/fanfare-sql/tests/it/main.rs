//! Outbox, relay, inbox, leases, parked groups, event log, replay and projections on a real PostgreSQL
//! and on SQLite files.
#![allow(clippy::unwrap_used)]

mod broker;
mod child;
mod delays;
mod drain;
mod high_water;
mod idempotency;
mod inbox;
mod inbox_trials;
mod kills;
mod leases;
mod log;
mod outbox;
mod parked;
mod places;
mod projection;
mod relay;
mod replay;
mod server;
mod stores;
mod tail;
mod trials;
