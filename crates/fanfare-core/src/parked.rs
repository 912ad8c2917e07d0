//! The port that keeps a key's events in order behind one that cannot be handled.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{BoxError, BoxFuture, InboxKey, Opened};

mod memory;

pub use memory::MemoryParkedGroups;

/// Remembers which events of an ordered group are in the dead-letter queue, in their order: see
/// [`Consumer::park_groups`](crate::Consumer::park_groups).
///
/// A group is parked while it has events here that are not handled. Groups are a consumer's own,
/// and known by the transport's name for them. An event is known by its source and id, as it was
/// brought; a body that is no event, such as a pointer to one or one that is still to be
/// translated, has no source, and `sha256:` with 64 hexadecimal digits for its id. Two such bodies
/// that are alike are one and the same.
///
/// The host of a group, of which there is one at a time, asks for an event's [`turn`](Self::turn),
/// and calls [`park`](Self::park) *before* it puts an event into the dead-letter queue and
/// [`handled`](Self::handled) *after* it has handled one, before that is acknowledged. So a crash
/// in between leaves nothing behind that is not known here: the event comes again, and is tried or
/// put again.
///
/// Contract: what a call has answered `Ok` holds for whoever calls next, also after a crash of the
/// store's own process where it outlives that. Calls for several groups may run side by side.
pub trait ParkedGroups: Send + Sync {
    /// Whether it is the turn of `event` in `group`.
    fn turn(
        &self,
        group: &str,
        event: &InboxKey,
    ) -> impl Future<Output = Result<Turn, ParkedGroupsError>> + Send;

    /// Parks `event`, as the last of `group`; where it is parked it stays in its place.
    fn park(
        &self,
        group: &str,
        event: &InboxKey,
    ) -> impl Future<Output = Result<(), ParkedGroupsError>> + Send;

    /// `event` has been handled: whatever its place, it is parked no more, and is [`Turn::Past`] for as
    /// long as others of `group` are; without a source it is forgotten. With the last one all of the
    /// group is forgotten. Also for operators, who throw an event away that others wait for.
    fn handled(
        &self,
        group: &str,
        event: &InboxKey,
    ) -> impl Future<Output = Result<(), ParkedGroupsError>> + Send;

    /// Forgets all of a group, and gives how many events were parked: for operators, who give its
    /// order up. What is in the dead-letter queue stays there, and is handled when it comes again,
    /// whatever else of the group has been by then.
    fn release(
        &self,
        consumer: &str,
        group: &str,
    ) -> impl Future<Output = Result<u64, ParkedGroupsError>> + Send;
}

/// When an event of a group may be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// Now, as all others of its group: none is parked.
    Free,
    /// Now: it is the first that is parked.
    Next,
    /// After this one, which is the first that is parked.
    Behind(InboxKey),
    /// Never: it was parked, and has been handled.
    Past,
}

/// [`ParkedGroups`] as an object.
pub trait DynParkedGroups: Send + Sync {
    /// [`ParkedGroups::turn`], boxed.
    fn turn_boxed<'a>(
        &'a self,
        group: &'a str,
        event: &'a InboxKey,
    ) -> BoxFuture<'a, Result<Turn, ParkedGroupsError>>;

    /// [`ParkedGroups::park`], boxed.
    fn park_boxed<'a>(
        &'a self,
        group: &'a str,
        event: &'a InboxKey,
    ) -> BoxFuture<'a, Result<(), ParkedGroupsError>>;

    /// [`ParkedGroups::handled`], boxed.
    fn handled_boxed<'a>(
        &'a self,
        group: &'a str,
        event: &'a InboxKey,
    ) -> BoxFuture<'a, Result<(), ParkedGroupsError>>;
}

impl<P: ParkedGroups> DynParkedGroups for P {
    fn turn_boxed<'a>(
        &'a self,
        group: &'a str,
        event: &'a InboxKey,
    ) -> BoxFuture<'a, Result<Turn, ParkedGroupsError>> {
        Box::pin(self.turn(group, event))
    }

    fn park_boxed<'a>(
        &'a self,
        group: &'a str,
        event: &'a InboxKey,
    ) -> BoxFuture<'a, Result<(), ParkedGroupsError>> {
        Box::pin(self.park(group, event))
    }

    fn handled_boxed<'a>(
        &'a self,
        group: &'a str,
        event: &'a InboxKey,
    ) -> BoxFuture<'a, Result<(), ParkedGroupsError>> {
        Box::pin(self.handled(group, event))
    }
}

/// The store of parked groups failed; the delivery is tried again, and its group waits.
#[derive(Debug, thiserror::Error)]
#[error("the store of parked groups failed: {source}")]
pub struct ParkedGroupsError {
    #[from]
    source: BoxError,
}

/// What a body, as it was brought, is parked by.
pub(crate) fn identity(consumer: &Arc<str>, body: &str) -> InboxKey {
    match Opened::open(body) {
        Ok(opened) => {
            let envelope = opened.envelope();
            InboxKey::new(Arc::clone(consumer), &*envelope.source, &*envelope.id)
        }
        Err(_) => {
            let id = format!("sha256:{}", hex::encode(Sha256::digest(body)));
            InboxKey::new(Arc::clone(consumer), "", id)
        }
    }
}
