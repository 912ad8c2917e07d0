//! fanfare's consumers as AWS Lambda functions: the same router, the same handlers, another host.
//!
//! | to … | see |
//! |---|---|
//! | handle what an event source mapping reads from queues | [`sqs`] |
//! | handle what one reads from streams | [`kinesis`] |
//! | handle what a topic sends to the function itself | [`sns`] |
//! | handle whichever of them comes | [`any`] |
//! | do something on a schedule, or when invoked: drain an outbox, migrate | [`task()`] |
//! | build clients once, and run | [`init`], [`run`] |
//!
//! ```no_run
//! use fanfare_core::{Delivery, EventType, HandlerError, Router};
//!
//! # #[derive(EventType, serde::Deserialize)]
//! # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
//! # struct OrderPlaced {}
//! async fn reduce_stock(order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), fanfare_lambda::Error> {
//!     let function = fanfare_lambda::init(async {
//!         let products: Router = Router::new("products").on(reduce_stock);
//!         Ok(fanfare_lambda::any(products))
//!     });
//!     fanfare_lambda::run(function.await?).await
//! }
//! ```
//!
//! # What becomes of a delivery
//!
//! | outcome | a queue | a stream | a topic |
//! |---|---|---|---|
//! | handled, a duplicate, ignored | Lambda deletes it | Lambda goes on | done |
//! | failed, or not begun in time | reported: it comes again after the queue's visibility time-out, or as [`redelivery`](Function::redelivery) says | reported: Lambda goes on from the first such record | the invocation fails: Lambda invokes it again with the same message |
//! | rejected, undecodable, unknown, its attempts used up, with [`dead_letters`](Function::dead_letters) | put there with its reason, then as handled | likewise | likewise |
//! | the same, without dead letters | reported as failed, until the queue's redrive policy moves it to its dead-letter queue | reported as failed, until the mapping's retries or the record's age are used up and its on-failure destination gets the place of it | the invocation fails, until Lambda's retries are used up and the function's on-failure destination gets it |
//!
//! A mapping of a queue or a stream must have `FunctionResponseTypes=["ReportBatchItemFailures"]`:
//! without it Lambda ignores what is reported, and takes everything for handled.
//!
//! # Time
//!
//! A function has until its time-out, which Lambda tells with each invocation. Nothing is begun in the
//! last fifth of what is left when it starts, and no less than in its last second (in the last half, if
//! less than two seconds are left then). Handlers that still run when a twentieth is left, no less than
//! 200 ms and no more than a second, are abandoned. What has no outcome then is reported as failed: one
//! slow handler does not take its neighbours' results along.

mod base64;
mod batch;
mod deadline;
mod error;
mod event;
mod function;
mod init;
mod kinesis;
mod memory;
mod readers;
mod reported;
mod response;
mod sns;
mod source;
mod sqs;
mod task;
mod trace;

pub use deadline::Deadline;
pub use error::InvocationError;
pub use event::Event;
pub use function::{Function, any, kinesis, sns, sqs};
#[cfg(feature = "concurrency-tokio")]
pub use init::run_concurrent;
pub use init::{init, run};
pub use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent};
pub use response::{ItemFailure, Response};
pub use source::{Any, Kinesis, Sns, Source, Sqs};
pub use task::{Task, task};
