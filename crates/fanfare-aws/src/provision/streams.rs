//! Streams.

use std::time::Duration;

use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, StreamDescriptionSummary, StreamMode, StreamModeDetails,
    StreamStatus,
};
use fanfare_topology::PlannedStream;
use tokio::time::{Instant, sleep};

use super::{ProvisionError, Provisioned, failed};
use crate::{
    Aws,
    failure::{Class, Failure},
};

/// How long a stream may take to become active, or to be gone. AWS takes seconds for few shards and
/// minutes for many.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks at it: an account may take 20 a second.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>
const LOOK: Duration = Duration::from_millis(500);

/// Makes sure of a stream, its mode and its retention. Its shards are counted when it is created only:
/// afterwards they are the operator's, or with a stream on demand AWS's own.
pub(super) async fn ensure(
    aws: &Aws,
    stream: &PlannedStream,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let resource = format!("stream {}", stream.name);
    if let Some(present) = settled(aws, &stream.name).await? {
        is_ours(aws, stream, &present)?;
        let changes = report.changes.len();
        mode(aws, stream, &present, report).await?;
        distribution(aws, stream, &present, report).await?;
        if retention(aws, stream, &present).await? {
            report.updated(&resource, "RetentionPeriodHours");
        }
        report.unchanged += usize::from(report.changes.len() == changes);
        return Ok(());
    }
    let mut request = aws.kinesis().create_stream().stream_name(&stream.name);
    request = match stream.settings.shard_count() {
        Some(shards) => request.shard_count(i32::try_from(shards).unwrap_or(i32::MAX)),
        None => request.stream_mode_details(details(StreamMode::OnDemand, &resource)?),
    };
    request.send().await.map_err(failed("creating", &resource))?;
    let made = settled(aws, &stream.name).await?;
    let made = made.ok_or_else(|| refused("creating", &resource, "it is gone again"))?;
    is_ours(aws, stream, &made)?;
    retention(aws, stream, &made).await?;
    report.created(resource);
    Ok(())
}

pub(super) async fn remove(
    aws: &Aws,
    name: &str,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let resource = format!("stream {name}");
    // A stream with registered consumers would not go otherwise.
    let request = aws.kinesis().delete_stream().stream_name(name).enforce_consumer_deletion(true);
    match request.send().await {
        Ok(_) => report.removed(resource),
        Err(error) if Failure::of(&error).class == Class::NotFound => {}
        Err(error) => return Err(failed("removing", &resource)(error)),
    }
    Ok(())
}

/// The stream once nothing is being done to it; none if there is no such stream, or none any more.
async fn settled(
    aws: &Aws,
    name: &str,
) -> Result<Option<StreamDescriptionSummary>, ProvisionError> {
    let (resource, deadline) = (format!("stream {name}"), Instant::now() + PATIENCE);
    loop {
        let answer = aws.kinesis().describe_stream_summary().stream_name(name).send().await;
        let summary = match answer {
            Ok(answer) => answer.stream_description_summary,
            Err(error) if Failure::of(&error).class == Class::NotFound => return Ok(None),
            Err(error) => return Err(failed("reading", &resource)(error)),
        };
        let unanswered = || refused("reading", &resource, "the answer does not describe it");
        let summary = summary.ok_or_else(unanswered)?;
        if summary.stream_status == StreamStatus::Active {
            return Ok(Some(summary));
        }
        if Instant::now() >= deadline {
            return Err(ProvisionError::Aws {
                action: "waiting for",
                reason: format!("it is {} after {PATIENCE:?}", summary.stream_status),
                resource,
                retryable: true,
            });
        }
        sleep(LOOK).await;
    }
}

/// Names lead into whatever account the credentials belong to.
fn is_ours(
    aws: &Aws,
    stream: &PlannedStream,
    present: &StreamDescriptionSummary,
) -> Result<(), ProvisionError> {
    let (expected, actual) = (aws.stream_arn(&stream.name), present.stream_arn.clone());
    if expected == actual { Ok(()) } else { Err(ProvisionError::OtherAccount { expected, actual }) }
}

/// On demand, or of a number of shards.
async fn mode(
    aws: &Aws,
    stream: &PlannedStream,
    present: &StreamDescriptionSummary,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let wanted = match stream.settings.shard_count() {
        Some(_) => StreamMode::Provisioned,
        None => StreamMode::OnDemand,
    };
    // A server that does not say knows no other.
    let there = present.stream_mode_details.as_ref().map(|details| &details.stream_mode);
    if *there.unwrap_or(&StreamMode::Provisioned) == wanted {
        return Ok(());
    }
    let resource = format!("stream {}", stream.name);
    let request = aws.kinesis().update_stream_mode().stream_arn(aws.stream_arn(&stream.name));
    let request = request.stream_mode_details(details(wanted, &resource)?);
    request.send().await.map_err(failed("updating", &resource))?;
    settled(aws, &stream.name).await?;
    report.updated(resource, "StreamMode");
    Ok(())
}

/// Keys have to decide on shards, or there is no order per key: a stream on demand can be set to spread
/// its records without regard to them.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html>
async fn distribution(
    aws: &Aws,
    stream: &PlannedStream,
    present: &StreamDescriptionSummary,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    if present.record_distribution_strategy != Some(RecordDistributionStrategy::Auto) {
        return Ok(());
    }
    let resource = format!("stream {}", stream.name);
    let request = aws.kinesis().update_stream_record_distribution_strategy();
    let request = request
        .stream_arn(aws.stream_arn(&stream.name))
        .record_distribution_strategy(RecordDistributionStrategy::UserPartitionKey);
    request.send().await.map_err(failed("updating", &resource))?;
    settled(aws, &stream.name).await?;
    report.updated(resource, "RecordDistributionStrategy");
    Ok(())
}

/// Lengthens or shortens the retention; tells whether it had to.
async fn retention(
    aws: &Aws,
    stream: &PlannedStream,
    present: &StreamDescriptionSummary,
) -> Result<bool, ProvisionError> {
    let (name, resource) = (&stream.name, format!("stream {}", stream.name));
    let wanted = i32::try_from(stream.settings.retention()).unwrap_or(i32::MAX);
    let (kinesis, there) = (aws.kinesis(), present.retention_period_hours);
    if wanted > there {
        let request = kinesis.increase_stream_retention_period().stream_name(name);
        let changed = request.retention_period_hours(wanted).send().await;
        changed.map_err(failed("updating", &resource))?;
    } else if wanted < there {
        let request = kinesis.decrease_stream_retention_period().stream_name(name);
        let changed = request.retention_period_hours(wanted).send().await;
        changed.map_err(failed("updating", &resource))?;
    } else {
        return Ok(false);
    }
    settled(aws, name).await?;
    Ok(true)
}

fn details(mode: StreamMode, resource: &str) -> Result<StreamModeDetails, ProvisionError> {
    let details = StreamModeDetails::builder().stream_mode(mode).build();
    details.map_err(|error| refused("updating", resource, &error.to_string()))
}

fn refused(action: &'static str, resource: &str, reason: &str) -> ProvisionError {
    ProvisionError::Aws {
        action,
        resource: resource.into(),
        reason: reason.into(),
        retryable: false,
    }
}
