//! The simulator as its users hold it.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use aws_types::region::Region;
use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::engine::Engine;
use crate::engine::arn::{queue_arn, stream_arn};
use crate::error::AwsError;
use crate::faults::{Fault, RandomFaults, refusal};
use crate::observe::{QueueStats, StoredMessage, StoredRecord};
use crate::requests::Requests;
use crate::wire::{self, Body, Call, Context, DEFAULT_ACCOUNT, DEFAULT_REGION, Service};
use crate::{kinesis, sns, sqs};

/// SNS, SQS and Kinesis in the process. Clones are handles to the same queues, topics and streams,
/// which live as long as one of them.
#[derive(Debug, Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    engine: Mutex<Engine>,
    changes: watch::Sender<u64>,
    /// Ends the long polls and subscriptions that wait now, when a server shuts down.
    pub(crate) drain: Arc<Notify>,
}

/// The connection broke before an answer arrived: an injected [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection broke (an injected fault)")]
pub struct BrokenConnection;

impl Default for Sim {
    fn default() -> Self {
        Self::new()
    }
}

impl Sim {
    /// An empty simulator without faults.
    pub fn new() -> Self {
        let changes = watch::Sender::new(0);
        let engine = Mutex::new(Engine::new(changes.clone()));
        Self { shared: Arc::new(Shared { engine, changes, drain: Arc::default() }) }
    }

    /// The client to put into an SDK's configuration: its requests never leave the process.
    pub fn http_client(&self) -> SharedHttpClient {
        wire::http_client(self.clone())
    }

    /// A configuration for SDK clients on this simulator: region `us-east-1`, account
    /// `000000000000`, the simulator's time of day, the SDK's own retries and time-outs as they are by
    /// default.
    pub fn sdk_config(&self) -> SdkConfig {
        let credentials = Credentials::from_keys("test", "test", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(DEFAULT_REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url("http://sim.localhost") // never dialled
            .http_client(self.http_client())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(SharedTimeSource::new(self.shared.lock().clock.clone()))
            .build()
    }

    /// Answers one request, as the services would on their endpoint.
    ///
    /// Never resolves under [`Fault::Hang`]. Dropping the future of a waiting long poll is safe.
    ///
    /// # Errors
    ///
    /// [`BrokenConnection`] where an injected fault breaks the connection instead of answering.
    pub async fn handle(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, BrokenConnection> {
        if wire::is_health_probe(&request) {
            return Ok(wire::health().map(Body::from));
        }
        let request_id = self.shared.lock().uuid();
        let call = match wire::read(request) {
            Ok(call) => call,
            Err((protocol, error)) => {
                return Ok(protocol.error(&error, &request_id).map(Body::from));
            }
        };
        let fault = {
            let mut engine = self.shared.lock();
            engine.requests.add(call.service, &call.action);
            engine.faults.next(&call.action)
        };
        let lost = fault == Some(Fault::LoseAnswer);
        match fault {
            Some(Fault::BreakConnection) => return Err(BrokenConnection),
            Some(Fault::Hang) => std::future::pending().await,
            _ => {}
        }
        let outcome =
            match fault.as_ref().and_then(|fault| refusal(fault, call.service, &call.action)) {
                Some(error) => Err(error),
                None => self.perform(&call, fault).await,
            };
        if lost {
            return Err(BrokenConnection);
        }
        Ok(call.answer(outcome, &request_id))
    }

    async fn perform(&self, call: &Call, fault: Option<Fault>) -> Result<Body, AwsError> {
        let ctx = Context {
            caller: call.caller.clone(),
            fail_entry: match fault {
                Some(Fault::FailEntry(index)) => Some(index),
                _ => None,
            },
            expired: matches!(fault, Some(Fault::ExpireReceipts | Fault::ExpireIterator)),
        };
        let (sim, action, body) = (&self.shared, &call.action, &call.body);
        match call.service {
            Service::Sqs => sqs::call(sim, &ctx, action, body).await.map(Body::from),
            Service::Sns => sns::call(sim, &ctx, action, body).map(Body::from),
            Service::Kinesis => kinesis::call(sim, &ctx, action, body),
        }
    }

    /// Serves the simulator on a listener until `shutdown` completes; then accepts nothing more,
    /// ends waiting long polls, answers what it has begun, and returns.
    ///
    /// # Errors
    ///
    /// What the listener reports when it can accept no more.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        wire::serve(self.clone(), listener, shutdown).await
    }

    /// How many calls arrived so far.
    pub fn requests(&self) -> Requests {
        self.shared.lock().requests.clone()
    }

    /// What a queue of the default account and region holds; `None` if there is no such queue.
    pub fn queue_stats(&self, queue_name: &str) -> Option<QueueStats> {
        self.inspect(queue_name, QueueStats::of)
    }

    /// All messages of a queue of the default account and region, visible or not, oldest arrival
    /// first; none if there is no such queue.
    pub fn messages(&self, queue_name: &str) -> Vec<StoredMessage> {
        self.inspect(queue_name, StoredMessage::all_of).unwrap_or_default()
    }

    /// All records of a stream of the default account and region, shard by shard in the order of
    /// their numbers, oldest first in each; none if there is no such stream.
    pub fn stream_records(&self, stream_name: &str) -> Vec<StoredRecord> {
        let mut engine = self.shared.lock();
        let now = engine.clock.now();
        let arn = stream_arn(DEFAULT_REGION, DEFAULT_ACCOUNT, stream_name);
        let stream = kinesis::open(&mut engine.streams, &arn, now);
        stream.map_or_else(|_| Vec::new(), |stream| StoredRecord::all_of(stream))
    }

    /// A version that grows whenever a call or a move task changes the contents of some queue or
    /// stream. What only time changes (a visibility timeout or a retention period that ends) is not
    /// announced.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Lets the next call of `action` (`SendMessage`, `PutRecords`, …) suffer a fault. Several
    /// for one action befall its calls in turn.
    pub fn inject(&self, action: &str, fault: Fault) {
        self.shared.lock().faults.inject(action, fault);
    }

    /// Draws faults at random from now on, or stops that.
    pub fn set_faults(&self, faults: Option<RandomFaults>) {
        self.shared.lock().faults.set_random(faults);
    }

    fn inspect<T>(&self, name: &str, look: impl FnOnce(&sqs::Queue) -> T) -> Option<T> {
        let mut engine = self.shared.lock();
        let queue = engine.queues.get_mut(&queue_arn(DEFAULT_REGION, DEFAULT_ACCOUNT, name))?;
        queue.advance(Instant::now());
        Some(look(queue))
    }

    pub(crate) fn end_long_polls(&self) {
        self.shared.drain.notify_waiters();
    }
}

impl Shared {
    /// The state. Never held across an await; a panic under it leaves it as it was at that point.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
