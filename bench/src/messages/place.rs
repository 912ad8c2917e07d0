//! The topic, and the queue behind it.

use std::time::Duration;

use anyhow::Result;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;
use fanfare::aws::{Aws, AwsPublisher, provision};
use fanfare::topology::{Bindings, Kind, Topology};
use fanfare::{Delivery, EncodeError, HandlerError, Message, Publisher, Router, seal_event};

use crate::event::Placed;

/// The account that the simulator takes callers for.
pub(crate) const ACCOUNT: &str = "000000000000";

/// Who wants the events.
pub(crate) const SERVICE: &str = "reader";

/// The topic of [`Placed`], and what is named after it.
const TOPIC: &str = "orders";
pub(crate) const TOPIC_NAME: &str = "bench-orders";
pub(crate) const TOPIC_ARN: &str = "arn:aws:sns:us-east-1:000000000000:bench-orders";
pub(crate) const QUEUE_NAME: &str = "bench-reader";

/// Longer than any long poll.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What every contestant's clients are made from: as fanfare makes them for itself, so that none is
/// better off.
pub(crate) async fn config(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .endpoint_url(url)
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

pub(crate) fn bindings() -> Bindings {
    Bindings::new("bench").topic(TOPIC, Kind::Standard)
}

pub(crate) fn queue_url(simulator: &str) -> String {
    format!("{simulator}/{ACCOUNT}/{QUEUE_NAME}")
}

/// Creates topic, queue and the subscription between them, with raw delivery and a filter by type.
pub(crate) async fn create(config: &SdkConfig) -> Result<()> {
    async fn nothing(_: Delivery<Placed>) -> Result<(), HandlerError> {
        Ok(())
    }
    let router: Router = Router::new(SERVICE).on(nothing);
    let topology = Topology::new("bench").topic(TOPIC, Kind::Standard).service(&router);
    provision(&Aws::new(config, ACCOUNT)?, &topology).await?;
    Ok(())
}

/// Publishes so many events, numbered from 0 on.
pub(crate) async fn fill(config: &SdkConfig, events: u64, bytes: usize) -> Result<()> {
    let publisher = AwsPublisher::new(Aws::new(config, ACCOUNT)?, bindings());
    publisher.publish(&messages(events, bytes)?).await.into_result()?;
    Ok(())
}

/// Events in their envelopes, each with a key of its own.
pub(crate) fn messages(count: u64, bytes: usize) -> Result<Vec<Message>, EncodeError> {
    let message =
        |event| seal_event("bench", &Placed::new(event, format!("order-{event:06}"), bytes));
    (0..count).map(message).collect()
}
