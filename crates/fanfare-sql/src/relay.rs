//! Publishing what was recorded.

mod drain;
#[cfg_attr(not(feature = "wal"), expect(dead_code, reason = "only the log feeds lanes"))]
mod feed;
mod floors;
mod lane;
mod lease;
mod lease_store;
mod obstacles;
#[cfg(feature = "postgres")]
mod postgres;
mod snapshot;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod sweeps;
#[cfg(feature = "wal")]
mod tail;

use std::{sync::Arc, time::Duration};

use fanfare_core::{DynPublisher, Publisher};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "wal")]
use crate::database::Pool;
use crate::{Database, SqlError, database::Dialect};
pub use drain::Drained;
use feed::Feed;
use lane::Lane;
use lease::{Keeper, Owned, Part};
use lease_store::LeaseStore;
use store::Store;

/// How many lanes publish side by side on PostgreSQL. SQLite has one writer, and one lane.
const LANES: usize = 4;

/// Publishes the events of an outbox, for as long as it [runs](Self::run), or [what waits
/// now](Self::drain).
///
/// - Any number of relays share an outbox: each leases its part of the 64 shards, and takes over
///   when another dies, within the [lease](Self::lease).
/// - A key's events are published in the order of their ids, one after the other's acceptance.
/// - A crash, or a lease that ran out, can publish once more what was under way: one call's events
///   per lane. They have the same ids, which FIFO topics and inboxes know a duplicate by.
/// - A destination that takes nothing (throttled, down, denied, missing) is left alone for a growing
///   time, up to 30 s, and then tried with a few events. Everything for others goes on; what waits
///   stays in the table ([`Outbox::backlog`](crate::Outbox::backlog)).
/// - An event that its destination refuses (too large, malformed) is tried a few
///   [times](Self::attempts), and then [`OnRefusal`] says what becomes of its key.
/// - The database's failures are waited out, for ever.
///
/// Relays are woken by [`Outbox::wake`](crate::Outbox::wake), and look twice a second by themselves.
/// On PostgreSQL a relay has connections of its own, some six, beside the pool's, made with the pool's
/// options; a pooler in between must keep sessions. With the feature `wal` it can be fed by the
/// database's log instead of looking (`Relay::tail_log`).
///
/// ```no_run
/// # use fanfare_core::Publisher;
/// # use fanfare_sql::{Database, Relay, SqlError};
/// # async fn example(database: Database, publisher: impl Publisher + 'static) -> Result<(), SqlError> {
/// let stopped = async { drop(tokio::signal::ctrl_c().await) };
/// Relay::new(&database, publisher).run(stopped).await?;
/// # Ok(()) }
/// ```
#[must_use = "a relay does nothing until it is run"]
pub struct Relay {
    database: Database,
    publisher: Arc<dyn DynPublisher>,
    lease: Duration,
    attempts: u32,
    on_refusal: OnRefusal,
    #[cfg(feature = "wal")]
    tails: bool,
}

/// What becomes of a key whose next event is refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRefusal {
    /// The key is held: it and its later events wait, out of the way of others, until
    /// [`Outbox::release`](crate::Outbox::release) or
    /// [`Outbox::dead_letter`](crate::Outbox::dead_letter).
    #[default]
    Strict,
    /// The event goes to the dead letters and the key goes on with the next.
    Skip,
}

impl Relay {
    /// A relay from `database` to `publisher`: leases of 30 s, three attempts for an event that is
    /// refused, [`OnRefusal::Strict`].
    pub fn new(database: &Database, publisher: impl Publisher + 'static) -> Self {
        Relay {
            database: database.clone(),
            publisher: Arc::new(publisher),
            lease: Duration::from_secs(30),
            attempts: 3,
            on_refusal: OnRefusal::default(),
            #[cfg(feature = "wal")]
            tails: false,
        }
    }

    /// For how long a shard is leased, at least 100 ms; the default is 30 s. After a crash another
    /// relay takes over when the lease has ended. One publish call is given up shortly before, so
    /// keep it above what a publisher's own retries take.
    pub fn lease(self, lease: Duration) -> Self {
        Relay { lease: lease.max(Duration::from_millis(100)), ..self }
    }

    /// How often an event that its destination refuses is tried, at least once, before its key is
    /// held or goes on without it; the default is 3, within some three seconds.
    pub fn attempts(self, attempts: u32) -> Self {
        Relay { attempts: attempts.max(1), ..self }
    }

    /// What becomes of a key whose next event is refused for good.
    pub fn on_refusal(self, on_refusal: OnRefusal) -> Self {
        Relay { on_refusal, ..self }
    }

    /// Follows PostgreSQL's log: lanes publish what a commit wrote there, as soon as it is there, and
    /// look into the table once a second only. With the feature `wal`.
    ///
    /// The table stays the truth, and all that a relay promises holds as without. Where the log cannot
    /// be followed, or no longer, the relay says so once for each cause as a warning, looks by itself,
    /// and tries again after a growing time of up to 30 s.
    ///
    /// # When
    /// Where commits come one by one and those who make them do not or cannot call
    /// [`Outbox::wake`](crate::Outbox::wake): other programs, other languages, triggers. What nobody
    /// says otherwise waits for a poll, half a second. Where everybody calls it, the relay is told as
    /// fast without this, and the log saves the server the looks. Under a load that keeps lanes busy
    /// they look anyway: that takes many events at once.
    ///
    /// # What it needs
    /// - `wal_level = logical` and a free one of `max_replication_slots` and of `max_wal_senders` for
    ///   each relay.
    /// - A user who may replicate (`alter role … replication`).
    /// - A publication of the outbox's inserts, named as the table is, with the schema in front if one
    ///   was set (`fanfare_outbox`, `events_fanfare_outbox`). The relay makes it if it may, as the
    ///   table's owner with the right to create in the database.
    /// - A direct way to the server, with the pool's options: host or socket, user, password, database,
    ///   and encryption. The latter needs the feature `wal-tls`; `sslmode=prefer` is plain without it.
    /// - No `synchronous_standby_names`: the log tells of a commit before its standbys have it, and a
    ///   fail-over could take back what was published.
    ///
    /// # What it costs
    /// - One connection, a process on the server that decodes the log of the whole database, and a
    ///   temporary replication slot, which goes with the connection: a relay that died holds no log
    ///   back. While decoding lags, behind a transaction with millions of rows for one, events wait
    ///   for the look of each second.
    /// - It begins only when all transactions on the server that were writing then have ended, and each
    ///   time that a lane went back to looking, likewise.
    /// - An event can be out a moment before others can see what its transaction wrote.
    ///
    /// ```no_run
    /// # use fanfare_core::Publisher;
    /// # use fanfare_sql::{Database, Relay};
    /// # fn example(database: Database, publisher: impl Publisher + 'static) -> Relay {
    /// Relay::new(&database, publisher).tail_log()
    /// # }
    /// ```
    #[cfg(feature = "wal")]
    pub fn tail_log(self) -> Self {
        Relay { tails: true, ..self }
    }

    /// Publishes until `shutdown` resolves; then finishes the calls that are under way and gives its
    /// shards up, so that another relay has them at once.
    ///
    /// # Errors
    /// [`SqlError`] if the tables are missing or access is denied when it starts. Whatever passes by
    /// itself is waited out. `SqlError::NoLog` if it is to follow the log of SQLite, which has none.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), SqlError> {
        #[cfg(feature = "wal")]
        if self.tails && self.database.dialect() == Dialect::Sqlite {
            return Err(SqlError::NoLog);
        }
        let owner: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let mut store = LeaseStore::new(&self.database);
        match store.beat(&owner, self.lease).await {
            Err(error) if !error.is_retryable() => return Err(error),
            Err(_) => store.disconnect(),
            Ok(_) => {}
        }
        let stop = CancellationToken::new();
        // Whatever ends this function ends the tasks.
        let _guard = stop.clone().drop_guard();
        let mut tasks = JoinSet::new();
        let owned = watch::Sender::new(Owned::default());
        let lanes = self.lanes();
        let (mut followed, mut outlets) = (Vec::new(), Vec::new());
        for number in 0..lanes {
            let follows = watch::Sender::new(0);
            followed.push(follows.subscribe());
            let (outlet, feed) = feed::feed();
            outlets.push(outlet);
            let lane = self.lane(number, lanes, owned.subscribe(), follows, feed);
            tasks.spawn(lane.run());
        }
        #[cfg(feature = "wal")]
        if let (true, Pool::Postgres(pool)) = (self.tails, &self.database.pool) {
            let options = pool.connect_options().as_ref().clone();
            let (names, owned) = (self.database.names.clone(), owned.subscribe());
            tasks.spawn(tail::Tail { options, names, outlets, owned }.run(stop.clone()));
        }
        #[cfg(feature = "postgres")]
        tasks.spawn(crate::wake::listen(self.database.clone(), stop.clone()));
        let lease = self.lease;
        let mut keeper = Keeper { part: Part::Share, owner, store, lease, owned, lanes: followed };
        let stopped = stop.clone();
        tasks.spawn(async move { keeper.run(stopped).await });
        shutdown.await;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// How many lanes it may have.
    fn lanes(&self) -> usize {
        match self.database.dialect() {
            Dialect::Postgres => LANES,
            Dialect::Sqlite => 1,
        }
    }

    fn lane(
        &self,
        number: usize,
        lanes: usize,
        owned: watch::Receiver<Owned>,
        follows: watch::Sender<u64>,
        feed: Feed,
    ) -> Lane {
        Lane {
            number,
            lanes,
            publisher: Arc::clone(&self.publisher),
            store: Store::new(&self.database),
            owned,
            follows,
            woken: self.database.woken(),
            feed,
            lease: self.lease,
            on_refusal: self.on_refusal,
            attempts: self.attempts,
            state: lane::State::default(),
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("database", &self.database)
            .field("lease", &self.lease)
            .field("on_refusal", &self.on_refusal)
            .finish_non_exhaustive()
    }
}
