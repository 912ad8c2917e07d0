//! Creating what a topology needs: a command of its own, with rights of its own. Services never
//! create or look up anything when they start.
//!
//! Every step first looks, then changes only what differs: run twice, the second changes
//! nothing; run after a handler came or went, it changes the filter policy.

mod queues;
mod streams;
mod subscriptions;
mod topics;

use std::fmt;

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fanfare_topology::{Topology, TopologyError};

use crate::{
    Aws,
    failure::{Class, Failure},
};

/// What provisioning did, in order. Its `Display` is one line for each change, and a sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Provisioned {
    /// What was created, changed or removed.
    pub changes: Vec<Change>,
    /// How many resources were there already, just as they should be.
    pub unchanged: usize,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It was not there.
    Created {
        /// What it is: `topic shop-orders`.
        resource: String,
    },
    /// An attribute of it was different.
    Updated {
        /// What it is.
        resource: String,
        /// The attribute's name on AWS.
        attribute: &'static str,
    },
    /// Nobody wants it any more. [`provision`] removes only subscriptions whose service lost its
    /// last handler for the topic: queues and streams may hold events. [`retire`] removes a service's
    /// queues too.
    Removed {
        /// What it was.
        resource: String,
    },
}

/// Why provisioning stopped. What was done until then stays; run again, it goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The topology cannot exist.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The credentials belong to another account or Region than the one that names are computed
    /// from.
    #[error(
        "{actual} was created where {expected} was meant: give the account and Region that the credentials belong to"
    )]
    OtherAccount {
        /// The computed ARN.
        expected: String,
        /// The ARN that was made.
        actual: String,
    },
    /// AWS refused a step.
    #[error("{action} {resource} failed: {reason}")]
    Aws {
        /// What was to be done: `creating`, `reading`, …
        action: &'static str,
        /// To what.
        resource: String,
        /// What AWS said.
        reason: String,
        /// Whether trying again later may help.
        retryable: bool,
    },
}

impl ProvisionError {
    /// Whether running it again later may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, ProvisionError::Aws { retryable: true, .. })
    }
}

/// Creates what `topology` needs and is not there, and mends what differs: topics; for each
/// service a queue and a dead-letter queue, the redrive policy between them, and a policy that
/// lets exactly its topics send to them; raw subscriptions whose filter policy is computed from
/// the handlers' event types, with the dead-letter queue behind them too. For topics on Kinesis:
/// streams, and a dead-letter queue for each service that reads them and has no standard queue.
///
/// Needs the rights `sns:CreateTopic`, `GetTopicAttributes`, `Subscribe`, `Unsubscribe`,
/// `ListSubscriptionsByTopic`, `Get`- and `SetSubscriptionAttributes`, `sqs:CreateQueue`, `Get`-
/// and `SetQueueAttributes`, `kinesis:CreateStream`, `DescribeStreamSummary`, `Increase`- and
/// `DecreaseStreamRetentionPeriod`, `UpdateStreamMode`, `UpdateStreamRecordDistributionStrategy`. A
/// changed filter policy takes up to 15 minutes to apply on AWS.
///
/// A stream's mode, on demand or of a number of shards, and its retention are kept as the topology
/// says; AWS allows a change of mode twice a day. How many shards it has is said when it is created
/// only: after that, whoever operates it splits and merges them, and workers follow. Waits until new
/// and changed streams are active, which takes seconds to minutes.
///
/// A topic that moves from SNS to Kinesis, or back, leaves behind what carried it, because events may
/// still be in it: let the services work off their queues (or read the stream to its end), then remove
/// it by hand.
///
/// Throttling, time-outs and broken connections are retried, three times in all.
///
/// # Errors
/// [`ProvisionError`] at the first step that fails.
pub async fn provision(aws: &Aws, topology: &Topology) -> Result<Provisioned, ProvisionError> {
    let (aws, plan) = (&aws.for_provisioning(), topology.plan()?);
    let mut report = Provisioned::default();
    for topic in &plan.topics {
        topics::ensure(aws, topic, &mut report).await?;
    }
    for stream in &plan.streams {
        streams::ensure(aws, stream, &mut report).await?;
    }
    for queue in &plan.queues {
        let topics: Vec<_> = plan
            .subscriptions
            .iter()
            .filter(|subscription| subscription.queue_name == queue.name)
            .map(|subscription| aws.topic_arn(&subscription.topic_name))
            .collect();
        queues::ensure(aws, queue, &topics, &mut report).await?;
    }
    for queue in &plan.dead_letter_queues {
        queues::ensure_dead_letters(aws, &queue.name, &mut report).await?;
    }
    for topic in &plan.topics {
        subscriptions::ensure(aws, topic, &plan, &mut report).await?;
    }
    Ok(report)
}

/// Removes everything that [`provision`] creates for `topology`, messages and records included: for
/// the stage of a test or a demonstration. What is not there is passed over.
///
/// The leases of who read its streams stay in the services' databases. They name shards of streams
/// that are gone: remove them before streams of the same names are made again.
///
/// # Errors
/// [`ProvisionError`] at the first step that fails.
pub async fn deprovision(aws: &Aws, topology: &Topology) -> Result<Provisioned, ProvisionError> {
    let (aws, plan) = (&aws.for_provisioning(), topology.plan()?);
    let mut report = Provisioned::default();
    for topic in &plan.topics {
        topics::remove(aws, topic, &mut report).await?;
    }
    for stream in &plan.streams {
        streams::remove(aws, &stream.name, &mut report).await?;
    }
    for queue in &plan.queues {
        for name in [&queue.name, &queue.dead_letter_name] {
            queues::remove(aws, name, &mut report).await?;
        }
    }
    for queue in &plan.dead_letter_queues {
        queues::remove(aws, &queue.name, &mut report).await?;
    }
    Ok(report)
}

/// Removes what [`provision`] created for one `service` of `topology`: its subscriptions, then its
/// queues and dead-letter queues with the messages in them. For a service that leaves for good;
/// stop it first, and take it out of the topology. Nobody else is touched, and streams stay as they
/// are.
///
/// How far it had read streams stays with its leases, in its own database: were it to come back with
/// that, it would go on from there. A consumer that was registered for its enhanced fan-out stays too;
/// deregister it, it is billed.
///
/// # Errors
/// [`ProvisionError`] at the first step that fails.
pub async fn retire(
    aws: &Aws,
    topology: &Topology,
    service: &str,
) -> Result<Provisioned, ProvisionError> {
    let (aws, plan) = (&aws.for_provisioning(), topology.plan()?);
    let mut report = Provisioned::default();
    for queue in plan.queues.iter().filter(|queue| queue.service == service) {
        for topic in &plan.topics {
            subscriptions::remove(aws, topic, &queue.name, &mut report).await?;
        }
        for name in [&queue.name, &queue.dead_letter_name] {
            queues::remove(aws, name, &mut report).await?;
        }
    }
    for queue in plan.dead_letter_queues.iter().filter(|queue| queue.service == service) {
        queues::remove(aws, &queue.name, &mut report).await?;
    }
    Ok(report)
}

impl Provisioned {
    fn created(&mut self, resource: impl Into<String>) {
        self.changes.push(Change::Created { resource: resource.into() });
    }

    fn updated(&mut self, resource: impl Into<String>, attribute: &'static str) {
        self.changes.push(Change::Updated { resource: resource.into(), attribute });
    }

    fn removed(&mut self, resource: impl Into<String>) {
        self.changes.push(Change::Removed { resource: resource.into() });
    }
}

impl fmt::Display for Provisioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        write!(f, "{} changes, {} resources as they should be", self.changes.len(), self.unchanged)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Created { resource } => write!(f, "created {resource}"),
            Change::Updated { resource, attribute } => {
                write!(f, "updated {attribute} of {resource}")
            }
            Change::Removed { resource } => write!(f, "removed {resource}"),
        }
    }
}

/// An error of the SDK as one of ours, naming the step.
fn failed<E>(
    action: &'static str,
    resource: &str,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> ProvisionError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    move |error| {
        let failure = Failure::of(&error);
        ProvisionError::Aws {
            action,
            resource: resource.into(),
            reason: failure.to_string(),
            retryable: failure.class == Class::Transient,
        }
    }
}

/// Whether two policies say the same: AWS may give JSON back in another order or spacing.
fn same_json(a: &str, b: &str) -> bool {
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(a).is_some_and(|a| Some(a) == parse(b))
}
