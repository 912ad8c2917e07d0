//! A function that is invoked for its own sake.

use std::{
    fmt,
    sync::Arc,
    task::{self, Poll},
};

use fanfare_core::{
    BoxFuture,
    telemetry::{FAAS_INVOCATION_ID, FAAS_TRIGGER, OTEL_KIND, OTEL_NAME},
};
use lambda_runtime::LambdaEvent;
use serde::{Serialize, de::IgnoredAny};
use serde_json::Value;
use tower::Service;
use tracing::Instrument;

use crate::{Deadline, Error, trace::traceparent};

/// What a task does.
type Work = Arc<dyn Fn(Deadline) -> BoxFuture<'static, Result<Value, Error>> + Send + Sync>;

/// A function that does the same whatever event it is invoked with; made by [`task()`].
#[derive(Clone)]
pub struct Task {
    work: Work,
}

/// A function that is scheduled, or invoked for its own sake: one that drains an outbox, or migrates a
/// database. Whatever the event is, `work` is done once, and what it gives is the function's answer.
///
/// Work that may not be done in time should end when its deadline is [reached](Deadline::reached).
/// Lambda ends the process that goes on until its time-out.
///
/// ```no_run
/// # async fn publish_waiting(stop: impl Future<Output = ()>) -> Result<usize, fanfare_lambda::Error> { Ok(0) }
/// # async fn example() -> Result<(), fanfare_lambda::Error> {
/// let relay = fanfare_lambda::task(async |deadline: fanfare_lambda::Deadline| {
///     publish_waiting(deadline.reached()).await
/// });
/// fanfare_lambda::run(relay).await
/// # }
/// ```
pub fn task<F, W, T, E>(work: F) -> Task
where
    F: Fn(Deadline) -> W + Send + Sync + 'static,
    W: Future<Output = Result<T, E>> + Send + 'static,
    T: Serialize,
    E: Into<Error>,
{
    let work: Work = Arc::new(move |deadline| {
        let running = work(deadline);
        Box::pin(async move {
            let output = running.await.map_err(Into::into)?;
            Ok(serde_json::to_value(output)?)
        })
    });
    Task { work }
}

impl Service<LambdaEvent<IgnoredAny>> for Task {
    type Response = Value;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Value, Error>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<IgnoredAny>) -> Self::Future {
        let context = event.context;
        let mut cause = fanfare_core::Context::default();
        cause.traceparent = context.xray_trace_id.as_deref().and_then(traceparent);
        let span = tracing::info_span!(
            "invoke",
            { OTEL_NAME } = context.env_config.function_name,
            { OTEL_KIND } = "server",
            { FAAS_INVOCATION_ID } = context.request_id,
            { FAAS_TRIGGER } = "other",
            trace_id = context.xray_trace_id.as_deref(),
        );
        let work = Arc::clone(&self.work);
        let deadline = Deadline::starting_now(context.deadline);
        Box::pin(cause.scope(async move { work(deadline).await }).instrument(span))
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}
