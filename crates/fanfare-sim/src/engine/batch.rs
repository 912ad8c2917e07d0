//! What all batch calls share: their own rules, and one outcome per entry.

use std::collections::HashSet;

use serde::Serialize;

use super::Engine;
use super::limits::{MAX_BATCH_ENTRIES, MAX_BATCH_ENTRY_ID};
use crate::error::AwsError;
use crate::wire::{Context, Service};

/// An entry of a batch request.
pub(crate) trait Entry {
    fn id(&self) -> &str;
}

/// The answer to a batch request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchResult<S> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) successful: Vec<S>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<BatchFailure>,
}

/// An entry that failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchFailure {
    pub(crate) id: String,
    pub(crate) sender_fault: bool,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A successful entry of a batch that answers nothing but the id.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Done {
    pub(crate) id: String,
}

/// Checks what holds for the batch as a whole, before any entry has an effect.
pub(crate) fn check<E: Entry>(
    service: Service,
    entries: &[E],
    entry_type: &str,
) -> Result<(), AwsError> {
    if entries.is_empty() {
        let sqs = format!("There should be at least one {entry_type} in the request.");
        return Err(refuse(
            service,
            "EmptyBatchRequest",
            &sqs,
            "The batch request doesn't contain any entries.",
        ));
    }
    if entries.len() > MAX_BATCH_ENTRIES {
        let sqs = format!(
            "Maximum number of entries per request are {MAX_BATCH_ENTRIES}. You have sent {}.",
            entries.len()
        );
        return Err(refuse(
            service,
            "TooManyEntriesInBatchRequest",
            &sqs,
            "The batch request contains more entries than permissible.",
        ));
    }
    let mut seen = HashSet::new();
    for id in entries.iter().map(Entry::id) {
        let legal = (1..=MAX_BATCH_ENTRY_ID).contains(&id.len());
        if !legal || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(refuse(
                service,
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and \
                 underscores. It can be at most 80 letters long.",
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            ));
        }
        if !seen.insert(id) {
            return Err(refuse(
                service,
                "BatchEntryIdsNotDistinct",
                &format!("Id {id} repeated."),
                "Two or more batch entries in the request have the same Id.",
            ));
        }
    }
    Ok(())
}

/// The sum of the entries is over the limit.
pub(crate) fn too_long(service: Service, limit: usize, sent: usize) -> AwsError {
    refuse(
        service,
        "BatchRequestTooLong",
        &format!("Batch requests cannot be longer than {limit} bytes. You have sent {sent} bytes."),
        "The length of all the messages put together is more than the limit.",
    )
}

/// Performs the entries one by one; those that a fault picks fail without effect.
pub(crate) fn run<E: Entry, S>(
    engine: &mut Engine,
    ctx: &Context,
    entries: Vec<E>,
    mut each: impl FnMut(&mut Engine, E) -> Result<S, AwsError>,
) -> BatchResult<S> {
    let mut result = BatchResult { successful: Vec::new(), failed: Vec::new() };
    for (index, entry) in entries.into_iter().enumerate() {
        let id = entry.id().to_owned();
        let fails = ctx.fail_entry == Some(index) || engine.faults.entry_fails();
        let outcome = if fails { Err(AwsError::internal()) } else { each(engine, entry) };
        match outcome {
            Ok(success) => result.successful.push(success),
            Err(error) => result.failed.push(BatchFailure {
                id,
                sender_fault: error.is_sender_fault(),
                code: error.code.into_owned(),
                message: error.message,
            }),
        }
    }
    result
}

fn refuse(service: Service, code: &str, sqs: &str, sns: &str) -> AwsError {
    let (code, message) = match service {
        Service::Sqs => (format!("AWS.SimpleQueueService.{code}"), sqs),
        Service::Sns | Service::Kinesis => (code.to_owned(), sns),
    };
    AwsError { status: 400, code: code.into(), message: message.to_owned() }
}
