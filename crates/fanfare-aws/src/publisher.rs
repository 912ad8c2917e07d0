//! Publishing to SNS topics and Kinesis streams, and sending tasks to SQS queues.

mod delay;
mod lane;
mod left;
mod measured;
mod stream;
mod target;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fanfare_core::{
    Backoff, Destination, Message, PublishError, PublishReport, Publisher, RequestLimits,
    telemetry::{AWS_KINESIS, Channel},
};
use fanfare_topology::{Binding, Bindings, Kind};
use futures_util::future::join_all;

use crate::{
    Aws,
    limits::{BATCH_ENTRIES, SNS_BYTES, SQS_BYTES, STREAM_RECORDS, STREAM_REQUEST_BYTES},
};
use lane::Lane;
use measured::Measured;
use stream::{Stream, Streams};
use target::Target;

/// Tries per message before it is reported as not accepted: with the back-off below some 6 to 12
/// seconds where the answers come quickly.
const ATTEMPTS: u32 = 8;

/// How long after its first failure a message is still tried again: where each request times out,
/// all tries would take longer than a worker's lease on the message whose handler publishes.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between the tries of one message.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Batch requests of one call and destination that are under way at once.
const REQUESTS_AT_ONCE: usize = 4;

/// What became of the message at an index.
type Outcome = (usize, Result<(), PublishError>);

/// Publishes events to SNS topics and Kinesis streams, and tasks to SQS queues, in batches of as many
/// entries and bytes as the service takes: 10 entries, and 500 on a stream.
///
/// On a FIFO topic the message group is the event's key and the deduplication id its id. Because
/// the entries of a batch fail one by one, a batch there has at most one event of each key: what
/// follows it waits until it is accepted. Publishing many events of one key in one call costs a
/// request for each.
///
/// Where a topic or a service's tasks are [fair](fanfare_topology::Tenant), the message group is the
/// event's tenant. Tasks are delayed as [`Task::after`](fanfare_core::Task::after) says.
///
/// # Streams
///
/// An event is a record with the event's key as its partition key (a hash of it where it has over 256
/// characters, the event's id where it is empty) and the envelope as its data; both together have at
/// most 1 MiB. Message attributes do not travel: the type tag is in the envelope.
///
/// - *Order.* Of each key at most one record is under way; the key's later events wait until it is
///   accepted, and stay behind if it never is. An answer that was lost repeats events, in order.
/// - *Pace.* A shard takes 1 MiB and 1,000 records a second. What exceeds that waits, in the call, for
///   as long as it takes; other shards' events go on. Where a shard refuses all the same, as others
///   write to it too, its rate is halved and grows back. The rates are shared by clones: publish to a
///   stream by clones of one publisher.
/// - *Shards* are asked for (`kinesis:ListShards`) when a stream is first published to, and again when
///   an event lands in another one than expected.
/// - *Aggregated* streams ([`Kinesis::aggregated`](fanfare_topology::Kinesis::aggregated)) get the
///   events of one call that go to the same shard packed into records of up to 50 KiB, in the format
///   of the Kinesis Producer Library. 300-byte events take about 1/150 of the records, and all of a
///   key that fit share one, where else each would wait for the one before. A single event, or one
///   over 50 KiB, goes as it is. It pays where a call has many events: nothing is held back to wait
///   for more. If a shard is split or merged meanwhile, an aggregate that does not belong wholly to the
///   shard that took it counts as not accepted: its events are packed anew for the shards that are
///   there now, and consumers drop what is misplaced.
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
    streams: Arc<Streams>,
}

/// What carries a destination.
enum Carrier<'a> {
    Target(Target<'a>),
    Stream { stream: Arc<Stream>, aggregated: bool },
}

impl Carrier<'_> {
    /// As telemetry names it, and what it calls publishing.
    fn channel(&self) -> (Channel, &'static str) {
        match self {
            Carrier::Target(target) => target.channel(),
            Carrier::Stream { stream, .. } => (Channel::new(AWS_KINESIS, stream.name()), "put"),
        }
    }
}

impl AwsPublisher {
    /// A publisher for the topics and queues that `bindings` names.
    #[must_use]
    pub fn new(aws: Aws, bindings: Bindings) -> Self {
        AwsPublisher { aws, bindings, streams: Arc::default() }
    }

    fn carrier(&self, destination: &Destination) -> Carrier<'_> {
        let AwsPublisher { aws, bindings, streams } = self;
        match destination {
            Destination::Queue(service) => Carrier::Target(Target::queue(aws, bindings, service)),
            Destination::Topic(topic) => match bindings.binding(topic) {
                Binding::Sns(kind) => Carrier::Target(Target::topic(aws, bindings, topic, kind)),
                Binding::Kinesis(kinesis) => Carrier::Stream {
                    stream: streams.stream(aws, bindings.topic_name(topic)),
                    aggregated: kinesis.is_aggregated(),
                },
            },
        }
    }
}

impl Publisher for AwsPublisher {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let mut by_destination: BTreeMap<&Destination, Vec<usize>> = BTreeMap::new();
        for (index, message) in batch.iter().enumerate() {
            by_destination.entry(&message.destination).or_default().push(index);
        }
        let calls = by_destination.into_iter().map(|(destination, indices)| async move {
            let carrier = self.carrier(destination);
            let measured = Measured::new(carrier.channel(), batch, &indices);
            let publish = async {
                match carrier {
                    Carrier::Target(target) => Lane::new(target, batch, indices).run().await,
                    Carrier::Stream { stream, aggregated } => {
                        stream.publish(batch, indices, aggregated).await
                    }
                }
            };
            measured.run(publish).await
        });
        let mut outcomes = vec![Err(PublishError::Blocked); batch.len()];
        for (index, outcome) in join_all(calls).await.into_iter().flatten() {
            outcomes[index] = outcome;
        }
        PublishReport::new(outcomes)
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Queue(service) => self.bindings.task_kind(service) == Kind::Fifo,
            Destination::Topic(topic) => match self.bindings.binding(topic) {
                Binding::Sns(kind) => kind == Kind::Fifo,
                Binding::Kinesis(_) => true,
            },
        }
    }

    fn request_limits(&self, destination: &Destination) -> RequestLimits {
        match destination {
            Destination::Queue(_) => RequestLimits::new(BATCH_ENTRIES, SQS_BYTES),
            Destination::Topic(topic) => match self.bindings.binding(topic) {
                Binding::Sns(_) => RequestLimits::new(BATCH_ENTRIES, SNS_BYTES),
                Binding::Kinesis(stream) => {
                    let limits = RequestLimits::new(STREAM_RECORDS, STREAM_REQUEST_BYTES);
                    if stream.is_aggregated() { limits.repeating_keys() } else { limits }
                }
            },
        }
    }
}
