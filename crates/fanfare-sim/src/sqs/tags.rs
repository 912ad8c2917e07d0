//! Tags of queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::open;
use crate::engine::Engine;
use crate::engine::limits::MAX_TAGS;
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TagQueue {
    queue_url: String,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UntagQueue {
    queue_url: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListQueueTags {
    queue_url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tags {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

pub(super) fn tag(engine: &mut Engine, ctx: &Context, request: TagQueue) -> Result<(), AwsError> {
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "TagQueue")?;
    if request.tags.is_empty() {
        return Err(AwsError::missing_parameter("Tags"));
    }
    let mut tags = queue.tags.clone();
    tags.extend(request.tags);
    check(&tags)?;
    queue.tags = tags;
    Ok(())
}

pub(super) fn untag(
    engine: &mut Engine,
    ctx: &Context,
    request: UntagQueue,
) -> Result<(), AwsError> {
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "UntagQueue")?;
    queue.tags.retain(|key, _| !request.tag_keys.contains(key));
    Ok(())
}

pub(super) fn list(
    engine: &mut Engine,
    ctx: &Context,
    request: ListQueueTags,
) -> Result<Tags, AwsError> {
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "ListQueueTags")?;
    Ok(Tags { tags: queue.tags.clone() })
}

pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    if tags.len() > MAX_TAGS {
        return Err(AwsError::invalid_parameter_value("Too many tags added for queue."));
    }
    Ok(())
}
