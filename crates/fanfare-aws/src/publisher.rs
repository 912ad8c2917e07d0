//! Publishing to SNS topics, and sending tasks to SQS queues.

mod lane;
mod target;

use std::{collections::BTreeMap, time::Duration};

use fanfare_core::{Backoff, Destination, Message, PublishError, PublishReport, Publisher};
use fanfare_topology::Bindings;
use futures_util::future::join_all;

use crate::Aws;
use lane::Lane;
use target::Target;

/// Tries per message before it is reported as not accepted: with the back-off below some 6 to 12
/// seconds where the answers come quickly.
const ATTEMPTS: u32 = 8;

/// How long after its first failure a message is still tried again: where each request times out,
/// all tries would take longer than a worker's lease on the message whose handler publishes.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between the tries of one message.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Publishes events to SNS topics and tasks to SQS queues, in batches of up to 10 entries and as
/// many bytes as the service takes.
///
/// On a FIFO topic the message group is the event's key and the deduplication id its id. Because
/// the entries of a batch fail one by one, a batch there has at most one event of each key: what
/// follows it waits until it is accepted. Publishing many events of one key in one call costs a
/// request for each.
///
/// ```no_run
/// # use fanfare_aws::{Aws, AwsPublisher};
/// # use fanfare_topology::Bindings;
/// # fn example(aws: Aws) {
/// use fanfare_core::Emitter;
///
/// let publisher = AwsPublisher::new(aws, Bindings::new("shop"));
/// let orders = Emitter::new("orders", publisher);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AwsPublisher {
    aws: Aws,
    bindings: Bindings,
}

impl AwsPublisher {
    /// A publisher for the topics and queues that `bindings` names.
    #[must_use]
    pub fn new(aws: Aws, bindings: Bindings) -> Self {
        AwsPublisher { aws, bindings }
    }
}

impl Publisher for AwsPublisher {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let mut by_destination: BTreeMap<&Destination, Vec<usize>> = BTreeMap::new();
        for (index, message) in batch.iter().enumerate() {
            by_destination.entry(&message.destination).or_default().push(index);
        }
        let lanes = by_destination.into_iter().map(|(destination, indices)| {
            let target = Target::of(&self.aws, &self.bindings, destination);
            Lane::new(target, batch, indices).run()
        });
        let mut outcomes = vec![Err(PublishError::Blocked); batch.len()];
        for (index, outcome) in join_all(lanes).await.into_iter().flatten() {
            outcomes[index] = outcome;
        }
        PublishReport::new(outcomes)
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        Target::of(&self.aws, &self.bindings, destination).is_ordered()
    }
}
