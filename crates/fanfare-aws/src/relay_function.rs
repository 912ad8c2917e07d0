//! Waking a relay that is a Lambda function.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_lambda::{Client, types::InvocationType};
use aws_smithy_types::Blob;
use tokio::sync::Mutex;

use crate::{
    Aws,
    failure::{Class, Failure},
};

/// A relay that is a Lambda function: it drains the outbox when it is invoked, by a schedule or by
/// [`wake`](Self::wake). Made by [`Aws::relay_function`]. Clones share what is under way. With the
/// feature `lambda`, which the crate `fanfare` calls `relay-function`.
///
/// The caller needs the right `lambda:InvokeFunction` on the function.
///
/// ```no_run
/// # use fanfare_aws::Aws;
/// # use fanfare_topology::Bindings;
/// # async fn example(aws: &Aws, bindings: &Bindings) {
/// let relay = aws.relay_function(bindings, "orders");
/// // … once the transaction that recorded events has been committed:
/// if let Err(error) = relay.wake().await {
///     tracing::warn!(%error, "the relay was not woken");
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RelayFunction {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    name: Arc<str>,
    /// How many have asked.
    asked: AtomicU64,
    sent: Mutex<Sent>,
}

/// The last invocation.
#[derive(Debug)]
struct Sent {
    /// How many had asked before it was sent.
    covers: u64,
    result: Result<(), WakeError>,
}

/// A relay function was not invoked. Nothing is lost: what was recorded waits in the outbox until the
/// function's schedule or the next wake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WakeError {
    /// The function is not there.
    #[error(
        "function `{function}` is missing in this account and Region: deploy the service's relay, or do not wake it"
    )]
    Missing {
        /// The function.
        function: Arc<str>,
    },
    /// The credentials do not allow it.
    #[error(
        "invoking function `{function}` is denied: allow lambda:InvokeFunction on it ({said}); its schedule publishes what waits"
    )]
    Denied {
        /// The function.
        function: Arc<str>,
        /// What Lambda said.
        said: String,
    },
    /// Throttled or unavailable: it passes by itself.
    #[error(
        "function `{function}` cannot be invoked right now ({said}): its schedule publishes what waits"
    )]
    Unavailable {
        /// The function.
        function: Arc<str>,
        /// What Lambda said, or what broke on the way.
        said: String,
    },
    /// Lambda refuses the request.
    #[error("function `{function}` cannot be invoked ({said}): its schedule publishes what waits")]
    Refused {
        /// The function.
        function: Arc<str>,
        /// What Lambda said.
        said: String,
    },
}

impl WakeError {
    fn of(function: &Arc<str>, failure: &Failure) -> Self {
        let (function, said) = (Arc::clone(function), failure.to_string());
        match failure.class {
            Class::NotFound => WakeError::Missing { function },
            Class::Denied => WakeError::Denied { function, said },
            Class::Transient => WakeError::Unavailable { function, said },
            Class::Refused => WakeError::Refused { function, said },
        }
    }

    /// Whether the same may succeed later without anybody's doing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, WakeError::Unavailable { .. })
    }
}

impl RelayFunction {
    pub(crate) fn new(aws: &Aws, name: String) -> Self {
        let sent = Mutex::new(Sent { covers: 0, result: Ok(()) });
        let (client, name, asked) = (aws.lambda(), name.into(), AtomicU64::new(0));
        RelayFunction { inner: Arc::new(Inner { client, name, asked, sent }) }
    }

    /// Its name on AWS.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Invokes it and does not wait for what it does: call this after the commit. One request at a
    /// time: all who ask while one is under way share the next. They do not share the one that is under
    /// way, because its function may have looked into the outbox before they committed.
    ///
    /// It is tried once, for up to 10 seconds; what comes of that should fail no commit.
    ///
    /// # Errors
    /// [`WakeError`]: no harm but a delay, as the function's schedule comes anyway.
    pub async fn wake(&self) -> Result<(), WakeError> {
        let Inner { asked, sent, .. } = &*self.inner;
        let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut sent = sent.lock().await;
        if sent.covers < number {
            let covers = asked.load(Ordering::SeqCst);
            let result = self.invoke().await;
            *sent = Sent { covers, result };
        }
        sent.result.clone()
    }

    async fn invoke(&self) -> Result<(), WakeError> {
        let Inner { client, name, .. } = &*self.inner;
        let request = client
            .invoke()
            .function_name(&**name)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new("{}"));
        let sent = request.send().await;
        sent.map(drop).map_err(|error| WakeError::of(name, &Failure::of(&error)))
    }
}
