//! The port for who reads which shard of a stream, and how far he has come.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use crate::{BoxError, BoxFuture};

mod memory;

pub use memory::MemoryLeaseStore;

/// The leases of one consumer on one stream: every worker of the consumer shares them, other
/// consumers of the stream have their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LeaseGroup {
    /// Name of the consumer.
    pub consumer: Arc<str>,
    /// Name of the stream.
    pub stream: Arc<str>,
}

impl LeaseGroup {
    /// The leases of `consumer` on `stream`.
    pub fn new(consumer: impl Into<Arc<str>>, stream: impl Into<Arc<str>>) -> Self {
        LeaseGroup { consumer: consumer.into(), stream: stream.into() }
    }
}

impl fmt::Display for LeaseGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on stream `{}`", self.consumer, self.stream)
    }
}

/// How far a shard has been handled. All there is: a store has to keep each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing yet: from the oldest record that is kept.
    Oldest,
    /// Nothing yet: from the first record that arrives at this time or later.
    At(Timestamp),
    /// Everything up to this record.
    After {
        /// Its sequence number: decimal digits.
        sequence_number: String,
        /// Where the record is an aggregate of several: the last of them that is done. None: all.
        sub_sequence_number: Option<u64>,
    },
    /// The whole shard, which is closed.
    End,
}

/// The lease on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The shard's id.
    pub key: String,
    /// The worker that holds it; none if it was given up, or never taken.
    pub owner: Option<String>,
    /// Grows whenever the lease is taken. What an earlier owner writes is refused by it.
    pub epoch: u64,
    /// Grows whenever the lease is taken or renewed. Who has seen it unchanged for as long as a
    /// lease lasts, by his own clock, may take the lease: no two clocks are ever compared.
    pub counter: u64,
    /// The worker that has asked the owner for it, until it is taken.
    pub successor: Option<String>,
    /// How far the shard has been handled.
    pub checkpoint: Checkpoint,
    /// The shards that this one was made from by a split or a merge.
    pub parents: Vec<String>,
}

/// As it begins: nobody has taken it, and nobody has asked for it.
impl From<NewLease> for Lease {
    fn from(new: NewLease) -> Self {
        let NewLease { key, checkpoint, parents } = new;
        Lease { key, owner: None, epoch: 0, counter: 0, successor: None, checkpoint, parents }
    }
}

/// A shard that has no lease yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewLease {
    /// The shard's id.
    pub key: String,
    /// Where to begin.
    pub checkpoint: Checkpoint,
    /// The shards that it was made from.
    pub parents: Vec<String>,
}

impl NewLease {
    /// A lease on shard `key` that nobody holds.
    pub fn new(key: impl Into<String>, checkpoint: Checkpoint, parents: Vec<String>) -> Self {
        NewLease { key: key.into(), checkpoint, parents }
    }
}

/// A sign of life for one lease, and how far its shard has been handled since the last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewal {
    /// The shard's id.
    pub key: String,
    /// The epoch in which it was taken.
    pub epoch: u64,
    /// What the lease's counter becomes: more than in any renewal that was sent before, so that one
    /// which comes late, behind a newer, has no effect.
    pub counter: u64,
    /// The new checkpoint; none: as it was.
    pub checkpoint: Option<Checkpoint>,
}

impl Renewal {
    /// A sign of life for the lease `key` that was taken as `epoch`, whose counter becomes `counter`.
    pub fn new(
        key: impl Into<String>,
        epoch: u64,
        counter: u64,
        checkpoint: Option<Checkpoint>,
    ) -> Self {
        Renewal { key: key.into(), epoch, counter, checkpoint }
    }
}

/// A lease that was renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewed {
    /// The shard's id.
    pub key: String,
    /// The worker that has asked for it.
    pub successor: Option<String>,
}

impl Renewed {
    /// The lease `key` was renewed, and `successor` has asked for it.
    pub fn new(key: impl Into<String>, successor: Option<String>) -> Self {
        Renewed { key: key.into(), successor }
    }
}

/// Keeps the leases of consumers on the shards of streams.
///
/// It is an object, because a worker holds whichever its database has. The terms are those of the
/// Kinesis Client Library.
///
/// Contract:
/// - every call takes effect as a whole and is seen by all that begin after it has returned;
/// - a lease has one owner at a time: of several [`take`](Self::take)s of one lease as it was seen
///   one succeeds;
/// - nothing that a worker writes has an effect unless owner *and* epoch are still his: a zombie
///   cannot checkpoint over its successor. That is no error: what is not among the renewed was lost;
/// - nor has a renewal or release whose counter is not higher than the lease's: a call that was
///   given up and takes effect late does not undo what was written since;
/// - the store has no clock: whether an owner is alive is found out by who wants the lease;
/// - a checkpoint is what its owner says, nothing here compares checkpoints.
pub trait LeaseStore: Send + Sync {
    /// All leases of the group, ended ones included, by key.
    fn leases<'a>(&'a self, group: &'a LeaseGroup)
    -> BoxFuture<'a, Result<Vec<Lease>, LeaseError>>;

    /// Begins the group with these leases, at least one, if it has none: all or nothing, so that two
    /// workers that come up together cannot begin at two points. Tells whether it did.
    fn begin<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<bool, LeaseError>>;

    /// Adds the leases of shards that came later; those that are there are left as they are.
    fn add<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<(), LeaseError>>;

    /// Makes `owner` the owner of a lease if it still is as it was `seen` (owner, epoch, counter),
    /// with epoch and counter one higher and no successor; gives it as it is then, none if it has
    /// changed.
    fn take<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Option<Lease>, LeaseError>>;

    /// Asks the owner of a lease to give it up to `successor`, if there is one and owner and epoch
    /// still are as they were `seen`. Tells whether that was so. A later asker replaces an earlier
    /// one. The counter stays: being asked is no sign of life.
    fn ask<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        successor: &'a str,
    ) -> BoxFuture<'a, Result<bool, LeaseError>>;

    /// Renews those of these leases that `owner` still holds in their epochs, with their counters
    /// and checkpoints, and gives them. Each lease is among `renewals` once.
    fn renew<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<Vec<Renewed>, LeaseError>>;

    /// Writes the same, and gives the leases up: they have no owner then. Their epochs stay, and so
    /// do their successors, for whom they are meant. Those that `owner` does not hold any more are
    /// left as they are.
    fn release<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<(), LeaseError>>;

    /// Removes leases that have ended: those among `keys` whose checkpoint is [`Checkpoint::End`].
    fn remove<'a>(
        &'a self,
        group: &'a LeaseGroup,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), LeaseError>>;
}

/// The store could not be asked, or did not answer: what was asked may have happened or not.
#[derive(Debug, thiserror::Error)]
#[error("the lease store failed: {source}")]
pub struct LeaseError {
    source: BoxError,
    retryable: bool,
}

impl LeaseError {
    /// A failure that passes by itself: the database could not be reached, a lock was in the way.
    pub fn retryable(source: impl Into<BoxError>) -> Self {
        LeaseError { source: source.into(), retryable: true }
    }

    /// A failure that the same call would meet again: a table is missing.
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        LeaseError { source: source.into(), retryable: false }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}
