//! The worker on a queue, on the simulator under paused time.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
mod wire;

mod basics;
mod health;
mod leases;
mod polling;
mod seeds;
mod settling;
mod several;
