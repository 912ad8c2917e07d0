//! Queues themselves: create, find, list, configure, purge, delete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::attributes::{self, QueueAttributes};
use super::queue::Queue;
use super::{open, queue_does_not_exist, redrive, tags};
use crate::engine::Engine;
use crate::engine::arn::queue_arn;
use crate::engine::limits::{MAX_LIST_RESULTS, MAX_QUEUE_NAME, PURGE_INTERVAL, RECREATE_AFTER};
use crate::error::AwsError;
use crate::wire::Context;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CreateQueue {
    queue_name: String,
    attributes: BTreeMap<String, String>,
    #[serde(rename = "tags")]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GetQueueUrl {
    queue_name: String,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OneQueue {
    queue_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GetQueueAttributes {
    queue_url: String,
    attribute_names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SetQueueAttributes {
    queue_url: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListQueues {
    queue_name_prefix: String,
    #[serde(flatten)]
    page: Page,
}

/// How a list answer is cut into pages.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Page {
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueUrl {
    queue_url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Queues {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

impl Page {
    /// The URLs of one page, and where the next begins.
    pub(super) fn of<'q>(
        &self,
        ctx: &Context,
        queues: impl Iterator<Item = &'q Queue>,
    ) -> Result<(Vec<String>, Option<String>), AwsError> {
        let max = match self.max_results {
            None => MAX_LIST_RESULTS,
            Some(max) if (1..=MAX_LIST_RESULTS as i64).contains(&max) => max as usize,
            Some(max) => {
                let reason = "MaxResults must be an integer between 1 and 1000.";
                return Err(AwsError::invalid_value(max, "MaxResults", reason));
            }
        };
        // Queues come in order of their ARNs; the token is the last one's.
        let after = self.next_token.as_ref();
        let mut rest =
            queues.filter(|queue| after.is_none_or(|after| queue.arn > *after)).peekable();
        let (mut urls, mut last) = (Vec::new(), None);
        while urls.len() < max
            && let Some(queue) = rest.next()
        {
            urls.push(url(ctx, &queue.account, &queue.name));
            last = Some(queue.arn.clone());
        }
        // Only who asks for pages gets a token.
        let more = rest.peek().is_some() && self.max_results.is_some();
        Ok((urls, last.filter(|_| more)))
    }
}

pub(super) fn create_queue(
    engine: &mut Engine,
    ctx: &Context,
    request: CreateQueue,
) -> Result<QueueUrl, AwsError> {
    let name = request.queue_name;
    let fifo_name = check_name(&name)?;
    let given = &request.attributes;
    let account = &ctx.caller.account;
    let arn = queue_arn(&ctx.caller.region, account, &name);
    let attributes = QueueAttributes::create(fifo_name, given)?;
    if let Some(existing) = engine.queues.get(&arn) {
        return match existing.attributes.first_difference(given) {
            None => Ok(QueueUrl { queue_url: url(ctx, account, &name) }),
            Some(attribute) => Err(AwsError::sender(
                "QueueAlreadyExists",
                format!(
                    "A queue already exists with the same name and a different value for attribute \
                     {attribute}"
                ),
            )),
        };
    }
    let now = Instant::now();
    engine.deleted_queues.retain(|_, deleted| *deleted + RECREATE_AFTER > now);
    if engine.deleted_queues.contains_key(&arn) {
        return Err(AwsError::sender(
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with \
             the same name.",
        ));
    }
    tags::check(&request.tags)?;
    redrive::check(engine, &arn, &attributes)?;
    let serial = engine.next_serial();
    let queue_url = url(ctx, account, &name);
    let mut queue = Queue::new(serial, name, arn.clone(), account.clone(), attributes, now);
    queue.tags = request.tags;
    engine.queues.insert(arn, queue);
    Ok(QueueUrl { queue_url })
}

pub(super) fn get_queue_url(
    engine: &mut Engine,
    ctx: &Context,
    request: GetQueueUrl,
) -> Result<QueueUrl, AwsError> {
    check_name(&request.queue_name)?;
    let account = request.owner.as_ref().unwrap_or(&ctx.caller.account);
    let queue_url = url(ctx, account, &request.queue_name);
    open(&mut engine.queues, ctx, &queue_url, "GetQueueUrl")?;
    Ok(QueueUrl { queue_url })
}

pub(super) fn list_queues(
    engine: &mut Engine,
    ctx: &Context,
    request: ListQueues,
) -> Result<Queues, AwsError> {
    let prefix = queue_arn(&ctx.caller.region, &ctx.caller.account, &request.queue_name_prefix);
    let matching = engine.queues.range(prefix.clone()..).map(|(_, queue)| queue);
    let matching = matching.take_while(|queue| queue.arn.starts_with(&prefix));
    let (queue_urls, next_token) = request.page.of(ctx, matching)?;
    Ok(Queues { queue_urls, next_token })
}

pub(super) fn delete_queue(
    engine: &mut Engine,
    ctx: &Context,
    request: OneQueue,
) -> Result<(), AwsError> {
    let arn = open(&mut engine.queues, ctx, &request.queue_url, "DeleteQueue")?.arn.clone();
    if let Some(queue) = engine.queues.remove(&arn) {
        // Long polls find out at once.
        queue.wake.notify_waiters();
    }
    engine.deleted_queues.insert(arn, Instant::now());
    engine.note_change();
    Ok(())
}

pub(super) fn purge_queue(
    engine: &mut Engine,
    ctx: &Context,
    request: OneQueue,
) -> Result<(), AwsError> {
    let now = Instant::now();
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "PurgeQueue")?;
    if queue.purged.is_some_and(|purged| now < purged + PURGE_INTERVAL) {
        let name = &queue.name;
        return Err(AwsError::sender(
            "AWS.SimpleQueueService.PurgeQueueInProgress",
            format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
        )
        .with_status(403));
    }
    queue.purged = Some(now);
    queue.clear();
    engine.note_change();
    Ok(())
}

pub(super) fn get_queue_attributes(
    engine: &mut Engine,
    ctx: &Context,
    request: GetQueueAttributes,
) -> Result<Attributes, AwsError> {
    let names = request.attribute_names;
    if let Some(name) = names.iter().find(|name| !attributes::is_known(name)) {
        return Err(attributes::unknown(name));
    }
    let clock = engine.clock.clone();
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "GetQueueAttributes")?;
    let mut all = queue.attributes.report();
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    add("ApproximateNumberOfMessages", queue.visible_count().to_string());
    add("ApproximateNumberOfMessagesDelayed", queue.delayed_count().to_string());
    add("ApproximateNumberOfMessagesNotVisible", queue.in_flight_count().to_string());
    add("CreatedTimestamp", clock.unix_seconds(queue.created).to_string());
    add("LastModifiedTimestamp", clock.unix_seconds(queue.modified).to_string());
    add("QueueArn", queue.arn.clone());
    let wanted = |name: &String| names.iter().any(|asked| asked == "All" || asked == name);
    Ok(Attributes { attributes: all.into_iter().filter(|(name, _)| wanted(name)).collect() })
}

pub(super) fn set_queue_attributes(
    engine: &mut Engine,
    ctx: &Context,
    request: SetQueueAttributes,
) -> Result<(), AwsError> {
    if request.attributes.is_empty() {
        return Err(AwsError::missing_parameter("Attribute.Name"));
    }
    let queue = open(&mut engine.queues, ctx, &request.queue_url, "SetQueueAttributes")?;
    let (arn, mut attributes) = (queue.arn.clone(), queue.attributes.clone());
    attributes.update(&request.attributes)?;
    redrive::check(engine, &arn, &attributes)?;
    let queue = engine.queues.get_mut(&arn).ok_or_else(queue_does_not_exist)?;
    queue.attributes = attributes;
    queue.modified = Instant::now();
    // A shorter retention takes effect now, a long poll may have to end sooner or later.
    queue.advance(Instant::now());
    queue.wake.notify_waiters();
    Ok(())
}

/// A queue's URL on the host under which the simulator was reached.
fn url(ctx: &Context, account: &str, name: &str) -> String {
    format!("{}/{account}/{name}", ctx.caller.base_url)
}

/// Checks a queue's name; whether it is a FIFO queue's.
fn check_name(name: &str) -> Result<bool, AwsError> {
    if name.is_empty() {
        return Err(AwsError::missing_parameter("QueueName"));
    }
    let stem = name.strip_suffix(".fifo");
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let stem_legal = stem.unwrap_or(name).bytes().all(legal) && stem != Some("");
    if name.len() > MAX_QUEUE_NAME || !stem_legal {
        return Err(AwsError::invalid_parameter_value(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    Ok(stem.is_some())
}
