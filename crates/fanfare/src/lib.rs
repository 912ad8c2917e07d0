#![doc = include_str!("../README.md")]

pub use fanfare_core::*;

/// Which topics there are, what carries them, and who wants what.
pub mod topology {
    pub use fanfare_topology::*;
}

/// SNS, SQS and Kinesis: publishers, workers, provisioning.
#[cfg(feature = "aws")]
pub mod aws {
    pub use fanfare_aws::*;
}

/// Outbox, relay, inbox, leases, event log, replay and projections, on PostgreSQL and SQLite.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod sql {
    pub use fanfare_sql::*;
}

/// Consumers as AWS Lambda functions.
#[cfg(feature = "lambda")]
pub mod lambda {
    pub use fanfare_lambda::*;
}

/// SNS, SQS and Kinesis in the process, for tests and first steps.
#[cfg(feature = "sim")]
pub mod sim {
    pub use fanfare_sim::*;
}

/// The project's README, so that its examples are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
