//! A consumer as a function.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{self, Poll},
};

use fanfare_core::{
    BoxFuture, Consumer, ConsumerError, DeadLetters, DynDeadLetters, DynRedelivery, Redelivery,
    telemetry::{
        BATCH_MESSAGE_COUNT, CONSUMER_GROUP_NAME, DESTINATION_NAME, FAAS_INVOCATION_ID,
        FAAS_TRIGGER, OTEL_KIND, OTEL_NAME, SYSTEM,
    },
};
use lambda_runtime::LambdaEvent;
use tower::Service;
use tracing::Instrument;

use crate::{
    Deadline, Error, Event, InvocationError, Response, batch,
    memory::Memory,
    readers::Readers,
    reported::Reported,
    source::{self, Any, Kinesis, Sns, Source, Sqs},
};

/// Handlers that run at once in one invocation, unless it is told otherwise: SQS's batch, unless the
/// mapping is told otherwise.
const CONCURRENCY: usize = 10;

/// What runs after each batch.
type After = Arc<dyn Fn(Deadline) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// A consumer as a Lambda function that takes events of `S`: a [`tower::Service`] for [`run`](crate::run).
/// Clones share everything, and may run side by side.
///
/// It needs a deadline in the invocation's [`Context`](crate::Context), as Lambda gives it: in a
/// context that was made with `Default` all time is up, and everything is reported as failed.
pub struct Function<S> {
    host: Arc<Host>,
    source: PhantomData<fn(S)>,
}

/// What all invocations share.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) consumer: Consumer,
    pub(crate) readers: Arc<Readers>,
    checked: Result<(), ConsumerError>,
    pub(crate) concurrency: usize,
    pub(crate) dead_letters: Arc<dyn DynDeadLetters>,
    pub(crate) redelivery: Option<Arc<dyn DynRedelivery>>,
    pub(crate) after: Option<After>,
    pub(crate) memory: Arc<Memory>,
}

/// A function that handles messages of queues, for an event source mapping with
/// `ReportBatchItemFailures`: what is not acknowledged is reported, and comes again.
///
/// On a FIFO queue a group stops at its first failure, and all that is behind it in the batch is
/// reported too, so that the order holds; other groups in the batch go on.
pub fn sqs(consumer: impl Into<Consumer>) -> Function<Sqs> {
    Function::new(consumer)
}

/// A function that handles records of streams, for an event source mapping with
/// `ReportBatchItemFailures`. Events of one key are handled in order. Aggregates of the Kinesis
/// Producer Library are taken apart.
///
/// Lambda takes one place to go on from: the first record that was not handled. What was handled
/// behind it comes again, and is passed over by the process that handled it, but not by another: so give
/// the consumer an inbox or an idempotency store. Events of families that nobody here handles are let go,
/// as a stream brings every event of its topic.
///
/// Lambda does not say how often it has tried, so failures are counted here, in memory:
/// [`Metadata::attempt`](fanfare_core::Metadata::attempt) is how often this process has tried the record,
/// and the [`Retry`](fanfare_core::Retry) ends it, with its reason, where one process sees it so often.
/// Another process counts anew. Always set the mapping's `MaximumRetryAttempts` or
/// `MaximumRecordAgeInSeconds` too, or a record that ends every process stops its shard until it leaves
/// the stream.
///
/// An aggregate that was packed before its stream was resharded may be in a shard that does not own
/// all of its events. fanfare's stream worker leaves those out, because its producer sends them again;
/// here the hash range of a shard is not known without a call, so around a reshard they are handled
/// twice, unless an inbox or an idempotency store knows them.
pub fn kinesis(consumer: impl Into<Consumer>) -> Function<Kinesis> {
    Function::new(consumer)
}

/// A function that handles messages of topics that it is subscribed to itself.
///
/// There is no report of parts here: if anything was not acknowledged the invocation fails, Lambda
/// invokes it again with the same message (twice, after one and two minutes, unless it is told
/// otherwise), and gives it to the function's on-failure destination at last. A queue between topic
/// and function keeps messages longer, and retries as the consumer says.
pub fn sns(consumer: impl Into<Consumer>) -> Function<Sns> {
    Function::new(consumer)
}

/// A function that handles what comes from queues, streams and topics alike: see [`sqs`], [`kinesis`]
/// and [`sns`]. An event from elsewhere is an error that says so.
pub fn any(consumer: impl Into<Consumer>) -> Function<Any> {
    Function::new(consumer)
}

impl<S> Function<S> {
    fn new(consumer: impl Into<Consumer>) -> Self {
        let consumer = consumer.into();
        let host = Host {
            checked: consumer.check(),
            readers: Arc::default(),
            consumer,
            concurrency: CONCURRENCY,
            dead_letters: Arc::new(Reported),
            redelivery: None,
            after: None,
            memory: Arc::default(),
        };
        Function { host: Arc::new(host), source: PhantomData }
    }

    /// How many handlers run at once in one invocation, at least 1; the default is 10.
    #[must_use]
    pub fn concurrency(self, deliveries: usize) -> Self {
        self.with(|host| host.concurrency = deliveries)
    }

    /// Where deliveries go that can never be handled, with their reason; they are acknowledged then.
    /// Without it they are reported as failed, until their source gives them up: see the table of
    /// [the crate](crate#what-becomes-of-a-delivery).
    #[must_use]
    pub fn dead_letters(self, to: impl DeadLetters + 'static) -> Self {
        self.with(|host| host.dead_letters = Arc::new(to))
    }

    /// Runs `task` after each batch, when everything in it has its outcome, with the time that is
    /// left: to drain an outbox after the commits of the batch, say. Lambda freezes the process when
    /// it has its answer, so what is spawned instead may wait for the next invocation.
    ///
    /// Its error is logged and fails nothing: the batch is done. It should end when the deadline is
    /// [reached](Deadline::reached), and is abandoned when half of what was left then is over.
    #[must_use]
    pub fn after<F, T, E>(self, task: F) -> Self
    where
        F: Fn(Deadline) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Error>,
    {
        let after: After = Arc::new(move |deadline| {
            let running = task(deadline);
            Box::pin(async move { running.await.map_err(Into::into) })
        });
        self.with(|host| host.after = Some(after))
    }

    fn with(mut self, change: impl FnOnce(&mut Host)) -> Self {
        change(Arc::make_mut(&mut self.host));
        self
    }
}

/// What queues understand.
macro_rules! redelivery {
    ($($source:ty)+) => {$(
        impl Function<$source> {
            /// Tells the queue when a failed message is to come again, and those that wait behind it in
            /// its group: as its handler says, or with a growing delay (see [`Consumer::retry`]). Without
            /// it they come when the visibility time-out of the queue is over, all alike.
            ///
            /// It costs one request for ten messages that failed, and is for the queue that the mapping
            /// reads: the function needs the permission `sqs:ChangeMessageVisibility` on it.
            #[must_use]
            pub fn redelivery(self, queue: impl Redelivery + 'static) -> Self {
                self.with(|host| host.redelivery = Some(Arc::new(queue)))
            }
        }
    )+};
}
redelivery! { Sqs Any }

impl<S: Source> Service<LambdaEvent<Event>> for Function<S> {
    type Response = Response;
    type Error = InvocationError;
    type Future = BoxFuture<'static, Result<Response, InvocationError>>;

    /// Fails if the consumer cannot work as it was put together.
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), InvocationError>> {
        Poll::Ready(self.host.checked.clone().map_err(InvocationError::from))
    }

    fn call(&mut self, event: LambdaEvent<Event>) -> Self::Future {
        let host = Arc::clone(&self.host);
        Box::pin(async move {
            let LambdaEvent { payload, context, .. } = event;
            let deadline = Deadline::starting_now(context.deadline);
            let Some(batch) = source::read::<S>(payload)? else { return Ok(Response::default()) };
            let consumer = host.readers.reader(&host.consumer, &batch);
            let channel = consumer.channel();
            let span = tracing::info_span!(
                "invoke",
                { OTEL_NAME } = context.env_config.function_name,
                { OTEL_KIND } = "server",
                { FAAS_INVOCATION_ID } = context.request_id,
                { FAAS_TRIGGER } = "pubsub",
                trace_id = context.xray_trace_id.as_deref(),
                { SYSTEM } = channel.system(),
                { DESTINATION_NAME } = channel.destination(),
                { CONSUMER_GROUP_NAME } = channel.consumer_group(),
                { BATCH_MESSAGE_COUNT } = batch.deliveries.len(),
            );
            batch::handle(&host, &consumer, batch, &context, deadline).instrument(span).await
        })
    }
}

impl<S> Clone for Function<S> {
    fn clone(&self) -> Self {
        Function { host: Arc::clone(&self.host), source: PhantomData }
    }
}

impl<S> fmt::Debug for Function<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("consumer", &self.host.consumer).finish_non_exhaustive()
    }
}
