//! What can go wrong with a table.

use std::sync::Arc;

use crate::failure::{Class, Failure};

/// What is inside of the [`IdempotencyError::Store`](fanfare_core::IdempotencyError::Store) of a
/// [`DynamoIdempotencyStore`](crate::DynamoIdempotencyStore). No event's data are in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DynamoError {
    /// The table is not there.
    #[error(
        "table `{table}` is missing in this account and Region: make it, with the partition key `id` (string) and time to live on `expires_at`"
    )]
    Missing {
        /// The table.
        table: Arc<str>,
    },
    /// The credentials do not allow it.
    #[error(
        "access to table `{table}` is denied: allow dynamodb:PutItem, UpdateItem and DeleteItem on it ({said})"
    )]
    Denied {
        /// The table.
        table: Arc<str>,
        /// What DynamoDB said.
        said: String,
    },
    /// Throttled or unavailable, at every try: it passes by itself.
    #[error(
        "table `{table}` cannot be reached or has no capacity left: it passes, or give the table more ({said})"
    )]
    Unavailable {
        /// The table.
        table: Arc<str>,
        /// What DynamoDB said, or what broke on the way.
        said: String,
    },
    /// DynamoDB refuses the request.
    #[error("table `{table}` refuses: is its partition key `id`, a string, and alone? ({said})")]
    Refused {
        /// The table.
        table: Arc<str>,
        /// What DynamoDB said.
        said: String,
    },
    /// An item is not of this store.
    #[error("table `{table}` has an item under an event's id that fanfare did not write")]
    Foreign {
        /// The table.
        table: Arc<str>,
    },
    /// What followed from one event does not fit into an item. The event has been handled, and will
    /// be again whenever it comes.
    #[error(
        "what followed from one event takes {bytes} bytes as JSON, and an item of DynamoDB has room for {limit}: let fewer or smaller events follow, or keep them in an SQL database"
    )]
    TooLarge {
        /// What it takes, in bytes.
        bytes: usize,
        /// What there is room for, in bytes.
        limit: usize,
    },
}

impl DynamoError {
    pub(super) fn of(table: &Arc<str>, failure: &Failure) -> Self {
        let (table, said) = (Arc::clone(table), failure.to_string());
        match failure.class {
            Class::NotFound => DynamoError::Missing { table },
            Class::Denied => DynamoError::Denied { table, said },
            Class::Transient => DynamoError::Unavailable { table, said },
            Class::Refused => DynamoError::Refused { table, said },
        }
    }

    pub(super) fn foreign(table: &Arc<str>) -> Self {
        DynamoError::Foreign { table: Arc::clone(table) }
    }

    /// Whether the same may succeed later without anybody's doing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, DynamoError::Unavailable { .. })
    }
}
