//! History for one consumer.

mod store;
mod window;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use fanfare_core::{Consumer, ConsumerError, DeadLetters, Outcome, RawDelivery};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{EventLog, Filter, Position, SqlError};
use store::Store;
use window::Window;

/// Deliveries that one batch handles side by side, of different keys.
const CONCURRENCY: usize = 16;

/// While a transaction that wrote into the log before the replay began is open: between looks.
const LOOK: Duration = Duration::from_millis(50);

/// Hands history to one consumer, straight from the log; nobody else sees anything of it.
///
/// For a service that joins later and is to know what happened before, or one that has to handle
/// events anew. It gets what its queue would have brought: events of the types that it handles, from
/// their topics or sent to it, each marked as [replayed](fanfare_core::Metadata::replayed). In the
/// order of the log; a key's events one after another: where one fails, the key's later ones wait for
/// it, with the consumer's own back-off and number of attempts, and other keys go on.
///
/// # From history to live events without a gap
/// 1. Create the consumer's queue and its subscriptions. From now on the queue buffers.
/// 2. Run the replay to its end: all that was recorded before it first began.
/// 3. Start the worker on the queue.
///
/// What was recorded before the replay began is replayed, what was recorded since is in the queue;
/// some events are both, and the inbox knows them as duplicates. No event of a key is handled before
/// an earlier one, because the worker starts behind the replay's end.
///
/// ```no_run
/// # use fanfare_core::{Consumer, DeadLetters};
/// # use fanfare_sql::{Database, EventLog, Filter, Replay};
/// # async fn example(
/// #     orders: Database, recommendation: Consumer, dead_letters: impl DeadLetters,
/// #     provision_queue: impl Future<Output = ()>, run_worker: impl Future<Output = ()>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// provision_queue.await;                                       // 1
/// let replay = Replay::new(&EventLog::new(&orders), "recommendation-joins")
///     .filter(Filter::all().family("shop.orders.OrderPlaced.v1"))
///     .rate(500);
/// let stopped = async { drop(tokio::signal::ctrl_c().await) };
/// let replayed = replay.run(&recommendation, &dead_letters, stopped).await?;   // 2
/// if replayed.complete {
///     run_worker.await;                                        // 3, with the same consumer
/// }
/// # Ok(()) }
/// ```
///
/// # Progress
/// How far it has come is kept in the log's database, under the replay's name. Run again, after a
/// crash or a shutdown, it goes on to the same end; what was under way is handled once more, so give
/// the consumer an inbox. Run again after its end it does nothing: choose another name to replay
/// again, and another inbox if the effects are to happen again.
#[derive(Debug, Clone)]
#[must_use = "a replay does nothing until it is run"]
pub struct Replay {
    log: EventLog,
    name: String,
    filter: Filter,
    rate: Option<u32>,
    batch: usize,
}

/// What a run of a replay came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a replay that was stopped is not complete: live events must wait until it is"]
pub struct Replayed {
    /// Whether it came to its end; if not it was stopped, and goes on when run again.
    pub complete: bool,
    /// Events that were handled in this run.
    pub handled: u64,
    /// Events that the inbox knew.
    pub duplicates: u64,
    /// Events that were given up.
    pub dead_lettered: u64,
    /// Events that the consumer's policies let go.
    pub ignored: u64,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayProgress {
    /// Events that are done.
    pub done: u64,
    /// Events that there were when it first began; a few more may have been on their way.
    pub total: u64,
    /// All events up to this position are done.
    pub position: Position,
    /// Where it ends.
    pub until: Position,
}

impl ReplayProgress {
    /// Whether it has come to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.position >= self.until
    }
}

/// A replay did not go on; what it had done is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The consumer cannot work as it was put together.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// Another run of the same replay goes on at the same time, or one that was killed a moment ago
    /// had its last statement come through.
    #[error("replay `{name}` is being run by somebody else: let that one go on, or stop it")]
    Superseded {
        /// The replay's name.
        name: String,
    },
    /// The log's database failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl ReplayError {
    /// Whether running it again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            ReplayError::Sql(error) => error.is_retryable(),
            ReplayError::Superseded { .. } => true,
            ReplayError::Consumer(_) => false,
        }
    }
}

impl Replay {
    /// A replay of `log` under a name of its own: of all that its consumer handles, as fast as that
    /// goes, 100 events at a time.
    pub fn new(log: &EventLog, name: impl Into<String>) -> Self {
        let (log, name) = (log.clone(), name.into());
        Replay { log, name, filter: Filter::all(), rate: None, batch: 100 }
    }

    /// Only events that fit `filter`. One that runs again has to be given the same.
    pub fn filter(self, filter: Filter) -> Self {
        Replay { filter, ..self }
    }

    /// At most so many events per second, at least 1.
    pub fn rate(self, events_per_second: u32) -> Self {
        Replay { rate: Some(events_per_second.max(1)), ..self }
    }

    /// How many events are handed to the consumer at a time, at least 1; the default is 100. Up to
    /// ten times as many are in memory, and are handled once more after a crash.
    pub fn batch(self, events: usize) -> Self {
        Replay { batch: events.max(1), ..self }
    }

    /// How far it has come; none if it has not begun.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn progress(&self) -> Result<Option<ReplayProgress>, SqlError> {
        self.store().progress().await
    }

    fn store(&self) -> Store<'_> {
        Store { database: &self.log.database, name: &self.name }
    }

    /// Replays to the end, or until `shutdown` resolves; what is under way then is finished.
    ///
    /// # Errors
    /// [`ReplayError`]; run again, it goes on.
    pub async fn run(
        &self,
        consumer: &Consumer,
        dead_letters: &impl DeadLetters,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Replayed, ReplayError> {
        consumer.check()?;
        let stop = CancellationToken::new();
        let mut running = pin!(self.replay(consumer, dead_letters, stop.clone()));
        tokio::select! {
            replayed = &mut running => replayed,
            () = shutdown => {
                stop.cancel();
                running.await
            }
        }
    }

    async fn replay(
        &self,
        consumer: &Consumer,
        dead_letters: &impl DeadLetters,
        stop: CancellationToken,
    ) -> Result<Replayed, ReplayError> {
        let filter = self.filter.clone().received_by(consumer);
        let mut progress = self.begin(&filter).await?;
        let mut window = Window::new(progress.position, self.batch * 10);
        let mut replayed = Replayed::default();
        let mut pace = Pace { rate: self.rate, next: Instant::now() };
        let may_begin = || !stop.is_cancelled();
        loop {
            let missing = self.batch.saturating_sub(window.count_ready(self.batch));
            let room = window.room().min(missing);
            if room > 0 && window.read() < progress.until {
                let until = self.log.high_water().await?.min(progress.until);
                let page = self.log.read_until(&filter, window.read(), until, room).await?;
                window.extend(page, room, until);
            }
            self.save(&mut progress, &mut window).await?;
            if window.is_empty() && window.read() >= progress.until {
                return Ok(Replayed { complete: true, ..replayed });
            }
            if stop.is_cancelled() {
                return Ok(replayed);
            }
            let ready = window.ready(pace.share(self.batch));
            let pause = if ready.is_empty() { window.due().unwrap_or(LOOK) } else { pace.wait() };
            if !pause.is_zero() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            if ready.is_empty() || stop.is_cancelled() {
                continue;
            }
            pace.spend(ready.len());
            let (positions, batch): (Vec<Position>, Vec<RawDelivery>) = ready.into_iter().unzip();
            let mut outcomes = pin!(consumer.process(batch, CONCURRENCY, dead_letters, &may_begin));
            while let Some((index, outcome)) = outcomes.next().await {
                replayed.count(&outcome);
                window.settle(positions[index], &outcome);
            }
        }
    }

    /// Where it is, and on its first start where it ends: at the highest position that was drawn by
    /// then. What is not recorded at or below it yet is published after this, to the live queue.
    async fn begin(&self, filter: &Filter) -> Result<ReplayProgress, SqlError> {
        if let Some(progress) = self.store().progress().await? {
            return Ok(progress);
        }
        let until = self.log.drawn().await?;
        let total = self.log.count(filter, Position::START, until).await?;
        self.store().begin(until, total).await
    }

    async fn save(
        &self,
        progress: &mut ReplayProgress,
        window: &mut Window,
    ) -> Result<(), ReplayError> {
        let (position, done) = window.done();
        if position == progress.position {
            return Ok(());
        }
        let next = ReplayProgress { position, done: progress.done + done, ..*progress };
        if !self.store().advance(progress.position, &next).await? {
            return Err(ReplayError::Superseded { name: self.name.clone() });
        }
        *progress = next;
        Ok(())
    }
}

impl Replayed {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Handled { .. } => self.handled += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::DeadLettered(_) => self.dead_lettered += 1,
            Outcome::Ignored(_) => self.ignored += 1,
            _ => {}
        }
    }
}

/// Keeps to a rate.
struct Pace {
    rate: Option<u32>,
    next: Instant,
}

impl Pace {
    /// How many events may go at once: what a tenth of a second has room for.
    fn share(&self, batch: usize) -> usize {
        let share = self.rate.map_or(usize::MAX, |rate| rate as usize / 10);
        share.clamp(1, batch)
    }

    fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    fn spend(&mut self, events: usize) {
        let Some(rate) = self.rate else { return };
        let cost = Duration::from_secs_f64(events as f64 / f64::from(rate));
        self.next = self.next.max(Instant::now()) + cost;
    }
}
