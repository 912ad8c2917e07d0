//! A lane that ends when nothing is left that it could publish now.

use tokio::time::sleep_until;

use super::{Lane, Next};
use crate::SqlError;

/// What a lane did until its end.
pub(in crate::relay) struct Drain {
    pub(in crate::relay) published: u64,
    /// Whether nothing kept any event back.
    pub(in crate::relay) clear: bool,
}

impl Lane {
    /// Publishes what waits, until nothing is left that can be published now, or the lanes are to end.
    pub(in crate::relay) async fn drain(mut self) -> Result<Drain, SqlError> {
        let drained = self.until_nothing_is_left().await;
        if drained.is_err() {
            self.store.disconnect();
        }
        self.finish().await;
        let state = self.state;
        drained.map(|()| Drain { published: state.published, clear: state.obstacles.is_empty() })
    }

    async fn until_nothing_is_left(&mut self) -> Result<(), SqlError> {
        loop {
            let owned = self.owned.borrow_and_update().clone();
            self.take_over(&owned);
            self.follows.send_replace(owned.version);
            if owned.ended {
                return Ok(());
            }
            // More may come, but a drain does not wait for it.
            if self.turn().await? != Next::WhenWoken {
                continue;
            }
            if self.state.grants.is_empty() {
                return Ok(());
            }
            if !self.state.floors.is_empty() {
                // A transaction that ended late may have left something below them.
                self.state.floors.reset_all();
                self.state.sweeps.all_now();
                continue;
            }
            let Some(again) = self.state.obstacles.soon() else { return Ok(()) };
            tokio::select! {
                () = sleep_until(again) => {}
                _ = self.owned.changed() => {}
            }
        }
    }
}
