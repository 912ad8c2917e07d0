//! Looking at the leases, and doing what there is to do.

use std::{sync::Arc, time::Duration};

use fanfare_core::LeaseError;
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    CoordinatorError, Ended, Held, Shards,
    keeper::{BACKOFF, Keeper},
    life::live,
    plan::{Step, View},
    seen::{Seen, Table},
};

/// How many leases are taken at once.
const TAKES: usize = 8;

/// Looks at all leases of the group again and again.
pub(super) struct Looks<S, C> {
    keeper: Arc<Keeper<S>>,
    consume: Arc<C>,
    seen: Seen,
    rng: Rng,
}

impl<S, C, F> Looks<S, C>
where
    S: Shards,
    C: Fn(Held) -> F + Send + Sync + 'static,
    F: Future<Output = Ended> + Send + 'static,
{
    pub(super) fn new(keeper: Arc<Keeper<S>>, consume: C) -> Self {
        let seen = Seen::new(keeper.settings.lease);
        Looks { keeper, consume: Arc::new(consume), seen, rng: Rng::new() }
    }

    /// Takes this worker's share and evens loads out until the worker is to stop. What is taken
    /// lives in `lives`.
    pub(super) async fn run(mut self, lives: &mut JoinSet<()>) -> Result<(), CoordinatorError> {
        let keeper = Arc::clone(&self.keeper);
        let mut failures = 0;
        while !keeper.stop.is_cancelled() {
            let pause = match self.look(lives).await {
                Ok(()) => {
                    failures = 0;
                    self.pause()
                }
                Err(error) if keeper.is_fatal(&error) => {
                    return Err(CoordinatorError::Store(error));
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(group = %keeper.group, %error, "leases cannot be looked at");
                    BACKOFF.delay(failures).min(keeper.beat())
                }
            };
            while lives.try_join_next().is_some() {}
            tokio::select! {
                () = keeper.stop.cancelled() => {}
                () = keeper.look.notified() => {}
                () = sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// Workers that were started together do not look together for long.
    fn pause(&mut self) -> Duration {
        self.keeper.beat().mul_f64(0.75 + self.rng.f64() / 4.0)
    }

    async fn look(&mut self, lives: &mut JoinSet<()>) -> Result<(), LeaseError> {
        let keeper = &self.keeper;
        let me = &keeper.settings.owner;
        let leases = keeper.call(keeper.store.leases(&keeper.group)).await?;
        // After they were read, see `Seen::look`.
        let now = Instant::now();
        let table = Table::new(&leases);
        self.seen.look(&table, now);
        let view = View { me, table: &table, seen: &self.seen, mine: &keeper.mine(), now };
        let steps = view.plan(&mut self.rng);
        let (mut open, mut wanted) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::GiveUp(lease) => {
                    tracing::debug!(group = %keeper.group, shard = lease.key, "a lease is wanted");
                    keeper.want(lease);
                }
                Step::Take(lease) => open.push(lease.clone()),
                Step::Ask(lease) => wanted.push(lease),
            }
        }
        let takes =
            open.into_iter().map(|lease| {
                let keeper = Arc::clone(keeper);
                async move {
                    if keeper.stop.is_cancelled() { Ok(None) } else { keeper.take(&lease).await }
                }
            });
        let mut taken = stream::iter(takes).buffer_unordered(TAKES);
        let mut result = Ok(());
        while let Some(taken) = taken.next().await {
            match taken {
                Ok(Some(held)) => {
                    let live = live(Arc::clone(keeper), held, Arc::clone(&self.consume));
                    lives.spawn(live);
                }
                // Another was faster.
                Ok(None) => {}
                Err(error) => result = Err(error),
            }
        }
        for lease in wanted {
            if keeper.stop.is_cancelled() || result.is_err() {
                break;
            }
            tracing::debug!(group = %keeper.group, shard = lease.key, "a lease is asked for");
            let asked = keeper.store.ask(&keeper.group, lease, me);
            result = keeper.call(asked).await.map(drop);
        }
        result
    }
}
