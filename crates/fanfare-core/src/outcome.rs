//! What became of a delivery, and what its host does about it.

use std::{fmt, time::Duration};

use crate::{ClaimCheckError, DecodeError};

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its handler succeeded, and the events that it returned were published.
    Handled {
        /// How many events its handler returned.
        published: usize,
    },
    /// The inbox, or another store, knew it: its effect was there already.
    Duplicate,
    /// It could not be handled, and the policy is to let it go.
    Ignored(Reason),
    /// It is in the dead-letter queue now.
    DeadLettered(Reason),
    /// It failed and is given back.
    Failed {
        /// When it is to come again.
        after: Duration,
        /// Why it failed, without payload as far as fanfare's own texts go.
        error: String,
        /// The class of error, as [telemetry](crate::telemetry) names it.
        class: &'static str,
    },
    /// It was not begun, because an earlier one of its group failed.
    Blocked {
        /// When it is to come again: together with the failed one.
        after: Duration,
    },
    /// It was not begun, because the host is shutting down, because it came so late in its group that
    /// the lease on it would have ended, or because the lease on an earlier one of its group was lost;
    /// given back at once.
    Released,
    /// The lease on it was lost before its outcome was known, so it is not settled: it comes again, or
    /// has come again already.
    Lost,
}

/// What a host does to settle a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Done: remove it.
    Acknowledge,
    /// Not done: make it visible again after this time.
    GiveBack {
        /// How long it stays invisible from now; zero for at once.
        after: Duration,
    },
    /// It is no longer ours: do nothing about it.
    Leave,
}

impl Outcome {
    pub(crate) const HANDLED: &'static str = "handled";
    pub(crate) const DUPLICATE: &'static str = "duplicate";
    pub(crate) const IGNORED: &'static str = "ignored";

    /// What telemetry calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Outcome::Handled { .. } => Outcome::HANDLED,
            Outcome::Duplicate => Outcome::DUPLICATE,
            Outcome::Ignored(_) => Outcome::IGNORED,
            Outcome::DeadLettered(_) => "dead_lettered",
            Outcome::Failed { .. } => "retried",
            Outcome::Blocked { .. } => "blocked",
            Outcome::Released => "released",
            Outcome::Lost => "lost",
        }
    }

    /// The class of error that it ended with; none if it did not fail, or was not begun.
    pub(crate) fn error_type(&self) -> Option<&'static str> {
        match self {
            Outcome::DeadLettered(reason) => Some(reason.error_type()),
            Outcome::Failed { class, .. } => Some(class),
            Outcome::Lost => Some("lost"),
            Outcome::Handled { .. }
            | Outcome::Duplicate
            | Outcome::Ignored(_)
            | Outcome::Blocked { .. }
            | Outcome::Released => None,
        }
    }

    /// How to settle it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Outcome::Handled { .. }
            | Outcome::Duplicate
            | Outcome::Ignored(_)
            | Outcome::DeadLettered(_) => Disposition::Acknowledge,
            Outcome::Failed { after, .. } | Outcome::Blocked { after } => {
                Disposition::GiveBack { after: *after }
            }
            Outcome::Released => Disposition::GiveBack { after: Duration::ZERO },
            Outcome::Lost => Disposition::Leave,
        }
    }
}

/// Why a delivery can never be handled here; written into the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Its handler rejected it, with this text.
    Rejected(String),
    /// Nobody here handles its type tag.
    UnknownTag {
        /// The tag that came.
        tag: String,
        /// Another version of it that is handled here.
        handled: Option<&'static str>,
    },
    /// It is no event, or its data does not fit.
    Undecodable(DecodeError),
    /// Its payload is elsewhere, and can never be fetched from there.
    Unclaimed(ClaimCheckError),
    /// It is the last of so many events, each caused by the one before: a loop.
    TooManyHops(u32),
    /// It failed as often as it may.
    Exhausted {
        /// How often it was received.
        attempts: u32,
        /// What went wrong last.
        error: String,
    },
    /// An event that its handler returned can never be published.
    Unpublishable(String),
    /// An earlier event of its group is in the dead-letter queue, and it waits there for its turn
    /// (see [`Consumer::park_groups`](crate::Consumer::park_groups)).
    Parked {
        /// The id of the event that is to be handled next in its group.
        behind: String,
    },
    /// An event with its source and id was handled already, or is being, but with other data.
    OtherPayload,
}

impl Reason {
    /// What telemetry calls it.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Reason::Rejected(_) => "rejected",
            Reason::UnknownTag { .. } => "unknown_tag",
            Reason::Undecodable(_) => "undecodable",
            Reason::Unclaimed(_) => "unclaimed",
            Reason::TooManyHops(_) => "too_many_hops",
            Reason::Exhausted { .. } => "exhausted",
            Reason::Unpublishable(_) => "unpublishable",
            Reason::Parked { .. } => "parked",
            Reason::OtherPayload => "other_payload",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rejected(text) => write!(f, "rejected: {text}"),
            Reason::UnknownTag { tag, handled: None } => {
                write!(f, "unknown type tag `{tag}`: no handler")
            }
            Reason::UnknownTag { tag, handled: Some(handled) } => {
                write!(f, "unknown type tag `{tag}`: only {handled} is handled")
            }
            Reason::Undecodable(error) => write!(f, "undecodable: {error}"),
            Reason::Unclaimed(error) => write!(f, "unclaimed: {error}"),
            Reason::TooManyHops(hops) => {
                write!(f, "{hops} hops: events cause each other in a loop")
            }
            Reason::Exhausted { attempts, error } => {
                write!(f, "failed for good at attempt {attempts}: {error}")
            }
            Reason::OtherPayload => {
                f.write_str("an event with its source and id, but with other data, came before")
            }
            Reason::Parked { behind } => write!(f, "parked: {behind} of its group comes first"),
            Reason::Unpublishable(error) => write!(f, "what follows cannot be published: {error}"),
        }
    }
}
