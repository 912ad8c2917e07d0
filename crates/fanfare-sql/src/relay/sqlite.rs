//! A lane's statements on SQLite.
//!
//! One writer at a time means that ids are committed in their order, and a deleted row leaves
//! nothing behind: there are no floors, no stragglers and no plans to fix here.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row as _, SqliteConnection, SqlitePool,
    sqlite::SqliteConnectOptions,
};

use super::{
    lease::Grant,
    snapshot::Snapshot,
    store::{Fetched, Hold, Plan, RowId, Verdict, row},
};
use crate::{SqlError, names::Names, outbox::COLUMNS};

/// How often a lane looks whether another connection has written: a look reads one number.
const POLL: Duration = Duration::from_millis(20);

/// A lane's connection.
pub(super) struct Sqlite {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    names: Names,
    version: Option<i64>,
}

const FETCH: &str = "select shard, id, event_id, tag, key, destination, attributes, body \
    from {outbox} where shard in (select value from json_each(?1)) \
    and key not in (select value from json_each(?3)) \
    and destination not in (select value from json_each(?4)) \
    order by id limit ?2";
const SETTLE: &str = "delete from {outbox} where id in (select value from json_each(?1))";
const HOLDS: &str = "select shard, key, released from {outbox_holds} \
    where shard in (select value from json_each(?1))";
const FENCE: &str = "select 1 from {outbox_shards} where shard = ?1 and owner = ?2 and epoch = ?3";
const HOLD: &str = "insert into {outbox_holds} (shard, key, event_id, reason, failures) \
    values (?1, ?2, ?3, ?4, ?5) on conflict do nothing";

impl Sqlite {
    pub(super) fn new(pool: &SqlitePool, names: &Names) -> Self {
        let options = pool.connect_options().as_ref().clone();
        Sqlite { options, connection: None, names: names.clone(), version: None }
    }

    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    fn sql(&self, text: &str) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.names.sql(&text.replace("COLUMNS", COLUMNS)))
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, SqlError> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        self.connection.as_mut().ok_or_else(|| sqlx::Error::PoolClosed.into())
    }

    pub(super) async fn fetch(&mut self, plan: &Plan) -> Result<Fetched, SqlError> {
        let sql = self.sql(FETCH);
        let shards: Vec<u16> = plan.shards.iter().map(|(shard, _)| *shard).collect();
        let limit = plan.limit.saturating_mul(i64::try_from(shards.len()).unwrap_or(1));
        let found = sqlx::query(sql)
            .bind(json(&shards))
            .bind(limit)
            .bind(json(&plan.without_keys))
            .bind(json(&plan.without_destinations))
            .fetch_all(self.connection().await?)
            .await?;
        let rows = found.iter().map(|columns| {
            let event = (columns.try_get(2)?, columns.try_get(3)?, columns.try_get(4)?);
            let attributes: &str = columns.try_get(6)?;
            let (shard, id) = (columns.try_get(0)?, columns.try_get(1)?);
            row(shard, id, event, columns.try_get(5)?, attributes, columns.try_get(7)?)
        });
        Ok(Fetched { rows: rows.collect::<Result<_, _>>()?, snapshot: Snapshot::default() })
    }

    pub(super) async fn settle(&mut self, rows: &[RowId]) -> Result<Snapshot, SqlError> {
        let sql = self.sql(SETTLE);
        sqlx::query(sql).bind(ids(rows)).execute(self.connection().await?).await?;
        Ok(Snapshot::default())
    }

    pub(super) async fn park(&mut self, rows: &[RowId]) -> Result<(), SqlError> {
        let park = "insert into {outbox_parked} (COLUMNS) select COLUMNS from {outbox} \
            where id in (select value from json_each(?1))";
        let statements = [self.sql(park), self.sql(SETTLE)];
        let mut tx = self.connection().await?.begin_with("BEGIN IMMEDIATE").await?;
        for sql in statements {
            sqlx::query(sql).bind(ids(rows)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    pub(super) async fn holds(&mut self, shards: &[u16]) -> Result<Vec<Hold>, SqlError> {
        let query = sqlx::query_as::<_, (u16, String, bool)>(self.sql(HOLDS)).bind(json(&shards));
        let holds = query.fetch_all(self.connection().await?).await?;
        let hold = |(shard, key, released)| Hold { shard, key, released };
        Ok(holds.into_iter().map(hold).collect())
    }

    pub(super) async fn hold(
        &mut self,
        grant: &Grant,
        verdict: Verdict<'_>,
    ) -> Result<bool, SqlError> {
        let moved = self.moving("{outbox}", "{outbox_parked}");
        let (fence, hold) = (self.sql(FENCE), self.sql(HOLD));
        let mut tx = self.connection().await?.begin_with("BEGIN IMMEDIATE").await?;
        if !fenced(&mut tx, fence, grant).await? {
            return Ok(false);
        }
        sqlx::query(hold)
            .bind(grant.shard)
            .bind(verdict.key)
            .bind(verdict.event_id)
            .bind(verdict.reason)
            .bind(verdict.failures)
            .execute(&mut *tx)
            .await?;
        for sql in moved {
            sqlx::query(sql).bind(grant.shard).bind(verdict.key).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn unpark(&mut self, grant: &Grant, key: &str) -> Result<bool, SqlError> {
        let moved = self.moving("{outbox_parked}", "{outbox}");
        let unhold = "delete from {outbox_holds} where shard = ?1 and key = ?2 and released";
        let (fence, unhold) = (self.sql(FENCE), self.sql(unhold));
        let mut tx = self.connection().await?.begin_with("BEGIN IMMEDIATE").await?;
        if !fenced(&mut tx, fence, grant).await? {
            return Ok(false);
        }
        for sql in moved.into_iter().chain([unhold]) {
            sqlx::query(sql).bind(grant.shard).bind(key).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn bury(
        &mut self,
        grant: &Grant,
        id: i64,
        reason: &str,
    ) -> Result<bool, SqlError> {
        let bury = "insert into {outbox_dead} (COLUMNS, reason) select COLUMNS, ?2 from {outbox} \
            where id = ?1";
        let (fence, bury) = (self.sql(FENCE), self.sql(bury));
        let settle = self.sql(SETTLE);
        let mut tx = self.connection().await?.begin_with("BEGIN IMMEDIATE").await?;
        if !fenced(&mut tx, fence, grant).await? {
            return Ok(false);
        }
        sqlx::query(bury).bind(id).bind(reason).execute(&mut *tx).await?;
        sqlx::query(settle).bind(ids(&[(grant.shard, id)])).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Statements that move all rows of a shard (`?1`) and key (`?2`).
    fn moving(&self, from: &str, to: &str) -> [AssertSqlSafe<Arc<str>>; 2] {
        let of_key = "where shard = ?1 and key = ?2";
        [
            self.sql(&format!("insert into {to} (COLUMNS) select COLUMNS from {from} {of_key}")),
            self.sql(&format!("delete from {from} {of_key}")),
        ]
    }

    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            let Ok(connection) = self.connection().await else { continue };
            let version = sqlx::query_scalar("pragma data_version").fetch_one(connection).await;
            let Ok(version) = version else { continue };
            if self.version.replace(version) != Some(version) {
                return;
            }
        }
    }
}

async fn fenced(
    tx: &mut SqliteConnection,
    fence: AssertSqlSafe<Arc<str>>,
    grant: &Grant,
) -> Result<bool, SqlError> {
    let query = sqlx::query(fence).bind(grant.shard).bind(&*grant.owner).bind(grant.epoch);
    Ok(query.fetch_optional(tx).await?.is_some())
}

fn ids(rows: &[RowId]) -> String {
    json(&rows.iter().map(|(_, id)| *id).collect::<Vec<i64>>())
}

fn json(values: &impl serde::Serialize) -> String {
    // Lists of strings and numbers: nothing in them can fail.
    serde_json::to_string(values).unwrap_or_default()
}
