//! Which worker consumes which shard of a stream.
//!
//! All workers of a consumer share its leases, in a [`LeaseStore`]. A worker renews what it holds;
//! who has seen a lease unchanged for as long as a lease lasts may take it. Each goes by his own
//! monotonic clock: the holder counts from *before* a renewal was sent, the others from *after* they
//! have read it, so a lease has ended for its holder before anybody else can take it.

mod held;
mod keeper;
mod life;
mod lineage;
mod look;
mod plan;
mod seen;
#[cfg(test)]
mod tests;

use std::{pin::pin, sync::Arc, time::Duration};

use fanfare_core::{Checkpoint, LeaseError, LeaseGroup, LeaseStore};
use futures_util::{join, try_join};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::failure::Failure;
pub(super) use held::Held;
use keeper::Keeper;
use look::Looks;

/// What there is to know of a stream's shards.
pub(super) trait Shards: Send + Sync + 'static {
    /// All shards that the stream still keeps: open ones, and closed ones until their last record
    /// has expired. Asked for every half a minute, and when a shard has ended.
    ///
    /// A failure that is not [`Transient`](crate::failure::Class::Transient) ends the coordinator.
    fn list(&self) -> impl Future<Output = Result<Vec<ShardInfo>, Failure>> + Send;
}

/// A shard of the stream, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardInfo {
    pub(super) id: String,
    /// What it was made from: none, one (a split) or two (a merge). They need not exist any more.
    pub(super) parents: Vec<String>,
}

/// How one worker takes part.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// How long a lease lasts that is not renewed; 10 s by default. The same for all workers of a
    /// consumer: one whose leases last less than a third of another's would take them while they
    /// are held.
    pub(super) lease: Duration,
    /// Names this worker among the others; never the same in two runs. A random UUID by default.
    pub(super) owner: String,
    /// Where shards are begun if the consumer has no lease at all. What comes later by splits and
    /// merges is always read from its first record.
    pub(super) start: Checkpoint,
}

impl Settings {
    pub(super) fn new(start: Checkpoint) -> Self {
        let owner = Uuid::new_v4().to_string();
        Settings { lease: Duration::from_secs(10), owner, start }
    }
}

/// How the consuming of a shard came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was [wanted](Held::wanted), and nothing of it is under way any more. The lease is given
    /// up, with the last checkpoint.
    GivenUp,
    /// The last record of a closed shard has been handled; or the shard is gone from the stream,
    /// because everything in it has expired.
    ShardEnd {
        /// What it was split or merged into, as far as it is known. They are consumed when all
        /// their parents have ended.
        children: Vec<ShardInfo>,
    },
    /// It could not go on; why has been logged. It is begun again by this worker, at the last
    /// checkpoint, after a pause that grows.
    Failed,
}

/// Why a coordinator ended by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum CoordinatorError {
    /// The stream is not there, or its shards may not be listed.
    #[error("the shards cannot be listed: {0}")]
    Shards(Failure),
    /// The store cannot work as it is.
    #[error(transparent)]
    Store(LeaseError),
}

/// One worker's part in sharing a stream's shards out.
pub(super) struct Coordinator<S> {
    store: Arc<dyn LeaseStore>,
    group: LeaseGroup,
    shards: S,
    settings: Settings,
}

impl<S: Shards> Coordinator<S> {
    /// Takes leases of `group`, which are kept in `store`, on the shards of its stream.
    pub(super) fn new(
        store: Arc<dyn LeaseStore>,
        group: LeaseGroup,
        shards: S,
        settings: Settings,
    ) -> Self {
        Coordinator { store, group, shards, settings }
    }

    /// Takes this worker's share of the shards and has each consumed by a call of `consume`, in a
    /// task of its own, until `shutdown`. Then everything is [wanted](Held::wanted) back; what has
    /// not ended after `drain` is dropped, and all leases are given up with their last
    /// checkpoints.
    ///
    /// The future of a lease that is [lost](Held::lost) is dropped at once, and so is all that is
    /// consumed when the future of `run` itself is dropped. A panic counts as [`Ended::Failed`].
    /// There is never more than one call for a shard at a time.
    ///
    /// # Errors
    /// The shards cannot be listed, for good; or the store cannot work, which is found out at the
    /// start. Before it returns it gives up everything as for `shutdown`.
    pub(super) async fn run<C, F>(
        self,
        consume: C,
        shutdown: CancellationToken,
        drain: Duration,
    ) -> Result<(), CoordinatorError>
    where
        C: Fn(Held) -> F + Send + Sync + 'static,
        F: Future<Output = Ended> + Send + 'static,
    {
        let Coordinator { store, group, shards, settings } = self;
        let stop = shutdown.child_token();
        let keeper = Arc::new(Keeper::new(store, group, shards, settings, stop.clone()));
        let mut lives = JoinSet::new();
        let mut renewals = pin!(keeper.renewals());

        let looks = Looks::new(Arc::clone(&keeper), consume);
        let work = async {
            let worked = try_join!(looks.run(&mut lives), keeper.follow_lineage());
            stop.cancel();
            worked.map(drop)
        };
        let stopped = async {
            stop.cancelled().await;
            Instant::now()
        };
        let (worked, stopped) = tokio::select! {
            done = async { join!(work, stopped) } => done,
            never = &mut renewals => match never {},
        };

        let ended = async { while lives.join_next().await.is_some() {} };
        let in_time = tokio::select! {
            ended = timeout_at(stopped + drain, ended) => ended.is_ok(),
            never = &mut renewals => match never {},
        };
        if !in_time {
            tracing::warn!(group = %keeper.group, "shards did not end in time: left as they are");
        }
        keeper.release_all(lives.shutdown()).await;
        worked
    }
}
