//! Which relay publishes from which shard.
//!
//! Shards are leased in a table, by the database's clock alone: what a relay's own clock says does
//! not matter. The holder measures its lease from *before* the renewal was sent, on a monotonic
//! clock, so it believes it over before the database does. Each change of owner raises the shard's
//! epoch, which fences whatever a late owner still wants to move.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fanfare_core::Backoff;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::lease_store::LeaseStore;
use crate::{SHARDS, SqlError};

/// Between tries to reach a database that does not answer.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// At most this long between two looks at the table of relays.
const BEAT: Duration = Duration::from_secs(1);

/// The right to publish from one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) shard: u16,
    pub(super) owner: Arc<str>,
    pub(super) epoch: i64,
    /// When it ends, as seen from here.
    pub(super) until: Instant,
}

/// All that a relay may publish from.
#[derive(Debug, Clone, Default)]
pub(super) struct Owned {
    /// Counts the changes, so that lanes can say which one they work by.
    pub(super) version: u64,
    pub(super) grants: BTreeMap<u16, Grant>,
    /// Whether the lanes are to end.
    pub(super) ended: bool,
}

/// Which shards a keeper wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// As many as any other relay that lives.
    Share,
    /// Those that it has from the beginning.
    Taken,
}

/// Keeps a relay's leases, and tells its lanes.
pub(super) struct Keeper {
    pub(super) part: Part,
    pub(super) owner: Arc<str>,
    pub(super) store: LeaseStore,
    pub(super) lease: Duration,
    pub(super) owned: watch::Sender<Owned>,
    /// The version that each lane works by.
    pub(super) lanes: Vec<watch::Receiver<u64>>,
}

impl Keeper {
    /// Renews, takes and gives up leases until `stop`; then has the lanes end, and gives up all.
    pub(super) async fn run(&mut self, stop: CancellationToken) {
        let beat = (self.lease / 4).min(BEAT);
        let mut failures = 0;
        let mut pause = match self.part {
            Part::Share => Duration::ZERO,
            Part::Taken => beat,
        };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
            pause = match timeout(self.lease, self.beat()).await {
                Ok(Ok(())) => {
                    failures = 0;
                    beat
                }
                failed => {
                    failures += 1;
                    let error = failed.map_or_else(|e| e.to_string(), |r| described(&r));
                    tracing::warn!(owner = %self.owner, %error, "leases were not renewed");
                    self.store.disconnect();
                    BACKOFF.delay(failures).min(beat)
                }
            };
        }
        self.publish(|owned| owned.ended = true);
        self.lanes_follow().await;
        if let Err(error) = self.store.leave(&self.owner).await {
            tracing::warn!(owner = %self.owner, %error, "leases were not given up: they end by themselves");
        }
    }

    async fn beat(&mut self) -> Result<(), SqlError> {
        match self.part {
            Part::Share => self.share().await,
            Part::Taken => self.renew().await,
        }
    }

    async fn renew(&mut self) -> Result<(), SqlError> {
        let asked = Instant::now();
        let renewed = self.store.renew(&self.owner, self.lease).await?;
        let grants = grants(&self.owner, renewed, asked + self.lease);
        self.publish(|owned| owned.grants = grants);
        Ok(())
    }

    async fn share(&mut self) -> Result<(), SqlError> {
        let asked = Instant::now();
        let relays = self.store.beat(&self.owner, self.lease).await?.max(1);
        let renewed = self.store.renew(&self.owner, self.lease).await?;
        let until = asked + self.lease;
        let mut grants = grants(&self.owner, renewed, until);
        let share = usize::from(SHARDS).div_ceil(usize::try_from(relays).unwrap_or(1));
        let surplus: Vec<u16> = grants.keys().copied().skip(share).collect();
        surplus.iter().for_each(|shard| drop(grants.remove(shard)));
        let room = share - grants.len();
        self.publish(|owned| owned.grants = grants);
        if !surplus.is_empty() {
            // Nobody else may have them before the last lane has let go.
            self.lanes_follow().await;
            self.store.give_up(&self.owner, &surplus).await?;
        }
        if room > 0 {
            let asked = Instant::now();
            let taken = self.store.take(&self.owner, room, self.lease).await?;
            if !taken.is_empty() {
                tracing::debug!(owner = %self.owner, shards = taken.len(), "took over shards");
                let taken = self::grants(&self.owner, taken, asked + self.lease);
                self.publish(|owned| owned.grants.extend(taken));
            }
        }
        Ok(())
    }

    fn publish(&self, change: impl FnOnce(&mut Owned)) {
        self.owned.send_modify(|owned| {
            change(owned);
            owned.version += 1;
        });
    }

    /// Waits until every lane works by what was published last.
    async fn lanes_follow(&mut self) {
        let version = self.owned.borrow().version;
        for lane in &mut self.lanes {
            // A lane that is gone follows too.
            let _ = lane.wait_for(|followed| *followed >= version).await;
        }
    }
}

/// Grants of shards with their epochs.
pub(super) fn grants(
    owner: &Arc<str>,
    shards: Vec<(u16, i64)>,
    until: Instant,
) -> BTreeMap<u16, Grant> {
    let grant = |(shard, epoch)| (shard, Grant { shard, owner: Arc::clone(owner), epoch, until });
    shards.into_iter().map(grant).collect()
}

fn described(result: &Result<(), SqlError>) -> String {
    result.as_ref().err().map(ToString::to_string).unwrap_or_default()
}
