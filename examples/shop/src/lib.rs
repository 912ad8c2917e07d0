//! The shop: orders, products and delivery, joined by events and knowing nothing of each other.
//!
//! Its command line plays through what events are good for, on the simulator and on SQLite, and ends by
//! itself; it fails if anything was lost or happened twice. With commands it runs the services one by
//! one, as a real shop would. The same services as functions on AWS are in [`lambda`].

// Most of it is of use only here; there `pub` says what a module offers.
#![allow(unreachable_pub)]

#[cfg(feature = "cli")]
mod chaos;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod commands;
#[cfg(feature = "cli")]
mod cost;
pub mod database;
#[cfg(feature = "cli")]
mod ground;
#[cfg(feature = "cli")]
pub mod infra;
mod journal;
#[cfg(feature = "cli")]
mod journeys;
pub mod lambda;
#[cfg(feature = "cli")]
mod progress;
#[cfg(feature = "cli")]
mod published;
pub mod service;
pub mod services;
#[cfg(feature = "cli")]
mod shop;
#[cfg(feature = "cli")]
mod story;
#[cfg(feature = "cli")]
pub mod tally;
pub mod topology;
pub mod view;
