//! Consuming a stream.

mod fan_out;
mod leases;
mod letters;
mod pace;
mod reader;
mod record;
mod shard;
mod shards;
mod source;
mod window;
mod worker;

use std::sync::Arc;

use fanfare_core::{
    DeadLetterError, LeaseGroup,
    telemetry::{AWS_KINESIS, Channel},
};
use fanfare_topology::{Bindings, Kind};

use crate::{
    Aws,
    dead_letters::{DeadLetterQueue, Parked},
};
pub use worker::{Hold, StartAt, StreamWorker, StreamWorkerError};

/// A topic's stream as one service reads it: from a position of its own, with the service's standard
/// dead-letter queue for what it cannot handle. Computed, not looked up. Made by [`Aws::stream`].
#[derive(Clone, Debug)]
pub struct Stream {
    aws: Aws,
    group: LeaseGroup,
    dead_letters: DeadLetterQueue,
    channel: Channel,
}

impl Stream {
    pub(crate) fn new(aws: Aws, bindings: &Bindings, service: &str, topic: &str) -> Self {
        let group = LeaseGroup::new(service, bindings.topic_name(topic));
        let dead_letters = DeadLetterQueue::new(aws.clone(), bindings, service, Kind::Standard);
        let channel = Channel::new(AWS_KINESIS, Arc::clone(&group.stream));
        let channel = channel.read_by(Arc::clone(&group.consumer));
        Stream { aws, group, dead_letters, channel }
    }

    /// Its name on AWS.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.group.stream
    }

    /// Whose leases its workers share: the service's on this stream.
    #[must_use]
    pub fn lease_group(&self) -> &LeaseGroup {
        &self.group
    }

    /// Looks at up to 10 messages in the service's dead-letter queue and leaves them there, those that
    /// come from elsewhere included: for tests and operators, not for processing. Takes 2 seconds where
    /// there is none.
    ///
    /// # Errors
    /// [`DeadLetterError`] if they cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<Parked>, DeadLetterError> {
        self.dead_letters.look().await
    }
}
