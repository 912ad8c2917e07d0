//! From the start of the process to its last invocation.

use std::fmt::Debug;

use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use crate::{Diagnostic, Error};

/// Makes a function, in a span `init`, and logs how many milliseconds that took.
///
/// What is made here is made once per process, outside of all invocations: build clients, pools and
/// consumers here, and let invocations share them. Nothing of fanfare's calls AWS here: queues, topics
/// and streams are computed, not looked up.
///
/// # Errors
/// That of `make`, as it is. Return it from `main`, as in the example of [the crate](crate): a process
/// that ends before it asks for events is to Lambda one whose initialisation failed.
pub async fn init<F>(make: impl Future<Output = Result<F, Error>>) -> Result<F, Error> {
    async {
        let start = Instant::now();
        let made = make.await;
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &made {
            Ok(_) => tracing::info!(ms, "initialised"),
            Err(error) => tracing::error!(ms, %error, "initialisation failed"),
        }
        made
    }
    .instrument(tracing::info_span!("init"))
    .await
}

/// Runs a function: takes its invocations from Lambda, one after another, for as long as the process
/// lives.
///
/// # Errors
/// At once if the function is not ready, as when its consumer has no handlers: returned from `main`,
/// that fails the initialisation, and not the first event. Later, if Lambda cannot be asked for events.
///
/// # Panics
/// Outside of Lambda: where its environment variables are missing (`AWS_LAMBDA_RUNTIME_API`,
/// `AWS_LAMBDA_FUNCTION_NAME`, `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, `AWS_LAMBDA_FUNCTION_VERSION`).
pub async fn run<E, F>(function: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<E>>,
    F::Response: Serialize,
    F::Error: Into<Diagnostic> + Debug,
    E: for<'de> Deserialize<'de>,
{
    lambda_runtime::run(ready(function).await?).await
}

/// As [`run`], with as many invocations side by side as Lambda says
/// (`AWS_LAMBDA_MAX_CONCURRENCY`, on Managed Instances); one after another if it says nothing.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
#[cfg(feature = "concurrency-tokio")]
pub async fn run_concurrent<E, F>(function: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<E>> + Clone + Send + 'static,
    F::Response: Serialize + Send + 'static,
    F::Error: Into<Diagnostic> + Debug,
    F::Future: Send + 'static,
    E: for<'de> Deserialize<'de> + Send + 'static,
{
    lambda_runtime::run_concurrent(ready(function).await?).await
}

/// The function, once it says that it can be called.
async fn ready<E, F>(mut function: F) -> Result<F, Error>
where
    F: Service<LambdaEvent<E>>,
    F::Error: Into<Diagnostic>,
{
    if let Err(error) = function.ready().await {
        let Diagnostic { error_type, error_message } = error.into();
        tracing::error!(error_type, error = error_message, "the function cannot work");
        return Err(error_message.into());
    }
    Ok(function)
}
