//! End-to-end tests, and the function that one of them deploys.

pub mod trial;
