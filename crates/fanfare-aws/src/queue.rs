//! One service's queue.

use fanfare_core::telemetry::{AWS_SQS, Channel};
use fanfare_topology::{Bindings, Kind};

use crate::{Aws, dead_letters::DeadLetterQueue};

/// One queue of one service, with its dead-letter queue: computed, not looked up. Made by
/// [`Aws::queue`].
#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) aws: Aws,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) dead_letters: DeadLetterQueue,
    pub(crate) channel: Channel,
}

impl Queue {
    pub(crate) fn new(aws: Aws, bindings: &Bindings, service: &str, kind: Kind) -> Self {
        let name = bindings.queue_name(service, kind);
        let url = aws.queue_url(&name);
        let dead_letters = DeadLetterQueue::new(aws.clone(), bindings, service, kind);
        let channel = Channel::new(AWS_SQS, &*name).read_by(service);
        Queue { aws, kind, name, url, dead_letters, channel }
    }

    /// Its name on AWS.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it keeps order per group.
    pub(crate) fn is_fifo(&self) -> bool {
        self.kind == Kind::Fifo
    }
}
