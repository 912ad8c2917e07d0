//! Making a generation: empty, filled, made live; and dropping old ones.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    BuildProgress, Generation, Projection, ProjectionError, View,
    feed::{Fed, Feed},
    patiently, sleep,
    store::Switched,
};
use crate::Position;

/// Between looks while a transaction that wrote into the log is open.
const LOOK: Duration = Duration::from_millis(20);

/// Up to where a generation has the log in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All that has been recorded when it begins.
    Now,
    /// This position, included.
    Position(Position),
    /// What had been recorded by this time, by the log's database's clock: a prefix of the log, see
    /// [`EventLog::position_at`](crate::EventLog::position_at).
    Time(Timestamp),
}

/// What stands in the table for [`Until::Now`].
const NOW: i64 = -1;

impl<V: View> Projection<V> {
    /// Makes the view anew, to now, beside the live generation; makes it the live one when it has
    /// caught up with it, and retires the older ones. One that was begun before and broken off is
    /// gone on with.
    ///
    /// # Errors
    /// [`ProjectionError`]; [`LiveChanged`](ProjectionError::LiveChanged) if another generation was
    /// made live meanwhile. The live generation is as it was.
    pub async fn rebuild(&self) -> Result<Generation, ProjectionError> {
        let live = self.live_generation().await?;
        let made = self.make_live(live, &CancellationToken::new()).await?;
        // Without a reason to stop it does not.
        made.ok_or_else(|| ProjectionError::LiveChanged { projection: self.name.to_string() })
    }

    /// Makes a generation that has the log up to `until`, and leaves the live one as it is. One that
    /// was begun before for the same end and broken off is gone on with.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub async fn build(&self, until: Until) -> Result<Generation, ProjectionError> {
        let never = CancellationToken::new();
        let until = match until {
            Until::Now => None,
            Until::Position(position) => Some(position),
            Until::Time(time) => Some(self.log.position_at(time).await?),
        };
        let feed = self.begin(until).await?;
        let generation = feed.generation();
        self.fill(feed, until, &never).await?;
        self.store().built(generation).await?;
        Ok(generation)
    }

    /// Makes `generation`, which is [made](Self::build), the live one. A projection that
    /// [runs](Self::run) goes on with it, from where it is to now.
    ///
    /// # Errors
    /// [`ProjectionError`]; [`LiveChanged`](ProjectionError::LiveChanged) if meanwhile another one was
    /// made live.
    pub async fn switch(&self, generation: Generation) -> Result<(), ProjectionError> {
        let live = self.live_generation().await?;
        self.switch_from(live, generation).await
    }

    /// Drops `generation`.
    ///
    /// # Errors
    /// [`ProjectionError`]; [`NotApplicable`](ProjectionError::NotApplicable) if it is live or does
    /// not exist.
    pub async fn retire(&self, generation: Generation) -> Result<(), ProjectionError> {
        if !self.store().give_up(generation).await? {
            return Err(self.not_applicable(generation, "is live or does not exist"));
        }
        let retired = self.view.retire(generation).await;
        retired.map_err(|source| self.view_failed(generation, source))?;
        Ok(self.store().remove(generation).await?)
    }

    /// Makes a generation and makes it live in the place of `live`; none if it was stopped.
    pub(super) async fn make_live(
        &self,
        live: Option<Generation>,
        stop: &CancellationToken,
    ) -> Result<Option<Generation>, ProjectionError> {
        let Some(mut feed) = patiently(stop, || self.begin(None)).await? else { return Ok(None) };
        let generation = feed.generation();
        loop {
            feed = self.fill(feed, None, stop).await?;
            if stop.is_cancelled() {
                return Ok(None);
            }
            // Readers must not go back in time.
            let behind = match live {
                Some(live) => self.store().position(live).await?.unwrap_or_default(),
                None => Position::START,
            };
            if feed.position() >= behind {
                break;
            }
        }
        self.store().built(generation).await?;
        self.switch_from(live, generation).await?;
        for old in self.store().before(generation).await? {
            self.retire(old).await?;
        }
        Ok(Some(generation))
    }

    async fn switch_from(
        &self,
        live: Option<Generation>,
        to: Generation,
    ) -> Result<(), ProjectionError> {
        match self.store().switch(live, to).await? {
            Switched::Done => {
                tracing::info!(projection = &*self.name, generation = %to, "is live");
                Ok(())
            }
            Switched::LiveChanged => {
                Err(ProjectionError::LiveChanged { projection: self.name.to_string() })
            }
            Switched::Missing => Err(self.not_applicable(to, "does not exist")),
            Switched::NotMade => Err(self.not_applicable(to, "is not made yet")),
        }
    }

    /// A generation to fill: one that was begun for the same end, or a new one.
    async fn begin(&self, until: Option<Position>) -> Result<Feed, ProjectionError> {
        let goal = until.map_or(NOW, Position::stored);
        let generation = match self.store().unfinished(goal).await? {
            Some(begun) => begun,
            None => self.store().create(goal).await?,
        };
        let prepared = self.view.prepare(generation).await;
        prepared.map_err(|source| self.view_failed(generation, source))?;
        self.feed(generation).await
    }

    /// Takes all up to `until`, or up to what has been recorded by now.
    async fn fill(
        &self,
        mut feed: Feed,
        until: Option<Position>,
        stop: &CancellationToken,
    ) -> Result<Feed, ProjectionError> {
        let drawn = self.log.drawn().await?;
        let until = until.map_or(drawn, |until| until.min(drawn));
        let total = self.log.count(feed.filter(), Position::START, until).await?;
        let mut shown = None;
        while feed.position() < until && !stop.is_cancelled() {
            let mark = self.log.high_water().await?.min(until);
            let fed = match feed.page(&self.log, mark, stop).await {
                Ok(fed) => fed,
                Err(ProjectionError::Sql(error)) if error.is_retryable() => {
                    tracing::warn!(projection = &*self.name, %error, "waiting for the database");
                    Fed::Wait(super::POLL)
                }
                Err(error) => return Err(error),
            };
            match fed {
                Fed::Some => {}
                Fed::All if mark > feed.position() => feed.advance(mark).await?,
                Fed::All => sleep(stop, LOOK).await,
                Fed::Wait(pause) => sleep(stop, pause).await,
            }
            if shown.replace(feed.position()) != Some(feed.position()) {
                self.show(&feed, until, total).await?;
            }
        }
        Ok(feed)
    }

    async fn show(&self, feed: &Feed, until: Position, total: u64) -> Result<(), ProjectionError> {
        let Some(on_progress) = &self.on_progress else { return Ok(()) };
        let position = feed.position();
        let left = self.log.count(feed.filter(), position, until).await?;
        let (generation, done) = (feed.generation(), total.saturating_sub(left));
        on_progress(&BuildProgress { generation, done, total, position, until });
        Ok(())
    }

    fn view_failed(
        &self,
        generation: Generation,
        source: fanfare_core::BoxError,
    ) -> ProjectionError {
        ProjectionError::View { projection: self.name.to_string(), generation, source }
    }
}
