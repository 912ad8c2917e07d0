//! End-to-end tests, and the programs that they run: a function, and a worker that is killed.

pub mod killed;
pub mod trial;
