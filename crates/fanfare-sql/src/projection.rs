//! Views that are made of the log's events, and made anew.

mod build;
mod error;
mod feed;
mod store;
mod unit;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use fanfare_core::{BoxError, Consumer};
use tokio_util::sync::CancellationToken;

use crate::{Database, EventLog, Filter, Position, SqlError};
pub use build::Until;
pub use error::ProjectionError;
use feed::{Fed, Feed};
use store::Store;

/// How long a projection that is not woken waits until it looks.
const POLL: Duration = Duration::from_millis(250);

/// A view of one's own on the events of a log: how it is made.
///
/// Each [`Generation`] of it is apart from the others, in tables or rows of its own, so that a new one
/// can be made while the old one is read.
pub trait View: Send + Sync + 'static {
    /// The handlers that keep `generation`, with their state: a router of
    /// [`on_tx`](fanfare_core::Router::on_tx) handlers for connections to the view's database, that
    /// return no events. The consumer's attempts and back-off are those of the projection.
    fn consumer(&self, generation: Generation) -> Consumer;

    /// Makes the empty tables of `generation`. It may be called again for one that was begun.
    fn prepare(&self, generation: Generation) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Drops what [`prepare`](Self::prepare) made. It may be called again.
    fn retire(&self, generation: Generation) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// One making of a view; numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(u32);

impl Generation {
    /// Its number, for the names of its tables.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    fn stored(self) -> i64 {
        i64::from(self.0)
    }

    /// None for 0, which stands for none.
    fn from_stored(number: i64) -> Option<Self> {
        u32::try_from(number).ok().filter(|number| *number > 0).map(Generation)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens when an event has failed as often as the consumer allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The run ends with [`ProjectionError::Failed`]: a view with something missing is wrong.
    #[default]
    Stop,
    /// The event is left out, with a warning in the log.
    Skip,
}

/// Keeps a [`View`] up to date with an event log, and makes it anew.
///
/// The view is in a database of its own choice: the log's, another, or one of another kind. The
/// position up to which the log is in it stands in that database too, and changes in the very
/// transaction that changes the view, up to 50 events at a time: whatever dies, view and position
/// agree. The position is changed by compare-and-set, so that of two runners of one generation the
/// second stops with [`ProjectionError::Superseded`] and has no effect.
///
/// ```no_run
/// use fanfare_core::{BoxError, Consumer, Delivery, EventType, HandlerError, Router};
/// use fanfare_sql::{Database, EventLog, Generation, Projection, View};
/// use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};
/// # #[derive(EventType, serde::Deserialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// # struct OrderPlaced { order_id: String }
///
/// struct Orders { pool: SqlitePool }
///
/// async fn placed(
///     table: String,
///     tx: &mut SqliteConnection,
///     order: Delivery<OrderPlaced>,
/// ) -> Result<(), HandlerError> {
///     let sql = AssertSqlSafe(format!("insert into {table} (id, state) values (?, 'placed')"));
///     sqlx::query(sql).bind(order.event.order_id).execute(tx).await?;
///     Ok(())
/// }
///
/// impl View for Orders {
///     fn consumer(&self, generation: Generation) -> Consumer {
///         Router::new("orders-view").on_tx(placed).with_state(format!("orders_{generation}"))
///     }
///
///     async fn prepare(&self, generation: Generation) -> Result<(), BoxError> {
///         let sql = format!("create table if not exists orders_{generation} (id text, state text)");
///         sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
///         Ok(())
///     }
///
///     async fn retire(&self, generation: Generation) -> Result<(), BoxError> {
///         let sql = format!("drop table if exists orders_{generation}");
///         sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
///         Ok(())
///     }
/// }
///
/// # async fn example(log: EventLog, pool: SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// let views = Database::sqlite(pool.clone());
/// views.migrate().await?;
/// let projection = Projection::new("orders", &log, &views, Orders { pool });
/// let stopped = async { drop(tokio::signal::ctrl_c().await) };
/// projection.run(stopped).await?;                        // makes it, then keeps it up to date
/// # Ok(()) }
/// ```
///
/// # Anew
/// [`rebuild`](Self::rebuild) makes a new generation beside the live one, brings it up to date,
/// makes it the live one and retires the older: readers ask [`live_generation`](Self::live_generation).
/// A runner of the old generation goes on with the new one by itself. [`build`](Self::build) makes one
/// as of a position or time, which is not made live unless by [`switch`](Self::switch).
///
/// # Failures
/// An event whose handler fails is tried again after the consumer's back-off, up to its number of
/// attempts, and holds up all behind it; then [`OnFailure`] decides. Failures of the databases that
/// may pass are waited out. Events that the view has no handler for are none of its business.
pub struct Projection<V> {
    name: Arc<str>,
    log: EventLog,
    target: Database,
    view: V,
    batch: usize,
    on_failure: OnFailure,
    on_progress: Option<OnProgress>,
}

type OnProgress = Arc<dyn Fn(&BuildProgress) + Send + Sync>;

/// How far the making of a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildProgress {
    /// Which is made.
    pub generation: Generation,
    /// Events that are in it.
    pub done: u64,
    /// Events that will be in it; those that are recorded meanwhile are not counted.
    pub total: u64,
    /// Up to where the log is in it.
    pub position: Position,
    /// Where its making ends.
    pub until: Position,
}

/// How far a view is behind its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// Events that it does not have yet.
    pub events: u64,
    /// How long ago the oldest of them was recorded, by the log's database's clock.
    pub time: Duration,
}

impl<V: View> Projection<V> {
    /// The projection `name` of `log` into `target`, which has to be migrated.
    pub fn new(name: impl Into<Arc<str>>, log: &EventLog, target: &Database, view: V) -> Self {
        Projection {
            name: name.into(),
            log: log.clone(),
            target: target.clone(),
            view,
            batch: 500,
            on_failure: OnFailure::default(),
            on_progress: None,
        }
    }

    /// How many events are read at a time, at least 1; the default is 500.
    #[must_use]
    pub fn batch(self, events: usize) -> Self {
        Projection { batch: events.max(1), ..self }
    }

    /// What happens when an event has failed as often as the consumer allows.
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        Projection { on_failure, ..self }
    }

    /// Calls `on_progress` while a generation is made, after each batch: for a progress bar.
    #[must_use]
    pub fn on_progress(self, on_progress: impl Fn(&BuildProgress) + Send + Sync + 'static) -> Self {
        Projection { on_progress: Some(Arc::new(on_progress)), ..self }
    }

    /// Keeps the live generation up to date until `shutdown` resolves; makes one first if there is
    /// none. Woken like a relay, by [`Outbox::wake`](crate::Outbox::wake), and looks four times a
    /// second by itself. Where the log is on PostgreSQL it has a connection of its own for that.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<(), ProjectionError> {
        let stop = CancellationToken::new();
        let mut running = pin!(self.keep(&stop));
        tokio::select! {
            ended = &mut running => ended,
            () = shutdown => {
                stop.cancel();
                running.await
            }
        }
    }

    /// The generation that is read; none while the first is being made.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn live_generation(&self) -> Result<Option<Generation>, SqlError> {
        self.store().live().await
    }

    /// How far the live generation is behind the log; all of it if there is none.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn lag(&self) -> Result<Lag, SqlError> {
        let live = self.live_generation().await?;
        let after = match live {
            Some(live) => self.store().position(live).await?.unwrap_or_default(),
            None => Position::START,
        };
        let consumer = self.view.consumer(live.unwrap_or(Generation(1)));
        let filter = Filter::all().handled_by(&consumer);
        let until = self.log.high_water().await?;
        let oldest = self.log.read_until(&filter, after, until, 1).await?;
        let Some(oldest) = oldest.first() else { return Ok(Lag::default()) };
        let time = self.log.now().await?.duration_since(oldest.recorded_at);
        let events = self.log.count(&filter, after, until).await?;
        Ok(Lag { events, time: time.try_into().unwrap_or_default() })
    }

    fn store(&self) -> Store<'_> {
        Store { database: &self.target, name: &self.name }
    }

    /// The live generation, whichever that is.
    async fn keep(&self, stop: &CancellationToken) -> Result<(), ProjectionError> {
        #[cfg(feature = "postgres")]
        let _listening = self.listen();
        let mut woken = self.log.database.woken();
        let mut feed: Option<Feed> = None;
        while !stop.is_cancelled() {
            let Some(live) = patiently(stop, || self.live_generation()).await? else { break };
            let Some(live) = live else {
                match self.make_live(None, stop).await {
                    // Another one that began at the same time was faster.
                    Ok(_) | Err(ProjectionError::LiveChanged { .. }) => continue,
                    Err(error) => return Err(error),
                }
            };
            let mut current = match feed.take() {
                Some(feed) if feed.generation() == live => feed,
                _ => match patiently(stop, || self.feed(live)).await? {
                    Some(feed) => feed,
                    None => break,
                },
            };
            let fed = async {
                let mark = self.log.high_water().await?;
                current.page(&self.log, mark, stop).await
            };
            match fed.await {
                Ok(Fed::Some) => {}
                Ok(Fed::All) => {
                    tokio::select! {
                        () = woken.woken() => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Ok(Fed::Wait(pause)) => sleep(stop, pause).await,
                Err(ProjectionError::Sql(error)) if error.is_retryable() => {
                    tracing::warn!(projection = &*self.name, %error, "waiting for the database");
                    sleep(stop, POLL).await;
                }
                // The generation was retired: the next round finds the one that is live now.
                Err(error) if self.store().live().await? == Some(live) => return Err(error),
                Err(_) => continue,
            }
            feed = Some(current);
        }
        Ok(())
    }

    /// Hears of events that other processes record, for as long as it is kept.
    #[cfg(feature = "postgres")]
    fn listen(&self) -> tokio_util::sync::DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(crate::wake::listen(self.log.database.clone(), stop.clone()));
        stop.drop_guard()
    }

    /// What feeds `generation`, from where it is.
    async fn feed(&self, generation: Generation) -> Result<Feed, ProjectionError> {
        let not_there = || self.not_applicable(generation, "does not exist");
        let position = self.store().position(generation).await?.ok_or_else(not_there)?;
        let consumer = self.view.consumer(generation);
        for handled in consumer.handled() {
            let (projection, tag) = (self.name.to_string(), handled.tag);
            if handled.connection.is_none() {
                return Err(ProjectionError::NotTransactional { projection, tag });
            }
            if handled.returns_events {
                return Err(ProjectionError::ReturnsEvents { projection, tag });
            }
        }
        Feed::new(self, generation, position, consumer)
    }

    fn not_applicable(&self, generation: Generation, problem: &'static str) -> ProjectionError {
        let projection = self.name.to_string();
        ProjectionError::NotApplicable { projection, generation, problem }
    }
}

/// `attempt` until it succeeds or fails for good; none if it is to stop.
async fn patiently<T, E, F>(
    stop: &CancellationToken,
    mut attempt: impl FnMut() -> F,
) -> Result<Option<T>, ProjectionError>
where
    ProjectionError: From<E>,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match attempt().await.map_err(ProjectionError::from) {
            Ok(value) => return Ok(Some(value)),
            Err(ProjectionError::Sql(error)) if error.is_retryable() => {
                tracing::warn!(%error, "waiting for the database");
                sleep(stop, POLL).await;
            }
            Err(error) => return Err(error),
        }
        if stop.is_cancelled() {
            return Ok(None);
        }
    }
}

async fn sleep(stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

impl<V> fmt::Debug for Projection<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection")
            .field("name", &self.name)
            .field("target", &self.target)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}
