//! SNS, SQS and Kinesis in the process, below the AWS SDK.
//!
//! [`Sim`] answers the services' own wire protocols, so that with [`Sim::http_client`] in an SDK's
//! configuration every line of the caller runs as it does against AWS, without a socket. The same
//! engine can listen on a port ([`Sim::serve`], or `cargo run -p fanfare-sim -- --port 4566`) for
//! other processes and languages.
//!
//! The rule is that it **never succeeds where AWS fails**: quotas, sizes, characters, filter
//! policies, queue policies, FIFO rules, redrive, partial batch failures and the limits of a shard
//! are AWS's, and an operation that is not simulated is refused in AWS's own shape. Faults can be injected, one by
//! one ([`Sim::inject`]) or at random from a seed ([`Sim::set_faults`]).
//!
//! All time is tokio's clock. Under paused time (`#[tokio::test(start_paused = true)]`) visibility
//! timeouts, delays, long polls, the deduplication window, retention, a shard's limits per second and
//! the life of an iterator take no real time at all.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use fanfare_sim::Sim;
//!
//! let sim = Sim::new();
//! let sqs = aws_sdk_sqs::Client::new(&sim.sdk_config());
//! let queue = sqs.create_queue().queue_name("orders").send().await.unwrap();
//! let url = queue.queue_url().unwrap();
//! sqs.send_message().queue_url(url).message_body("hello").send().await.unwrap();
//!
//! assert_eq!(sim.queue_stats("orders").unwrap().visible, 1);
//! assert_eq!(sim.messages("orders")[0].body, "hello");
//! assert_eq!(sim.requests().count("SendMessage"), 1);
//! # }
//! ```
//!
//! # Kinesis
//!
//! Streams, provisioned and on demand, with their shards: put, read with iterators or with enhanced
//! fan-out, split, merge and scale, in the shards' lineage as AWS keeps it. What AWS does and does not
//! promise in numbers is decided like this:
//!
//! - A stream is `CREATING`, `UPDATING` or `DELETING` for half a second, on AWS for half a minute. A
//!   reshard takes effect at its end; until then records go to the old shards.
//! - A shard's limits are token buckets of one second's worth: 1,000 records and 1 MiB go in at once,
//!   then as many a second; five reads, then one every 200 ms. On-demand streams have the same limits
//!   per shard, and are not scaled by their load.
//! - Of a `PutRecords` each record is judged by itself, in the order of the request: a later one of a key
//!   may be stored where an earlier one was refused.
//! - The answer that reaches the end of a closed shard has the last records, no next iterator and the
//!   children, together.
//! - What manages streams may be called as often a second as AWS says, per account and region.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # use aws_sdk_kinesis::primitives::Blob;
//! # let sim = fanfare_sim::Sim::new();
//! let kinesis = aws_sdk_kinesis::Client::new(&sim.sdk_config());
//! kinesis.create_stream().stream_name("orders").shard_count(2).send().await.unwrap();
//! tokio::time::sleep(std::time::Duration::from_secs(1)).await; // until it is active
//! let put = kinesis.put_record().stream_name("orders").partition_key("o-1");
//! put.data(Blob::new("placed")).send().await.unwrap();
//!
//! assert_eq!(sim.stream_records("orders")[0].data, "placed");
//! # }
//! ```
//!
//! # What it is not
//!
//! SQS speaks AWS JSON 1.0 only, as all current SDKs do; the older Query protocol of SQS is
//! refused. SNS delivers to SQS only. Kinesis speaks AWS JSON 1.1, without CBOR, and HTTP/1.1 on the
//! port; records over 1 MiB (`UpdateMaxRecordSize`), channels, resource policies, warm throughput and
//! shard-level metrics are not there. Signatures are not checked, except that there must be one:
//! its access key is the account if it is 12 digits (`000000000000` otherwise), its scope the
//! region. Identity policies, encryption and metrics are not simulated; queue policies are.

mod clock;
mod engine;
mod error;
mod faults;
mod kinesis;
mod observe;
mod requests;
mod sim;
mod sns;
mod sqs;
mod wire;

pub use engine::content::{Attribute, AttributeValue};
pub use faults::{Fault, RandomFaults};
pub use observe::{QueueStats, StoredMessage, StoredRecord};
pub use requests::Requests;
pub use sim::{BrokenConnection, Sim};
pub use wire::Body;
