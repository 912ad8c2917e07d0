//! fanfare on AWS: SNS topics fanned out to SQS queues, and Kinesis streams.
//!
//! | to … | see |
//! |---|---|
//! | connect | [`Aws`] |
//! | publish | [`AwsPublisher`], under a [`fanfare_core::Emitter`] |
//! | fill batches across concurrent callers | [`BufferedPublisher`], around it |
//! | consume a queue for ever | [`Worker`], [`Workers`] for several |
//! | consume a stream for ever | [`StreamWorker`] |
//! | remember in DynamoDB what was handled (feature `dynamodb`) | `DynamoIdempotencyStore` |
//! | keep large payloads in S3 (feature `s3`) | `S3ClaimCheck` |
//! | wake a relay that is a Lambda function (feature `lambda`; of the crate `fanfare`, `relay-function`) | `RelayFunction` |
//! | create topics, queues and subscriptions; remove a service's | [`provision`], [`retire`] |
//!
//! The SDK's own retries are switched off: there is one retry layer, here, because it has to
//! handle single entries of a batch anyway. Nothing is looked up when a service starts: names,
//! ARNs and URLs are computed from the account, the Region and the
//! [`Bindings`](fanfare_topology::Bindings).

mod aws;
mod buffered;
mod dead_letters;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod failure;
mod limits;
mod provision;
mod publisher;
mod queue;
#[cfg(feature = "lambda")]
mod relay_function;
#[cfg(feature = "s3")]
mod s3;
mod signals;
mod stream;
mod worker;

pub use aws::{Aws, ConfigError};
pub use buffered::BufferedPublisher;
pub use dead_letters::Parked;
#[cfg(feature = "dynamodb")]
pub use dynamodb::{DynamoError, DynamoIdempotencyStore};
pub use provision::{Change, ProvisionError, Provisioned, deprovision, provision, retire};
pub use publisher::AwsPublisher;
pub use queue::Queue;
#[cfg(feature = "lambda")]
pub use relay_function::{RelayFunction, WakeError};
#[cfg(feature = "s3")]
pub use s3::S3ClaimCheck;
pub use signals::interrupted;
pub use stream::{Hold, StartAt, Stream, StreamWorker, StreamWorkerError};
pub use worker::{Health, HealthProbe, Worker, WorkerError, Workers, WorkersError};
