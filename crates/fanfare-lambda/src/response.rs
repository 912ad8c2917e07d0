//! What Lambda is told.

use serde::Serialize;

/// The records that were not handled. Lambda takes it from mappings with
/// `FunctionResponseTypes=["ReportBatchItemFailures"]`, and ignores it elsewhere. An empty one says
/// that all were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Response {
    /// One for each message of a queue; for a stream the first alone, as everything from it on comes
    /// again.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// A record that was not handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ItemFailure {
    /// The message id or the sequence number.
    pub item_identifier: String,
}

impl Response {
    pub(crate) fn failed(identifiers: impl IntoIterator<Item = String>) -> Self {
        let failure = |item_identifier| ItemFailure { item_identifier };
        Response { batch_item_failures: identifiers.into_iter().map(failure).collect() }
    }
}
