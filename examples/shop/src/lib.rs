//! The shop: orders, products and delivery, joined by events and knowing nothing of each other.
//!
//! Its command line plays through what events are good for, on the simulator and on SQLite, and ends by
//! itself; it fails if anything was lost or happened twice. With commands it runs the services one by
//! one, as a real shop would.

// Most of it is of use only here; there `pub` says what a module offers.
#![allow(unreachable_pub)]

mod chaos;
pub mod cli;
mod commands;
mod cost;
pub mod database;
mod ground;
mod journal;
mod journeys;
mod published;
pub mod service;
pub mod services;
mod shop;
mod story;
pub mod tally;
pub mod topology;
pub mod view;
