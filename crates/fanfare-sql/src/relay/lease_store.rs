//! The tables of relays and of shards.

use std::{sync::Arc, time::Duration};

use sqlx::ConnectOptions;

use crate::{
    Database, SHARDS, SqlError,
    database::Pool,
    names::Names,
    statement::{Statement, Value, run::Run},
};

/// A connection of its own to the tables of relays and shards. It waits for the disk, unlike the
/// lanes': a lease that a crash of the server took back could be given twice.
pub(super) struct LeaseStore {
    connection: Connection,
    names: Names,
}

enum Connection {
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>, Option<sqlx::PgConnection>),
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>, Option<sqlx::SqliteConnection>),
}

/// How a database says what the statements below leave open. Their first value is the owner.
struct Words {
    /// For `NOW`: the database's clock.
    now: &'static str,
    /// For `LATER`: that and `$2` microseconds.
    later: &'static str,
    /// For `LOCK`: passes over rows that somebody else is changing.
    lock: &'static str,
    /// For `WAITS`: whether the shard `s` has something to publish. Its own way for each, because one
    /// finds a shard's rows by an index, and the other would read all of them for each shard.
    waits: &'static str,
}

#[cfg(feature = "postgres")]
const POSTGRES: Words = Words {
    now: "clock_timestamp()",
    later: "clock_timestamp() + $2 * interval '1 microsecond'",
    lock: "for update skip locked",
    waits: "exists (select 1 from {outbox} o where o.shard = s.shard)",
};

#[cfg(feature = "sqlite")]
const SQLITE: Words = Words {
    now: "cast(unixepoch('subsec') * 1000000 as integer)",
    later: "cast(unixepoch('subsec') * 1000000 as integer) + $2",
    lock: "",
    waits: "s.shard in (select o.shard from {outbox} o)",
};

const BEAT: &str = "insert into {outbox_relays} (owner, expires_at) values ($1, LATER) \
    on conflict (owner) do update set expires_at = excluded.expires_at";
const FORGET: &str = "delete from {outbox_relays} where expires_at < NOW and owner <> $1";
const COUNT: &str = "select count(*) from {outbox_relays} where expires_at >= NOW or owner = $1";
/// Shard and epoch as one number.
const RENEW: &str = "update {outbox_shards} set expires_at = LATER where owner = $1 \
    returning epoch * 64 + shard";
const TAKE: &str = "update {outbox_shards} set owner = $1, epoch = epoch + 1, expires_at = LATER \
    where shard in (select shard from {outbox_shards} \
        where owner is null or expires_at < NOW order by shard limit $3 LOCK) \
    returning epoch * 64 + shard";
const TAKE_WAITING: &str = "update {outbox_shards} \
    set owner = $1, epoch = epoch + 1, expires_at = LATER \
    where shard in (select s.shard from {outbox_shards} s \
        where (s.owner is null or s.expires_at < NOW) \
        and (WAITS or s.shard in (select h.shard from {outbox_holds} h where h.released)) LOCK) \
    returning epoch * 64 + shard";
const GIVE_UP: &str = "update {outbox_shards} set owner = null, expires_at = null \
    where owner = $1 and shard = $2";
const GIVE_UP_ALL: &str = "update {outbox_shards} set owner = null, expires_at = null \
    where owner = $1";
const LEAVE: &str = "delete from {outbox_relays} where owner = $1";

impl LeaseStore {
    pub(super) fn new(database: &Database) -> Self {
        let connection = match &database.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                let options = pool.connect_options().as_ref().clone();
                Connection::Postgres(Box::new(options.application_name("fanfare-leases")), None)
            }
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => {
                Connection::Sqlite(Box::new(pool.connect_options().as_ref().clone()), None)
            }
        };
        LeaseStore { connection, names: database.names.clone() }
    }

    /// Forgets the connection: after an error nobody knows what state it is in.
    pub(super) fn disconnect(&mut self) {
        match &mut self.connection {
            #[cfg(feature = "postgres")]
            Connection::Postgres(_, open) => *open = None,
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(_, open) => *open = None,
        }
    }

    /// Says that `owner` lives, and counts the relays that do.
    pub(super) async fn beat(&mut self, owner: &str, lease: Duration) -> Result<i64, SqlError> {
        self.run(BEAT, vec![text(owner), microseconds(lease)]).await?;
        self.run(FORGET, vec![text(owner)]).await?;
        Ok(self.run(COUNT, vec![text(owner)]).await?.first().copied().unwrap_or(1))
    }

    /// Renews all leases of `owner`, and gives shard and epoch of each.
    pub(super) async fn renew(
        &mut self,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<(u16, i64)>, SqlError> {
        Ok(shards(self.run(RENEW, vec![text(owner), microseconds(lease)]).await?))
    }

    /// Takes up to `most` shards that nobody has.
    pub(super) async fn take(
        &mut self,
        owner: &str,
        most: usize,
        lease: Duration,
    ) -> Result<Vec<(u16, i64)>, SqlError> {
        let most = Value::Int(i64::try_from(most).unwrap_or(i64::MAX));
        Ok(shards(self.run(TAKE, vec![text(owner), microseconds(lease), most]).await?))
    }

    /// Takes all shards that nobody has and that have something to publish.
    pub(super) async fn take_waiting(
        &mut self,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<(u16, i64)>, SqlError> {
        Ok(shards(self.run(TAKE_WAITING, vec![text(owner), microseconds(lease)]).await?))
    }

    /// Gives up some shards.
    pub(super) async fn give_up(&mut self, owner: &str, shards: &[u16]) -> Result<(), SqlError> {
        for shard in shards {
            self.run(GIVE_UP, vec![text(owner), Value::Int(i64::from(*shard))]).await?;
        }
        Ok(())
    }

    /// Gives up everything.
    pub(super) async fn leave(&mut self, owner: &str) -> Result<(), SqlError> {
        self.run(GIVE_UP_ALL, vec![text(owner)]).await?;
        self.run(LEAVE, vec![text(owner)]).await?;
        Ok(())
    }

    async fn run(&mut self, template: &str, values: Vec<Value>) -> Result<Vec<i64>, SqlError> {
        let statement = |words: &Words| {
            let sql = template.replace("NOW", words.now).replace("LATER", words.later);
            let sql = sql.replace("LOCK", words.lock).replace("WAITS", words.waits);
            let sql: Arc<str> = self.names.sql(&sql);
            Statement { sql, values }
        };
        match &mut self.connection {
            #[cfg(feature = "postgres")]
            Connection::Postgres(options, open) => {
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => options.connect().await?,
                };
                let result = connection.run(statement(&POSTGRES)).await;
                *open = Some(connection);
                result
            }
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(options, open) => {
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => options.connect().await?,
                };
                let result = connection.run(statement(&SQLITE)).await;
                *open = Some(connection);
                result
            }
        }
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn microseconds(duration: Duration) -> Value {
    Value::Int(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

fn shards(packed: Vec<i64>) -> Vec<(u16, i64)> {
    let shards = i64::from(SHARDS);
    // A remainder of SHARDS fits.
    packed.into_iter().map(|n| (n.rem_euclid(shards) as u16, n.div_euclid(shards))).collect()
}
