//! Workers that share a stream, in virtual time.
#![allow(clippy::unwrap_used)]

mod held;
mod lineage;
mod lines;
mod plans;
mod seeds;
mod sharing;
mod stream;
mod world;
mod zombies;
