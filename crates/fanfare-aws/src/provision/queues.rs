//! Queues, their dead-letter queues, and who may send to them.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use fanfare_topology::{Kind, PlannedQueue};
use serde_json::json;

use super::{ProvisionError, Provisioned, failed, same_json};
use crate::{
    Aws,
    failure::{Class, Failure},
};

/// Receives after which SQS itself moves a message to the dead-letter queue, without a reason. It
/// is the last resort behind the consumer's own limit, for what kills the whole process, and far
/// above it: the tail of a FIFO group is received with each try of its first message.
const MAX_RECEIVES: u32 = 50;

/// Seconds for which a received message stays invisible.
const VISIBILITY: &str = "60";

/// Seconds for which a queue keeps a message: 4 days, the default of SQS.
const RETENTION: &str = "345600";

/// Seconds for which a dead-letter queue keeps a message: 14 days, the most there is. A message
/// keeps its first enqueue time on its way there, so this has to exceed its source's.
const DEAD_LETTER_RETENTION: &str = "1209600";

/// Makes sure of both queues; `topics` are the ARNs that may send to them.
pub(super) async fn ensure(
    aws: &Aws,
    queue: &PlannedQueue,
    topics: &[String],
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let dead_letter_arn = aws.queue_arn(&queue.dead_letter_name);
    let redrive =
        json!({ "deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": MAX_RECEIVES });
    let policy = |name: &str| send_policy(&aws.queue_arn(name), topics);

    // First, because the queue's redrive policy names it. Topics send to it what they cannot
    // deliver to the queue.
    let desired = [(Name::Policy, policy(&queue.dead_letter_name))];
    let fixed = [(Name::MessageRetentionPeriod, DEAD_LETTER_RETENTION.to_string())];
    ensure_queue(aws, &queue.dead_letter_name, queue.kind, &desired, &fixed, report).await?;

    let desired = [(Name::RedrivePolicy, redrive.to_string()), (Name::Policy, policy(&queue.name))];
    let fixed = [
        (Name::MessageRetentionPeriod, RETENTION.to_string()),
        (Name::VisibilityTimeout, VISIBILITY.to_string()),
    ];
    ensure_queue(aws, &queue.name, queue.kind, &desired, &fixed, report).await
}

/// Makes sure of a dead-letter queue without a queue before it: its service itself sends to it.
pub(super) async fn ensure_dead_letters(
    aws: &Aws,
    name: &str,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let fixed = [(Name::MessageRetentionPeriod, DEAD_LETTER_RETENTION.to_string())];
    ensure_queue(aws, name, Kind::Standard, &[], &fixed, report).await
}

/// Creates a queue with all attributes, or mends the `desired` ones; the `at_creation` ones are
/// left as an operator may have tuned them.
async fn ensure_queue(
    aws: &Aws,
    name: &str,
    kind: Kind,
    desired: &[(Name, String)],
    at_creation: &[(Name, String)],
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let resource = format!("queue {name}");
    let url = aws.queue_url(name);
    let names = desired.iter().map(|(name, _)| name.clone()).collect();
    let request = aws.sqs().get_queue_attributes().queue_url(&url).set_attribute_names(Some(names));
    let present = match request.send().await {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error) if Failure::of(&error).class == Class::NotFound => {
            let mut attributes: HashMap<_, _> =
                desired.iter().chain(at_creation).cloned().collect();
            if kind == Kind::Fifo {
                attributes.insert(Name::FifoQueue, "true".into());
            }
            let request = aws.sqs().create_queue().queue_name(name);
            let created = request.set_attributes(Some(attributes)).send().await;
            created.map_err(failed("creating", &resource))?;
            report.created(resource);
            return Ok(());
        }
        Err(error) => return Err(failed("reading", &resource)(error)),
    };
    let differing: HashMap<_, _> = desired
        .iter()
        .filter(|(name, value)| !present.get(name).is_some_and(|there| same_policy(there, value)))
        .cloned()
        .collect();
    if differing.is_empty() {
        report.unchanged += 1;
        return Ok(());
    }
    let updated: Vec<_> = differing.keys().map(label).collect();
    let request = aws.sqs().set_queue_attributes().queue_url(&url).set_attributes(Some(differing));
    request.send().await.map_err(failed("updating", &resource))?;
    updated.into_iter().for_each(|attribute| report.updated(resource.clone(), attribute));
    Ok(())
}

pub(super) async fn remove(
    aws: &Aws,
    name: &str,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let resource = format!("queue {name}");
    match aws.sqs().delete_queue().queue_url(aws.queue_url(name)).send().await {
        Ok(_) => report.removed(resource),
        Err(error) if Failure::of(&error).class == Class::NotFound => {}
        Err(error) => return Err(failed("removing", &resource)(error)),
    }
    Ok(())
}

fn label(name: &Name) -> &'static str {
    match name {
        Name::RedrivePolicy => "RedrivePolicy",
        _ => "Policy",
    }
}

/// Some servers give `maxReceiveCount` back as text.
fn same_policy(there: &str, desired: &str) -> bool {
    let count = format!("\"maxReceiveCount\":{MAX_RECEIVES}");
    let quoted = format!("\"maxReceiveCount\":\"{MAX_RECEIVES}\"");
    same_json(there, desired) || same_json(there, &desired.replace(&count, &quoted))
}

/// Lets exactly these topics send to the queue.
fn send_policy(queue_arn: &str, topics: &[String]) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "FanfareTopics",
            "Effect": "Allow",
            "Principal": { "Service": "sns.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": { "ArnEquals": { "aws:SourceArn": topics } },
        }],
    })
    .to_string()
}
