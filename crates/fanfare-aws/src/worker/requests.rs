//! The two requests about messages that were received: delete, and change the visibility.

use std::{collections::HashMap, time::Duration};

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use aws_smithy_types::error::operation::BuildError;
use fanfare_core::{GivenBack, Redelivery, telemetry::OperationType};

use super::receive::whole_seconds;
use crate::{
    Queue,
    failure::Failure,
    limits::{BATCH_ENTRIES, VISIBILITY_SECONDS},
};

/// The longest that a Lambda function runs, and a little for the way there.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const HELD: Duration = Duration::from_secs(16 * 60);

/// Failures by their index in the batch.
pub(super) type Failures = HashMap<usize, Failure>;

/// Deletes up to 10 messages, by receipt.
pub(super) async fn delete<'a>(
    queue: &Queue,
    receipts: impl Iterator<Item = &'a str>,
) -> Result<Failures, Failure> {
    let entry = |(index, receipt): (usize, &str)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .receipt_handle(receipt)
            .build()
    };
    let entries: Result<Vec<_>, BuildError> = receipts.enumerate().map(entry).collect();
    let entries = entries.map_err(Failure::unbuildable)?;
    settling(queue, "delete", entries.len(), async {
        let request = queue.aws.sqs().delete_message_batch().queue_url(&queue.url);
        let answer = request.set_entries(Some(entries)).send().await;
        Ok(failures(answer.map_err(|error| Failure::of(&error))?.failed()))
    })
    .await
}

/// Changes up to 10 messages, by receipt and seconds.
pub(super) async fn change_visibility<'a>(
    queue: &Queue,
    changes: impl Iterator<Item = (&'a str, i32)>,
) -> Result<Failures, Failure> {
    let entry = |(index, (receipt, seconds)): (usize, (&str, i32))| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(index.to_string())
            .receipt_handle(receipt)
            .visibility_timeout(seconds)
            .build()
    };
    let entries: Result<Vec<_>, BuildError> = changes.enumerate().map(entry).collect();
    let entries = entries.map_err(Failure::unbuildable)?;
    settling(queue, "change_visibility", entries.len(), async {
        let request = queue.aws.sqs().change_message_visibility_batch().queue_url(&queue.url);
        let answer = request.set_entries(Some(entries)).send().await;
        Ok(failures(answer.map_err(|error| Failure::of(&error))?.failed()))
    })
    .await
}

/// Sends a request about so many messages, as an operation that telemetry tells of.
async fn settling(
    queue: &Queue,
    operation: &'static str,
    messages: usize,
    request: impl Future<Output = Result<Failures, Failure>>,
) -> Result<Failures, Failure> {
    let operation = queue.channel.begin(OperationType::Settle, operation);
    let answer = operation.run(request).await;
    let failure = match &answer {
        Ok(failures) => failures.iter().min_by_key(|(index, _)| **index).map(|(_, one)| one),
        Err(failure) => Some(failure),
    };
    operation.end(messages, failure.map(|failure| &*failure.code));
    answer
}

/// For hosts that know only the receipts, as Lambda receives for them; the receive was at most
/// 16 minutes ago.
impl Redelivery for Queue {
    async fn give_back(&self, messages: Vec<GivenBack>) {
        let most = Duration::from_secs(VISIBILITY_SECONDS).saturating_sub(HELD);
        for batch in messages.chunks(BATCH_ENTRIES) {
            let changes = batch
                .iter()
                .map(|given| (given.receipt.as_str(), whole_seconds(given.after.min(most))));
            let failures = match change_visibility(self, changes).await {
                Ok(failures) => failures.into_values().collect(),
                Err(failure) => vec![failure],
            };
            for failure in failures {
                tracing::warn!(
                    queue = %self.name,
                    %failure,
                    "not given back: it comes again at the visibility time-out"
                );
            }
        }
    }
}

fn failures(failed: &[BatchResultErrorEntry]) -> Failures {
    let failure = |entry: &BatchResultErrorEntry| {
        let index = entry.id().parse().ok()?;
        Some((index, Failure::of_entry(entry.code(), entry.message(), entry.sender_fault())))
    };
    failed.iter().filter_map(failure).collect()
}
