//! Tags of streams.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Target, errors};
use crate::engine::Engine;
use crate::engine::limits::MAX_TAGS;
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AddTagsToStream {
    #[serde(flatten)]
    stream: Target,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RemoveTagsFromStream {
    #[serde(flatten)]
    stream: Target,
    tag_keys: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListTagsForStream {
    #[serde(flatten)]
    stream: Target,
    exclusive_start_tag_key: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tags {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

pub(super) fn add(
    engine: &mut Engine,
    ctx: &Context,
    request: AddTagsToStream,
) -> Result<(), AwsError> {
    if request.tags.is_empty() {
        return Err(errors::constraint("'{}'", "tags", "have length greater than or equal to 1"));
    }
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    let mut tags = stream.tags.clone();
    tags.extend(request.tags);
    check(&tags)?;
    stream.tags = tags;
    Ok(())
}

pub(super) fn remove(
    engine: &mut Engine,
    ctx: &Context,
    request: RemoveTagsFromStream,
) -> Result<(), AwsError> {
    if request.tag_keys.is_empty() {
        return Err(errors::constraint(
            "'[]'",
            "tagKeys",
            "have length greater than or equal to 1",
        ));
    }
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    stream.tags.retain(|key, _| !request.tag_keys.contains(key));
    Ok(())
}

pub(super) fn list(
    engine: &mut Engine,
    ctx: &Context,
    request: ListTagsForStream,
) -> Result<Tags, AwsError> {
    let max = request.limit.unwrap_or(MAX_TAGS as i64);
    errors::check_range(max, "limit", 1..=MAX_TAGS as i64)?;
    let now = engine.clock.now();
    let stream = request.stream.open(&mut engine.streams, ctx, now)?;
    let after = request.exclusive_start_tag_key.as_ref();
    let mut rest = stream.tags.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
    let page = rest.by_ref().take(max as usize);
    let tags = page.map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
    Ok(Tags { tags, has_more_tags: rest.next().is_some() })
}

/// What holds for all tags of a stream.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    for (key, value) in tags {
        errors::check_length(key, "tags.key", 1..=128)?;
        errors::check_length(value, "tags.value", 0..=256)?;
    }
    if tags.len() > MAX_TAGS {
        let message = format!("A stream cannot have more than {MAX_TAGS} tags.");
        return Err(errors::invalid_argument(message));
    }
    Ok(())
}
