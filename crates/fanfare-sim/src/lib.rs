//! SNS and SQS in the process, below the AWS SDK.
//!
//! [`Sim`] answers the services' own wire protocols, so that with [`Sim::http_client`] in an SDK's
//! configuration every line of the caller runs as it does against AWS, without a socket. The same
//! engine can listen on a port ([`Sim::serve`], or `cargo run -p fanfare-sim -- --port 4566`) for
//! other processes and languages.
//!
//! The rule is that it **never succeeds where AWS fails**: quotas, sizes, characters, filter
//! policies, queue policies, FIFO rules, redrive and partial batch failures are AWS's, and an
//! operation that is not simulated is refused in AWS's own shape. Faults can be injected, one by
//! one ([`Sim::inject`]) or at random from a seed ([`Sim::set_faults`]).
//!
//! All time is tokio's clock. Under paused time (`#[tokio::test(start_paused = true)]`) visibility
//! timeouts, delays, long polls, the deduplication window and retention take no real time at all.
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
//! # What it is not
//!
//! SQS speaks AWS JSON 1.0 only, as all current SDKs do; the older Query protocol of SQS is
//! refused. SNS delivers to SQS only. Signatures are not checked, except that there must be one:
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
