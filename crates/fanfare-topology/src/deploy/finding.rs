//! What is wrong with a deployment.

use std::fmt;

use super::limits;
use crate::TopologyError;

/// What AWS would refuse, or accept and punish later. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// The topology itself cannot exist.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A setting is outside of what AWS accepts, or recommends.
    #[error("{of}: {setting} is {value} {unit}: choose {least} to {most}")]
    OutOfRange {
        /// The function or service.
        of: String,
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// The least that can be chosen.
        least: u64,
        /// The most.
        most: u64,
        /// What all three count.
        unit: &'static str,
    },
    /// A message would come a second time while a throttled or slow function is still at it.
    #[error(
        "the queues of `{service}` keep a message invisible for {visibility} s: give them at least {least} s, 6 times the time-out of their function and its window, or leave it out"
    )]
    ShortVisibility {
        /// The service.
        service: String,
        /// What is set, in seconds.
        visibility: u64,
        /// What it has to be, in seconds.
        least: u64,
    },
    /// A dead letter keeps the time of its first enqueuing, and so would be gone soon or at once.
    #[error(
        "the dead-letter queues of `{service}` keep messages for {dead_letters} s, its queues for {retention} s: let dead letters be kept longer (14 days is the most), or messages shorter"
    )]
    ShortDeadLetterRetention {
        /// The service.
        service: String,
        /// Seconds for which a dead letter is kept.
        dead_letters: u64,
        /// Seconds for which a message is kept.
        retention: u64,
    },
    /// A message that never succeeds would be gone before it is a dead letter.
    #[error(
        "a message of `{service}` that kills its consumer needs {needed} s to become a dead letter ({receives} receives), and is kept for {retention} s: fewer receives, a shorter time-out or a longer retention"
    )]
    ExpiresFirst {
        /// The service.
        service: String,
        /// Seconds until it has been received so often.
        needed: u64,
        /// How often it is received at most.
        receives: u64,
        /// Seconds for which it is kept.
        retention: u64,
    },
    /// FIFO queues give small batches only.
    #[error(
        "the function of `{service}` takes batches of {batch_size} from a FIFO queue: 10 is the most"
    )]
    FifoBatch {
        /// The service.
        service: String,
        /// Messages in a batch.
        batch_size: u32,
    },
    /// FIFO queues do not gather batches.
    #[error("the function of `{service}` has a batching window and a FIFO queue: leave it out")]
    FifoWindow {
        /// The service.
        service: String,
    },
    /// Only a batch that is gathered may be large.
    #[error(
        "the function of `{service}` takes batches of {batch_size} without gathering them: give it a batching_window of 1 s at least, or a batch_size of 10 at most"
    )]
    BatchWithoutWindow {
        /// The service.
        service: String,
        /// Messages in a batch.
        batch_size: u32,
    },
    /// A record would be gone from the stream before it is given up: nothing tells of it then.
    #[error(
        "the function of `{service}` tries records for {age} s, and the stream `{stream}` keeps them for {retention} s: let it give up earlier"
    )]
    RecordsExpire {
        /// The service.
        service: String,
        /// The stream's name on AWS.
        stream: String,
        /// Seconds for which a record is tried.
        age: u64,
        /// Seconds for which it is kept.
        retention: u64,
    },
    /// A name does not fit a function.
    #[error(
        "`{name}` is no name for a function: letters, digits, `-` and `_`, at most {} characters",
        limits::FUNCTION_NAME
    )]
    FunctionName {
        /// The name that was computed.
        name: String,
    },
    /// A name does not fit a bucket.
    #[error(
        "`{name}` is no name for a bucket: lower-case letters, digits and `-`, at most {} characters; let the system's name be shorter",
        limits::BUCKET_NAME
    )]
    BucketName {
        /// The name that was computed, in the Region with the longest name.
        name: String,
    },
    /// A message would come, or come back from a dead-letter queue, when its payload is gone.
    #[error(
        "payloads are kept for {days} days, and messages that point to them for up to {least}, dead-letter queues included: keep payloads for {least} days at least, or messages shorter"
    )]
    ShortPayloads {
        /// Days for which payloads are kept.
        days: u32,
        /// Days for which they have to be.
        least: u64,
    },
    /// Two resources would have one id in the template, or one name on AWS.
    #[error("two resources would be called `{name}`: rename a service or topic")]
    SameName {
        /// The id or name.
        name: String,
    },
    /// A function has nothing to consume.
    #[error(
        "`{service}` has a function, but no queue and no stream: declare a service with handlers of this name, or leave the function out"
    )]
    NothingToConsume {
        /// The service.
        service: String,
    },
    /// Settings or a task's receiver name a queue that nobody has.
    #[error("`{of}` names the service `{service}`, which has no queue")]
    NoQueue {
        /// What names it.
        of: String,
        /// The service.
        service: String,
    },
    /// A function publishes to a topic that nobody declared.
    #[error(
        "the function of `{service}` publishes to `{topic}`, which is not declared: add .topic(\"{topic}\", …) to the topology"
    )]
    UnknownTopic {
        /// The service.
        service: String,
        /// The topic.
        topic: String,
    },
    /// Something has more of something than AWS takes.
    #[error("{what} of `{of}` is {size}, at most {most} is accepted: {advice}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// What it belongs to.
        of: String,
        /// How large it is: a policy at its longest, in the Region with the longest ARNs.
        size: usize,
        /// How large it may be.
        most: usize,
        /// What to do.
        advice: &'static str,
    },
}

/// A deployment with findings: there is no template for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// All that is wrong, at least one.
    pub findings: Vec<Finding>,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this cannot be deployed as it is:")?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}
