//! Why a projection stops.

use fanfare_core::{BoxError, ConsumerError};

use super::Generation;
use crate::{Position, SqlError};

/// A projection stopped; view and position are as they were after the last event that succeeded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// The view's consumer cannot work as it was put together.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// A handler does not run in the projection's transaction.
    #[error("projection `{projection}`: register the handler of {tag} with Router::on_tx")]
    NotTransactional {
        /// The projection's name.
        projection: String,
        /// The type tag that the handler is registered for.
        tag: &'static str,
    },
    /// A handler returns events, which each rebuild would publish again.
    #[error("projection `{projection}`: the handler of {tag} returns events: a view has none")]
    ReturnsEvents {
        /// The projection's name.
        projection: String,
        /// The type tag that the handler is registered for.
        tag: &'static str,
    },
    /// An event could not be handled.
    #[error("projection `{projection}` stopped at position {position}, {tag}: {reason}")]
    Failed {
        /// The projection's name.
        projection: String,
        /// The event's position.
        position: Position,
        /// The event's type tag.
        tag: String,
        /// Why, as the handler says.
        reason: String,
    },
    /// Somebody else runs the same generation.
    #[error(
        "projection `{projection}`: somebody else runs generation {generation}: let that one go on, or stop it"
    )]
    Superseded {
        /// The projection's name.
        projection: String,
        /// The generation.
        generation: Generation,
    },
    /// Another generation was made live meanwhile.
    #[error("projection `{projection}`: another generation is live by now; nothing was switched")]
    LiveChanged {
        /// The projection's name.
        projection: String,
    },
    /// There is no such generation, or it is the live one and must not be retired, or it is not made
    /// yet and must not go live.
    #[error("projection `{projection}`: generation {generation} {problem}")]
    NotApplicable {
        /// The projection's name.
        projection: String,
        /// The generation.
        generation: Generation,
        /// What is in the way.
        problem: &'static str,
    },
    /// The view could not make or drop its tables.
    #[error("projection `{projection}`: the view failed for generation {generation}: {source}")]
    View {
        /// The projection's name.
        projection: String,
        /// The generation.
        generation: Generation,
        /// What it said.
        source: BoxError,
    },
    /// A database failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl ProjectionError {
    /// Whether running it again may help without anything being changed: a database failed for now,
    /// or somebody else ran it, who may have ended.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            ProjectionError::Sql(error) => error.is_retryable(),
            ProjectionError::Superseded { .. } | ProjectionError::LiveChanged { .. } => true,
            _ => false,
        }
    }
}
