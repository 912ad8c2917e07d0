//! What can be changed on a stream: its retention period and its capacity mode.

use serde::Deserialize;

use super::admin::StreamModeDetails;
use super::stream::Change;
use super::{Stream, Target, errors};
use crate::clock::Now;
use crate::engine::Engine;
use crate::engine::limits::RETENTION_HOURS;
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RetentionPeriod {
    #[serde(flatten)]
    stream: Target,
    retention_period_hours: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UpdateStreamMode {
    #[serde(flatten)]
    stream: Target,
    stream_mode_details: Option<StreamModeDetails>,
}

pub(super) fn increase_retention(
    engine: &mut Engine,
    ctx: &Context,
    request: RetentionPeriod,
) -> Result<(), AwsError> {
    let now = engine.clock.now();
    let (stream, hours) = request.check(engine, ctx, now)?;
    if hours < stream.retention_hours {
        let (name, current) = (&stream.name, stream.retention_hours);
        return Err(errors::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be shorter than \
             existing retention period ({current} hours). Use DecreaseRetentionPeriod API."
        )));
    }
    stream.set_retention(hours, now);
    Ok(())
}

pub(super) fn decrease_retention(
    engine: &mut Engine,
    ctx: &Context,
    request: RetentionPeriod,
) -> Result<(), AwsError> {
    let now = engine.clock.now();
    let (stream, hours) = request.check(engine, ctx, now)?;
    if hours > stream.retention_hours {
        let (name, current) = (&stream.name, stream.retention_hours);
        return Err(errors::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be longer than \
             existing retention period ({current} hours). Use IncreaseRetentionPeriod API."
        )));
    }
    stream.set_retention(hours, now);
    engine.note_change();
    Ok(())
}

impl RetentionPeriod {
    fn check<'e>(
        &self,
        engine: &'e mut Engine,
        ctx: &Context,
        now: Now,
    ) -> Result<(&'e mut Stream, i64), AwsError> {
        let hours = self.retention_period_hours;
        let hours = hours.ok_or_else(|| errors::missing("retentionPeriodHours"))?;
        let stream = self.stream.open(&mut engine.streams, ctx, now)?;
        if stream.status() != "ACTIVE" {
            return Err(errors::not_active(stream));
        }
        let too = match hours {
            _ if hours < *RETENTION_HOURS.start() => {
                Some(("Minimum", RETENTION_HOURS.start(), "short"))
            }
            _ if hours > *RETENTION_HOURS.end() => Some(("Maximum", RETENTION_HOURS.end(), "long")),
            _ => None,
        };
        if let Some((which, bound, too)) = too {
            return Err(errors::invalid_argument(format!(
                "{which} allowed retention period is {bound} hours. Requested retention period \
                 ({hours} hours) is too {too}."
            )));
        }
        Ok((stream, hours))
    }
}

pub(super) fn update_stream_mode(
    engine: &mut Engine,
    ctx: &Context,
    request: UpdateStreamMode,
) -> Result<(), AwsError> {
    let details = request.stream_mode_details;
    let on_demand = details.ok_or_else(|| errors::missing("streamModeDetails"))?.on_demand()?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    if stream.status() != "ACTIVE" {
        return Err(errors::not_active(stream));
    }
    // The shards stay as they are.
    stream.on_demand = on_demand;
    stream.begin(Change::Settings, now);
    Ok(())
}
