//! Functions called with the events that Lambda calls them with, and run by the real runtime.
#![allow(clippy::unwrap_used)]

mod after;
mod any;
mod events;
mod letters;
mod queues;
mod redelivery;
mod runtime;
mod streams;
mod task;
mod time;
mod topics;
mod trace;
mod world;
