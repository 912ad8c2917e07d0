//! Tags of topics.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::topic::Topic;
use super::{lenient, parse_arn};
use crate::engine::Engine;
use crate::engine::limits::MAX_TAGS;
use crate::error::AwsError;
use crate::wire::{Context, Xml};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Tag {
    key: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TagResource {
    resource_arn: String,
    #[serde(deserialize_with = "lenient")]
    tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UntagResource {
    resource_arn: String,
    #[serde(deserialize_with = "lenient")]
    tag_keys: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListTagsForResource {
    resource_arn: String,
}

pub(super) fn tag(
    engine: &mut Engine,
    ctx: &Context,
    request: TagResource,
) -> Result<Xml, AwsError> {
    let topic = resource(engine, ctx, &request.resource_arn)?;
    let mut tags = topic.tags.clone();
    tags.extend(collect(request.tags)?);
    if tags.len() > MAX_TAGS {
        let message = "Could not complete request: tag quota of per resource exceeded";
        return Err(AwsError::sender("TagLimitExceeded", message));
    }
    topic.tags = tags;
    Ok(Xml::default())
}

pub(super) fn untag(
    engine: &mut Engine,
    ctx: &Context,
    request: UntagResource,
) -> Result<Xml, AwsError> {
    let topic = resource(engine, ctx, &request.resource_arn)?;
    topic.tags.retain(|key, _| !request.tag_keys.contains(key));
    Ok(Xml::default())
}

pub(super) fn list(
    engine: &mut Engine,
    ctx: &Context,
    request: ListTagsForResource,
) -> Result<Xml, AwsError> {
    let topic = resource(engine, ctx, &request.resource_arn)?;
    let mut xml = Xml::default();
    xml.list("Tags", &topic.tags, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
    Ok(xml)
}

/// Tags by key, if no key comes twice.
pub(super) fn collect(tags: Vec<Tag>) -> Result<BTreeMap<String, String>, AwsError> {
    let count = tags.len();
    let by_key: BTreeMap<_, _> = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    if by_key.len() < count {
        return Err(AwsError::invalid_parameter("Duplicated keys are not allowed."));
    }
    Ok(by_key)
}

fn resource<'e>(
    engine: &'e mut Engine,
    ctx: &Context,
    arn: &str,
) -> Result<&'e mut Topic, AwsError> {
    let own = parse_arn(arn, "ResourceArn")?.account == ctx.caller.account;
    engine.topics.get_mut(arn).filter(|_| own).ok_or_else(|| {
        AwsError::sender("ResourceNotFound", "Resource does not exist").with_status(404)
    })
}
