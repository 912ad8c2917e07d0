//! Following PostgreSQL's log, so that lanes are told of what is committed and need not look for it.
//!
//! The table stays the truth. The slot is temporary, one for each session: it need not survive
//! anything, and when the relay dies, the server holds nothing back for it. Whatever goes wrong here
//! only makes the lanes look by themselves again.

mod login;
mod pgoutput;
mod session;

use std::{collections::HashSet, convert::Infallible, time::Duration};

use fanfare_core::{Backoff, BoxError};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    feed::{Outlet, ROOM, weight},
    lease::Owned,
    store::Row,
};
use crate::{SqlError, names::Names};
use session::{Session, Told};

/// Between tries to follow the log.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// A session that lasted so long had no lasting trouble.
const STEADY: Duration = Duration::from_secs(60);

/// At most so many causes are remembered as told.
const CAUSES: usize = 16;

/// Follows the log for the lanes of a relay.
pub(super) struct Tail {
    pub(super) options: PgConnectOptions,
    pub(super) names: Names,
    /// Each lane's: shard `n` is of lane `n` modulo their number.
    pub(super) outlets: Vec<Outlet>,
    pub(super) owned: watch::Receiver<Owned>,
}

/// Why the log is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TailError {
    #[error("wal_level is `{level}`: set it to `logical`, and start the server again")]
    Level { level: String },
    #[error(
        "synchronous_standby_names is set: the log tells of a commit before its standbys have it"
    )]
    Synchronous,
    #[error("publication `{name}` of the outbox is missing and cannot be made: {said}")]
    Publication { name: String, said: String },
    #[error("the pool's connections are encrypted: enable the feature `wal-tls`")]
    Encrypted,
    #[error("certificates and keys must be files: the log's client reads no others")]
    InlineCertificate,
    #[error("{0}")]
    Log(BoxError),
    #[error("the log had {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error("the server has said nothing for too long")]
    Silent,
    #[error("the server ended it")]
    Ended,
}

/// A transaction that is being told.
struct Open {
    id: u32,
    lanes: Vec<Part>,
}

/// What of a transaction is for one lane.
#[derive(Default)]
struct Part {
    rows: Vec<Row>,
    weight: usize,
}

impl Tail {
    /// Follows the log until `stop`, beginning again whenever it ends.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_following() => {}
        }
    }

    async fn keep_following(self) {
        let (mut failures, mut told) = (0, HashSet::new());
        loop {
            let began = Instant::now();
            let Err(error) = self.follow().await;
            self.outlets.iter().for_each(Outlet::end);
            if began.elapsed() >= STEADY || told.len() >= CAUSES {
                (failures, told) = (0, HashSet::new());
            }
            failures += 1;
            if told.insert(cause(&error)) {
                tracing::warn!(%error, "not following the log: lanes look by themselves");
            } else {
                tracing::debug!(%error, "not following the log");
            }
            sleep(BACKOFF.delay(failures)).await;
        }
    }

    async fn follow(&self) -> Result<Infallible, TailError> {
        let mut session = Session::open(&self.options, &self.names).await?;
        tracing::debug!("following the log");
        self.outlets.iter().for_each(Outlet::begin);
        let mut open: Option<Open> = None;
        loop {
            // A shard that nobody wants now is looked at from the beginning when somebody does.
            let wanted = |shard| self.owned.borrow().grants.contains_key(&shard);
            match (session.next(wanted).await?, &mut open) {
                (Told::Begin(id), None) => {
                    open = Some(Open {
                        id,
                        lanes: self.outlets.iter().map(|_| Part::default()).collect(),
                    });
                }
                (Told::Row(row), Some(open)) => open.add(*row),
                (Told::Commit, Some(_)) => {
                    if let Some(open) = open.take() {
                        self.put(open);
                    }
                }
                (Told::Other, _) => {}
                _ => return Err(TailError::Malformed("a transaction out of order")),
            }
        }
    }

    fn put(&self, Open { id, lanes }: Open) {
        for (outlet, Part { rows, weight }) in self.outlets.iter().zip(lanes) {
            if weight > ROOM {
                outlet.gap();
            } else if !rows.is_empty() {
                outlet.put(id, rows);
            }
        }
    }
}

impl Open {
    fn add(&mut self, row: Row) {
        let lane = usize::from(row.shard) % self.lanes.len().max(1);
        let Some(part) = self.lanes.get_mut(lane) else { return };
        part.weight += weight(&row);
        if part.weight > ROOM {
            // It would not fit: the lane will look for all of it.
            part.rows = Vec::new();
        } else {
            part.rows.push(row);
        }
    }
}

/// What is the same when it happens again: without the names of slots, the numbers of processes.
fn cause(error: &TailError) -> String {
    error.to_string().chars().filter(|c| !c.is_ascii_hexdigit()).collect()
}
