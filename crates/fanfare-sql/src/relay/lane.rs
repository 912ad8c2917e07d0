//! One lane of a relay: looks at its shards, publishes what waits, deletes what was accepted.
//!
//! A look gives some rows of each shard, in order. They leave in *waves*, one publish call each: of
//! each key the next event, or, where the destination keeps order itself, all of them. A wave is
//! settled before the next one is sent, so that a crash repeats one wave at most.
//!
//! A lane that [tails](super::feed) is given rows by the database's log between its sweeps, and sends
//! them the same way. It looks by itself again as soon as one of them is not published.

mod drain;
mod waves;

pub(super) use drain::Drain;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fanfare_core::{Backoff, DynPublisher};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    OnRefusal,
    feed::Feed,
    floors::{Floors, Look, Sweep},
    lease::{Grant, Owned},
    obstacles::Obstacles,
    store::{Fetched, Plan, Row, RowId, Store},
    sweeps::{SWEEP, Sweeps},
};
use crate::{SqlError, wake::Woken};

/// Rows of one look, over all shards of the lane.
const ROWS: usize = 1_024;

/// The most rows of one shard, where one has more than its share and others have none.
const ROWS_OF_A_SHARD: i64 = 256;

/// Bytes of one look's bodies, roughly: where events are large, the next look asks for fewer.
const BYTES: usize = 8 << 20;

/// After a look that found little: lets some events come together for the next one. The longer
/// pause is for when several came at once, and more will.
const LINGER: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];

/// From so many on, several came at once.
const SEVERAL: usize = 3;

/// How often a lane looks when nobody tells it to.
const POLL: Duration = Duration::from_millis(500);

/// How long a lane that ends waits for what it published to be seen.
const LAST: Duration = Duration::from_secs(1);

/// Between looks while the database does not answer.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

pub(super) struct Lane {
    pub(super) number: usize,
    pub(super) lanes: usize,
    pub(super) publisher: Arc<dyn DynPublisher>,
    pub(super) store: Store,
    pub(super) owned: watch::Receiver<Owned>,
    /// Says which version of `owned` the lane works by.
    pub(super) follows: watch::Sender<u64>,
    pub(super) woken: Woken,
    pub(super) feed: Feed,
    pub(super) lease: Duration,
    pub(super) on_refusal: OnRefusal,
    pub(super) attempts: u32,
    pub(super) state: State,
}

/// What a lane remembers from look to look.
#[derive(Default)]
pub(super) struct State {
    grants: BTreeMap<u16, Grant>,
    floors: Floors,
    obstacles: Obstacles,
    held: HashSet<String>,
    /// Accepted by the broker, and not deleted: that failed, or the row cannot be seen yet, because its
    /// transaction, known then, is in the log and not in force for others.
    unsettled: Vec<(RowId, Option<u64>)>,
    sweeps: Sweeps,
    next_holds: Option<Instant>,
    /// The size of an event, roughly.
    bytes: usize,
    /// Whether the last look found few, and yet not all.
    lopsided: bool,
    /// How many events the broker has accepted.
    published: u64,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Now,
    Soon(Duration),
    WhenWoken,
}

impl Lane {
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let owned = self.owned.borrow_and_update().clone();
            self.take_over(&owned);
            self.follows.send_replace(owned.version);
            if owned.ended {
                self.finish().await;
                return;
            }
            let next = match self.turn().await {
                Ok(next) => {
                    failures = 0;
                    next
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(lane = self.number, %error, "the outbox could not be read");
                    self.store.disconnect();
                    self.stop_tailing();
                    let pause = BACKOFF.delay(failures);
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = self.owned.changed() => {}
                    }
                    continue;
                }
            };
            match next {
                Next::Now => {}
                Next::Soon(pause) => sleep(pause).await,
                Next::WhenWoken => self.wait().await,
            }
        }
    }

    /// Deletes what was published and could not be seen yet, so that the next relay does not publish
    /// it again.
    async fn finish(&mut self) {
        let end = Instant::now() + LAST.min(self.lease / 4);
        while Instant::now() < end && self.settle_what_is_left().await.is_ok() {
            if self.state.unsettled.is_empty() {
                return;
            }
            sleep(LINGER[0]).await;
        }
    }

    /// Takes note of what is owned now; shards that are new are looked at from the beginning.
    fn take_over(&mut self, owned: &Owned) {
        let mine = |shard: &u16| usize::from(*shard) % self.lanes == self.number;
        let grants: BTreeMap<_, _> = owned
            .grants
            .iter()
            .filter(|(shard, _)| mine(shard))
            .map(|(shard, grant)| (*shard, grant.clone()))
            .collect();
        let state = &mut self.state;
        let same = |grant: &Grant| {
            state.grants.get(&grant.shard).is_some_and(|known| known.epoch == grant.epoch)
        };
        let new: Vec<u16> = grants.values().filter(|grant| !same(grant)).map(|g| g.shard).collect();
        if !new.is_empty() || grants.len() != state.grants.len() {
            self.feed.stop();
        }
        for shard in new {
            state.floors.reset(shard);
            state.sweeps.all_now();
        }
        state.grants = grants;
    }

    async fn wait(&mut self) {
        let poll = Instant::now() + POLL;
        let until =
            self.state.obstacles.next().unwrap_or(poll).min(poll).min(self.state.sweeps.next());
        let tails = self.feed.tails();
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.woken.woken(), if !tails => {}
            () = self.feed.fed(), if tails => {}
            () = self.store.changed() => {}
            _ = self.owned.changed() => {}
        }
    }

    async fn turn(&mut self) -> Result<Next, SqlError> {
        let sweeps = self.state.sweeps.next() <= Instant::now();
        let next =
            if !sweeps && self.feed.tails() { self.send_fed().await? } else { self.look().await? };
        // What was published and could not be seen yet can be in a moment.
        let soon = next == Next::WhenWoken && !self.state.unsettled.is_empty();
        Ok(if soon { Next::Soon(LINGER[0]) } else { next })
    }

    /// The waves of what the log told.
    async fn send_fed(&mut self) -> Result<Next, SqlError> {
        self.settle_what_is_left().await?;
        let mut rows = self.feed.take(ROWS);
        rows.retain(|row| self.state.grants.contains_key(&row.shard));
        let found = rows.len();
        if found == 0 {
            return Ok(if self.feed.tails() { Next::WhenWoken } else { Next::Now });
        }
        let left = self.send(rows).await?;
        if !left.is_empty() || !self.is_clear() {
            self.stop_tailing();
            return Ok(Next::Now);
        }
        Ok(soon_after(found))
    }

    /// Looks by itself again, from the beginning: something that was fed is still in the table.
    fn stop_tailing(&mut self) {
        if self.feed.tails() {
            self.state.sweeps.all_now();
        }
        self.feed.stop();
    }

    /// Whether nothing keeps any event back.
    fn is_clear(&self) -> bool {
        self.state.obstacles.is_empty() && self.state.held.is_empty()
    }

    /// One look, and the waves of what it found.
    async fn look(&mut self) -> Result<Next, SqlError> {
        self.settle_what_is_left().await?;
        if self.state.grants.is_empty() {
            return Ok(Next::WhenWoken);
        }
        if !self.feed.tails() {
            self.feed.skip();
        }
        let now = Instant::now();
        let obstacle_due = self.state.obstacles.next().is_some_and(|at| at <= now);
        if obstacle_due {
            self.state.sweeps.all_now();
        }
        let mut sweep = self.state.sweeps.due(now, &self.state.grants);
        if sweep == Sweep::All || self.state.next_holds.is_none_or(|at| at <= now) {
            self.look_after_holds().await?;
            self.state.next_holds = Some(now + SWEEP);
        }
        let mut plan = self.plan(sweep);
        let mut began = Instant::now();
        let mut fetched = self.store.fetch(&plan).await?;
        if sweep != Sweep::All && self.state.floors.may_have_missed(&fetched.snapshot) {
            sweep = Sweep::All;
            plan = self.plan(sweep);
            began = Instant::now();
            fetched = self.store.fetch(&plan).await?;
        }
        self.state.sweeps.took(sweep, began.elapsed(), self.state.grants.len());
        if sweep == Sweep::All {
            self.forget_what_is_gone(&fetched.rows, &plan);
        }
        let found = fetched.rows.len();
        self.state.bytes = fetched.rows.iter().map(|row| row.message.body.len()).max().unwrap_or(0);
        let Fetched { mut rows, snapshot } = fetched;
        let mut looks = looks(&plan, &rows);
        if !self.state.unsettled.is_empty() {
            let sent: HashSet<RowId> = self.state.unsettled.iter().map(|(row, _)| *row).collect();
            rows.retain(|row| !sent.contains(&(row.shard, row.id)));
        }
        let left = self.send(rows).await?;
        for (shard, id) in left {
            if let Some(look) = looks.get_mut(&shard) {
                look.left = Some(look.left.map_or(id, |lowest| lowest.min(id)));
            }
        }
        let some_left = looks.values().any(|look| look.left.is_some());
        let cut = looks.values().any(|look| look.cut);
        self.state.lopsided = cut && found < ROWS / 2;
        let all = sweep == Sweep::All;
        let whole = all && !cut && !some_left && self.is_clear();
        self.feed.looked(snapshot.clone(), all, whole);
        self.state.floors.looked(now, snapshot, &looks, sweep);
        Ok(match found {
            0 => Next::WhenWoken,
            _ if cut || some_left => Next::Now,
            _ => soon_after(found),
        })
    }

    /// An obstacle whose time has come, and that nothing waits behind any more, is none.
    fn forget_what_is_gone(&mut self, rows: &[Row], plan: &Plan) {
        if looks(plan, rows).values().any(|look| look.cut) {
            return;
        }
        let keys = rows
            .iter()
            .map(|row| row.message.key.as_str())
            .chain(plan.without_keys.iter().map(String::as_str));
        let destinations =
            rows.iter().map(|row| &row.destination).chain(&plan.without_destinations);
        self.state.obstacles.keep(&keys.collect(), &destinations.map(String::as_str).collect());
    }

    fn plan(&self, sweep: Sweep) -> Plan {
        let State { grants, floors, obstacles, bytes, lopsided, .. } = &self.state;
        let now = Instant::now();
        let floor = |shard: &u16| if sweep.covers(*shard) { 0 } else { floors.of(*shard) };
        let all = sweep == Sweep::All;
        let rows = ROWS.min(BYTES / (*bytes).max(1)).max(grants.len());
        let share = i64::try_from(rows / grants.len().max(1)).unwrap_or(1).max(1);
        Plan {
            shards: grants.keys().map(|shard| (*shard, floor(shard))).collect(),
            limit: if *lopsided { share.max(ROWS_OF_A_SHARD.min(share * 4)) } else { share },
            without_keys: obstacles.keys(all, now),
            without_destinations: obstacles.destinations(all, now),
        }
    }

    async fn settle_what_is_left(&mut self) -> Result<(), SqlError> {
        if !self.state.unsettled.is_empty() {
            let rows: Vec<RowId> = self.state.unsettled.iter().map(|(row, _)| *row).collect();
            let snapshot = self.store.settle(&rows).await?;
            let unseen =
                |(_, told): &(_, Option<u64>)| told.is_some_and(|told| snapshot.runs(told));
            self.state.unsettled.retain(unseen);
        }
        Ok(())
    }

    /// Learns which keys are held, and puts back what was parked for those that were released.
    async fn look_after_holds(&mut self) -> Result<(), SqlError> {
        let shards: Vec<u16> = self.state.grants.keys().copied().collect();
        let mut held = HashSet::new();
        for hold in self.store.holds(&shards).await? {
            let grant = self.state.grants.get(&hold.shard).filter(|grant| self.is_safe(grant));
            match grant {
                Some(grant) if hold.released && self.store.unpark(grant, &hold.key).await? => {
                    tracing::info!(key_shard = hold.shard, "a key was released");
                    self.state.floors.reset(hold.shard);
                    self.state.obstacles.cleared(&hold.key);
                }
                _ => drop(held.insert(hold.key)),
            }
        }
        self.state.held = held;
        Ok(())
    }

    /// Whether there is enough left of a lease to begin something.
    fn is_safe(&self, grant: &Grant) -> bool {
        Instant::now() + self.lease / 10 < grant.until
    }
}

/// When to look again after `found` rows.
fn soon_after(found: usize) -> Next {
    match found {
        _ if found >= ROWS / 4 => Next::Now,
        _ => Next::Soon(LINGER[usize::from(found >= SEVERAL)]),
    }
}

/// What a look saw of each shard, before anything was sent.
fn looks(plan: &Plan, rows: &[Row]) -> BTreeMap<u16, Look> {
    let mut looks: BTreeMap<u16, (i64, i64)> =
        plan.shards.iter().map(|(shard, _)| (*shard, (0, 0))).collect();
    for row in rows {
        let (highest, count) = looks.entry(row.shard).or_default();
        *highest = row.id.max(*highest);
        *count += 1;
    }
    let look =
        |(shard, (highest, count))| (shard, Look { highest, cut: count >= plan.limit, left: None });
    looks.into_iter().map(look).collect()
}
