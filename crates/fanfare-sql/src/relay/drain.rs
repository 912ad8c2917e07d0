//! Publishing what waits, and no more.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::{FutureExt, future::join_all};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Relay, feed,
    lane::Drain,
    lease::{Keeper, Owned, Part, grants},
    lease_store::LeaseStore,
};
use crate::{
    SqlError,
    statement::{Statement, Value},
};

/// So many waiting events are counted at most.
const COUNTED: i64 = 10_000;

/// What waits, counted up to `$1`; how many keys are held; how many were released.
const WAITING: &str = "select (select count(*) from (select 1 from {outbox} limit $1) w), \
    (select count(*) from {outbox_holds} where not released), \
    (select count(*) from {outbox_holds} where released)";

/// What [`Relay::drain`] did, and what it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drained {
    /// How many events were accepted.
    pub published: u64,
    /// How many events wait still, counted up to 10,000: their destination takes nothing, another relay
    /// has their shard, or `stop` came.
    pub waiting: u64,
    /// How many keys are held ([`Outbox::held`](crate::Outbox::held)); what waits for them is not
    /// counted.
    pub held: u64,
}

/// What a drain publishes from, until it gives it up.
struct Round {
    owner: Arc<str>,
    leases: LeaseStore,
    owned: Owned,
}

impl Relay {
    /// Publishes what waits, and returns when nothing is left that can be published now, or soon after
    /// `stop` resolved: for a function that is run every minute, or right after a commit.
    ///
    /// - All that a relay promises holds. Drains and relays can be under way at once: what another one
    ///   has leased is left to it, and this one's leases are given up at the end. After a crash others
    ///   wait until they end, 30 s unless [`lease`](Self::lease) says otherwise.
    /// - What is committed while it runs may be left for the next one, most of all where something
    ///   waits anyway. So run one every minute or so, besides those after commits.
    /// - A destination that took nothing three times in a row, within about a second, is left for the
    ///   next drain. An event that is refused is tried as often as a relay does, some three seconds,
    ///   and then [`OnRefusal`](crate::OnRefusal) decides.
    /// - When `stop` resolves, the publish calls that are under way are finished and settled, so let it
    ///   resolve some seconds before the function is ended: `std::future::pending()` is for those that
    ///   cannot be ended.
    /// - Where nothing waits it costs one statement on the pool; else it opens one connection for
    ///   leases, and one to four for what it publishes. It does not follow the log.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use fanfare_sql::{Relay, SqlError};
    /// # async fn example(relay: Relay) -> Result<(), SqlError> {
    /// let drained = relay.drain(tokio::time::sleep(Duration::from_secs(50))).await?;
    /// tracing::info!(drained.published, drained.waiting, drained.held, "outbox drained");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SqlError`], also where a relay would wait for the database. What was accepted and could not be
    /// deleted is published again by the next.
    pub async fn drain(&self, stop: impl Future<Output = ()>) -> Result<Drained, SqlError> {
        let mut stop = pin!(stop);
        let (seen, released) = self.waiting(1).await?;
        if seen.waiting == 0 && released == 0 {
            return Ok(seen);
        }
        let owner: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let mut leases = LeaseStore::new(&self.database);
        let mut published = 0;
        // Once more after all is published: who came meanwhile found the shards leased and left them.
        while stop.as_mut().now_or_never().is_none() {
            let asked = Instant::now();
            let taken = leases.take_waiting(&owner, self.lease).await?;
            if taken.is_empty() {
                break;
            }
            let grants = grants(&owner, taken, asked + self.lease);
            let owned = Owned { grants, ..Owned::default() };
            let round = Round { owner: Arc::clone(&owner), leases, owned };
            let (ends, stopped);
            (leases, ends, stopped) = self.round(round, stop.as_mut()).await;
            let ends = ends.into_iter().collect::<Result<Vec<Drain>, _>>()?;
            let accepted: u64 = ends.iter().map(|end| end.published).sum();
            published += accepted;
            if stopped || accepted == 0 || ends.iter().any(|end| !end.clear) {
                break;
            }
        }
        let (left, _) = self.waiting(COUNTED).await?;
        Ok(Drained { published, ..left })
    }

    /// Publishes what waits in some shards and gives them up; says how the lanes ended, and whether
    /// `stop` resolved.
    async fn round(
        &self,
        Round { owner, leases, owned }: Round,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> (LeaseStore, Vec<Result<Drain, SqlError>>, bool) {
        let lanes = self.lanes().min(owned.grants.len());
        let owned = watch::Sender::new(owned);
        let (mut followed, mut drains) = (Vec::new(), Vec::new());
        for number in 0..lanes {
            let follows = watch::Sender::new(0);
            followed.push(follows.subscribe());
            let (_, feed) = feed::feed();
            drains.push(self.lane(number, lanes, owned.subscribe(), follows, feed).drain());
        }
        let (part, lease, store) = (Part::Taken, self.lease, leases);
        let mut keeper = Keeper { part, owner, store, lease, owned, lanes: followed };
        let done = CancellationToken::new();
        let publish = async {
            let mut drains = pin!(join_all(drains));
            let (ends, stopped) = tokio::select! {
                ends = &mut drains => (ends, false),
                () = &mut stop => {
                    done.cancel();
                    (drains.await, true)
                }
            };
            done.cancel();
            (ends, stopped)
        };
        let ((), (ends, stopped)) = tokio::join!(keeper.run(done.clone()), publish);
        (keeper.store, ends, stopped)
    }

    /// What waits, as far as it is counted, and how many keys were released and are still to go on.
    async fn waiting(&self, most: i64) -> Result<(Drained, i64), SqlError> {
        let sql = self.database.names.sql(WAITING);
        let counted: Vec<(i64, i64, i64)> =
            self.database.fetch(Statement { sql, values: vec![Value::Int(most)] }).await?;
        let (waiting, held, released) = counted.first().copied().unwrap_or_default();
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let left = Drained { published: 0, waiting: count(waiting), held: count(held) };
        Ok((left, released))
    }
}
