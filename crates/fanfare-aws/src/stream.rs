//! Consuming a stream.

// Used by what consumes its shards.
#[allow(dead_code)]
mod leases;
