//! The simulator through the real SDK clients: what a conformance suite that also runs elsewhere
//! cannot see.

mod common;
mod delivery;
mod faults;
mod policies;
mod port;
mod time;
mod wire;
