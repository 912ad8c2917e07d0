//! Single requests to services that the simulator does not have, answered by the test.
#![allow(clippy::unwrap_used)]

mod answers;
mod dynamodb;
mod relay_function;
mod s3;
