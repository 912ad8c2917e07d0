//! The stream, and the events that are put into it.

use std::time::Duration;

use anyhow::{Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::types::StreamStatus;
use fanfare::topology::{Bindings, Kinesis};
use fanfare::{EncodeError, Message, seal_event};

use crate::event::Placed;

/// The account that the simulator takes callers for.
pub(crate) const ACCOUNT: &str = "000000000000";

/// The topic of [`Placed`].
pub(crate) const TOPIC: &str = "orders";

/// Its stream, as [`bindings`] name it.
pub(crate) const STREAM: &str = "bench-orders";

/// For clients of the simulator at `url`; everything else is the SDK's default.
pub(crate) async fn config(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .endpoint_url(url)
        .load()
        .await
}

/// The topic on a stream of so many shards.
pub(crate) fn bindings(shards: u32, aggregated: bool) -> Bindings {
    let kinesis = Kinesis::shards(shards);
    let kinesis = if aggregated { kinesis.aggregated() } else { kinesis };
    Bindings::new("bench").topic(TOPIC, kinesis)
}

/// Creates the stream, and returns when it can be used.
pub(crate) async fn create(config: &SdkConfig, shards: u32) -> Result<()> {
    let kinesis = aws_sdk_kinesis::Client::new(config);
    let shards = i32::try_from(shards)?;
    kinesis.create_stream().stream_name(STREAM).shard_count(shards).send().await?;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let stream = kinesis.describe_stream_summary().stream_name(STREAM).send().await?;
        let summary = stream.stream_description_summary();
        if summary.is_some_and(|summary| *summary.stream_status() == StreamStatus::Active) {
            return Ok(());
        }
    }
    bail!("the stream does not become active")
}

/// How keys are spread over events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Each event has its own.
    Distinct,
    /// Of each 500 that follow one another, five at a time share one.
    HundredIn500,
}

/// Events from number 0 on, in their envelopes.
pub(crate) fn messages(count: u64, bytes: usize, keys: Keys) -> Result<Vec<Message>, EncodeError> {
    let message = |event| {
        let key = match keys {
            Keys::Distinct => event,
            Keys::HundredIn500 => event / 500 * 100 + event % 100,
        };
        seal_event("bench", &Placed::new(event, format!("order-{key:06}"), bytes))
    };
    (0..count).map(message).collect()
}
