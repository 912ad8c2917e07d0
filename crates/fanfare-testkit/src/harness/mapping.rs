//! Lambda's event source mappings: they read queues and streams, and invoke a function with what they
//! find, in this process.

mod queue;
mod stream;

use std::time::{Duration, SystemTime};

use fanfare_lambda::{Any, Context, Function, LambdaEvent};
use serde_json::{Value, json};
use tower::{Service, ServiceExt};
use uuid::Uuid;

pub(super) use queue::poll_queue;
pub(super) use stream::poll_stream;

/// How long a function may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Before what failed for no reason of the function's is tried again, and between two looks into a
/// shard.
const PAUSE: Duration = Duration::from_secs(1);

/// A function that can be invoked.
pub(super) struct Invoked(Function<Any>);

impl Invoked {
    /// The function, unless it cannot work.
    pub(super) async fn new(mut function: Function<Any>) -> Result<Self, String> {
        function.ready().await.map_err(|error| error.to_string())?;
        Ok(Invoked(function))
    }

    /// Invokes it with these records, and gives the identifiers that it reports; none if it fails as a
    /// whole.
    async fn invoke(&mut self, records: Vec<Value>) -> Option<Vec<String>> {
        let event = serde_json::from_value(json!({ "Records": records })).ok()?;
        let mut context = Context::default();
        context.request_id = Uuid::new_v4().to_string();
        let end = (SystemTime::now() + TIMEOUT).duration_since(SystemTime::UNIX_EPOCH).ok()?;
        context.deadline = u64::try_from(end.as_millis()).ok()?;
        let response = self.0.call(LambdaEvent::new(event, context)).await.ok()?;
        let failures = response.batch_item_failures.into_iter();
        Some(failures.map(|failure| failure.item_identifier).collect())
    }
}
