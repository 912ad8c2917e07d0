//! Looking into an outbox, and dealing with what could not be published.

use std::time::Duration;

use fanfare_core::Message;

use super::{Outbox, stored};
use crate::{
    SqlError,
    change::{Change, Words},
    shard::shard_of,
    statement::{Statement, Value},
};

/// What waits in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// The shard, 0 to 63.
    pub shard: u16,
    /// How many events wait; those of held keys are not among them.
    pub events: u64,
    /// How long ago the oldest was recorded, by the database's clock.
    pub oldest: Duration,
}

/// A key that is held because its next event was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldKey {
    /// The key.
    pub key: String,
    /// Id of the event that was refused.
    pub event_id: String,
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub failures: u32,
    /// How many events of the key wait behind it, itself included; those that were recorded a moment
    /// ago may not be among them yet.
    pub waiting: u64,
    /// How long it has been held, by the database's clock.
    pub held_for: Duration,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadEvent {
    /// The event.
    pub message: Message,
    /// Why it was given up.
    pub reason: String,
    /// How long ago, by the database's clock.
    pub dead_for: Duration,
}

const BACKLOG: &str = "select cast(shard as bigint), count(*), AGE[min(recorded_at)] from {outbox} \
    group by shard order by shard";

const HELD: &str = "select h.key, h.event_id, h.reason, cast(h.failures as bigint), \
    (select count(*) from {outbox_parked} p where p.shard = h.shard and p.key = h.key), \
    AGE[h.held_at] from {outbox_holds} h where not h.released order by h.held_at, h.key";

/// The relay that has the shard puts back what was parked: only it knows what it is publishing.
const RELEASE: &str = "update {outbox_holds} set released = true \
    where shard = $1 and key = $2 and not released returning cast(1 as bigint)";

/// The first parked event of a key.
const BURY: &str = "insert into {outbox_dead} (COLUMNS, reason) \
    select COLUMNS, (select reason from {outbox_holds} where shard = $1 and key = $2) \
    from {outbox_parked} where shard = $1 and key = $2 order by id limit 1 returning id";
const TAKE_OUT: &str =
    "delete from {outbox_parked} where shard = $1 and id = $2 returning cast(1 as bigint)";

const DEAD: &str = "select event_id, tag, key, destination, attributes, body, reason, AGE[dead_at] \
    from {outbox_dead} order by dead_at, id";
const REDRIVE: &str = "insert into {outbox} \
    (shard, event_id, tag, key, destination, attributes, body) \
    select shard, event_id, tag, key, destination, attributes, body from {outbox_dead} \
    where event_id = $1 returning cast(1 as bigint)";
const FORGET: &str = "delete from {outbox_dead} where event_id = $1 returning cast(1 as bigint)";
const PURGE: &str =
    "delete from {outbox_dead} where AGE[dead_at] * 1000 >= $1 returning cast(1 as bigint)";

/// A row of [`HELD`].
type Held = (String, String, String, i64, i64, f64);

/// A row of [`DEAD`].
type Dead = (String, String, String, String, String, String, String, f64);

impl Outbox {
    /// What waits, by shard; shards where nothing does are left out. It counts the rows one by one.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn backlog(&self) -> Result<Vec<Backlog>, SqlError> {
        let rows: Vec<(i64, i64, f64)> = self.database.fetch(self.statement(BACKLOG)).await?;
        let backlog = |(shard, events, age): (i64, i64, f64)| Backlog {
            shard: u16::try_from(shard).unwrap_or_default(),
            events: u64::try_from(events).unwrap_or_default(),
            oldest: seconds(age),
        };
        Ok(rows.into_iter().map(backlog).collect())
    }

    /// The keys that are held, the one held longest first.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn held(&self) -> Result<Vec<HeldKey>, SqlError> {
        let rows: Vec<Held> = self.database.fetch(self.statement(HELD)).await?;
        let held = |(key, event_id, reason, failures, waiting, age): Held| HeldKey {
            key,
            event_id,
            reason,
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            waiting: u64::try_from(waiting).unwrap_or_default(),
            held_for: seconds(age),
        };
        Ok(rows.into_iter().map(held).collect())
    }

    /// Lets a held key go on with the event that was refused: after its destination was mended. False
    /// if the key is not held.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn release(&self, key: &str) -> Result<bool, SqlError> {
        let mut change = Change::begin(&self.database).await?;
        let released = change.run(RELEASE, of_key(key)).await?;
        change.commit().await?;
        self.wake();
        Ok(!released.is_empty())
    }

    /// Lets a held key go on without the event that was refused, which goes to the dead letters.
    /// False if the key is not held.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn dead_letter(&self, key: &str) -> Result<bool, SqlError> {
        let mut change = Change::begin(&self.database).await?;
        if change.run(RELEASE, of_key(key)).await?.is_empty() {
            return Ok(false);
        }
        for id in change.run(BURY, of_key(key)).await? {
            change
                .run(TAKE_OUT, vec![Value::Int(i64::from(shard_of(key))), Value::Int(id)])
                .await?;
        }
        change.commit().await?;
        self.wake();
        Ok(true)
    }

    /// The events that were given up, oldest first.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn dead_letters(&self) -> Result<Vec<DeadEvent>, SqlError> {
        let rows: Vec<Dead> = self.database.fetch(self.statement(DEAD)).await?;
        let dead = |(id, tag, key, destination, attributes, body, reason, age): Dead| {
            let message = stored::message((id, tag, key), &destination, &attributes, body)?;
            Ok(DeadEvent { message, reason, dead_for: seconds(age) })
        };
        rows.into_iter().map(dead).collect()
    }

    /// Records an event that was given up once more, behind all others of its key. False if no such
    /// event was given up.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn redrive(&self, event_id: &str) -> Result<bool, SqlError> {
        let mut change = Change::begin(&self.database).await?;
        let again = change.run(REDRIVE, vec![Value::Text(event_id.into())]).await?;
        change.run(FORGET, vec![Value::Text(event_id.into())]).await?;
        change.commit().await?;
        self.wake();
        Ok(!again.is_empty())
    }

    /// A statement without values in this database's words.
    fn statement(&self, template: &str) -> Statement {
        let words = Words::of(self.database.dialect());
        Statement { sql: words.say(&self.database.names, template), values: Vec::new() }
    }

    /// Forgets events that were given up at least so long ago; gives their number.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn purge_dead_letters(&self, age: Duration) -> Result<u64, SqlError> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let mut change = Change::begin(&self.database).await?;
        let purged = change.run(PURGE, vec![Value::Int(age)]).await?.len();
        change.commit().await?;
        Ok(purged as u64)
    }
}

fn of_key(key: &str) -> Vec<Value> {
    vec![Value::Int(i64::from(shard_of(key))), Value::Text(key.into())]
}

fn seconds(age: f64) -> Duration {
    // A clock that was set back makes an age negative.
    Duration::try_from_secs_f64(age).unwrap_or_default()
}
