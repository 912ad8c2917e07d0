//! For tests: a [`Harness`] that runs real services on the simulator, for those who use fanfare;
//! and for fanfare itself the conformance suite that holds the simulator to what AWS does, and
//! LocalStack.

pub mod conformance;
mod harness;
pub mod localstack;

pub use harness::{Counts, Harness, HarnessError};
