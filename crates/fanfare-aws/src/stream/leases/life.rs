//! The life of a lease, from when it was taken to when it is gone.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use fanfare_core::Backoff;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::{Ended, Held, ShardInfo, Shards, keeper::Keeper};

/// Between tries to consume a shard.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Has a shard consumed until that is over, and gives its lease up; or until the lease is lost.
pub(super) async fn live<S, C, F>(keeper: Arc<Keeper<S>>, held: Held, consume: Arc<C>)
where
    S: Shards,
    C: Fn(Held) -> F,
    F: Future<Output = Ended>,
{
    let key = held.lease().key.clone();
    let _gone = Gone { keeper: &keeper, held: &held };
    tracing::debug!(group = %keeper.group, shard = key, epoch = held.lease().epoch, "a lease is taken");
    let live = async {
        match until_end(&held, consume).await {
            Some(children) => {
                // First the children: a shard that is at its end is not looked at any more.
                keeper.have_children_leased(&children).await;
                keeper.release(&held, true).await;
                keeper.look.notify_one();
            }
            None => keeper.release(&held, false).await,
        }
    };
    tokio::select! {
        biased;
        () = held.lost() => tracing::warn!(group = %keeper.group, shard = key, "a lease is lost"),
        () = live => tracing::debug!(group = %keeper.group, shard = key, "a lease is given up"),
    }
}

/// Consumes the shard, again after failures. Gives its children if it has been consumed to its end.
async fn until_end<C, F>(held: &Held, consume: Arc<C>) -> Option<Vec<ShardInfo>>
where
    C: Fn(Held) -> F,
    F: Future<Output = Ended>,
{
    let (mut current, mut failures) = (held.clone(), 0);
    loop {
        let consuming = async { consume(current.clone()).await };
        let ended = AssertUnwindSafe(consuming).catch_unwind().await;
        match ended.unwrap_or(Ended::Failed) {
            Ended::GivenUp => return None,
            Ended::ShardEnd { children } => return Some(children),
            Ended::Failed => {}
        }
        let resumed = held.resumed();
        let has_moved = resumed.lease().checkpoint != current.lease().checkpoint;
        failures = if has_moved { 1 } else { failures + 1 };
        let pause = BACKOFF.delay(failures);
        tracing::warn!(shard = held.lease().key, ?pause, "a shard could not be consumed");
        tokio::select! {
            () = sleep(pause) => current = resumed,
            () = held.wanted() => return None,
        }
    }
}

/// Ends with what consumes the shard, however that ends.
struct Gone<'a, S> {
    keeper: &'a Keeper<S>,
    held: &'a Held,
}

impl<S> Drop for Gone<'_, S> {
    fn drop(&mut self) {
        self.keeper.forget(self.held);
    }
}
