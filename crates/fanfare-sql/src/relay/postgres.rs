//! A lane's statements on PostgreSQL.

use std::sync::Arc;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    lease::Grant,
    snapshot::Snapshot,
    store::{Fetched, Hold, Plan, Row, RowId, Verdict, row},
};
use crate::{SqlError, names::Names, outbox::COLUMNS};

/// The planner guesses from statistics, and those of a queue are wrong at any moment: taken while
/// it was empty, they turn the look-ups by key into scans of all (measured: from 20,000 to under
/// 2,000 events per second). A plan that is fixed cannot flip. A lost deletion means a duplicate
/// after a crash of the server, and a wait for the disk at each is not worth that.
const SESSION: [(&str, &str); 7] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("synchronous_commit", "off"),
];

/// A lane's connection.
pub(super) struct Postgres {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    sql: Arc<Sql>,
}

/// The statements, with the tables' names in them.
struct Sql {
    fetch: Arc<str>,
    settle: Arc<str>,
    holds: Arc<str>,
    fence: Arc<str>,
    hold: Arc<str>,
    park_key: Arc<str>,
    park: Arc<str>,
    unpark: Arc<str>,
    unhold: Arc<str>,
    bury: Arc<str>,
}

impl Sql {
    fn new(names: &Names) -> Self {
        let sql = |text: &str| {
            names.sql(&text.replace("COLUMNS", COLUMNS).replace("SNAPSHOT", Snapshot::SQL))
        };
        Sql {
            // The first row is the snapshot that all of them were read with.
            fetch: sql(
                "select -1::int2 as shard, 0::int8 as id, '' as event_id, '' as tag, '' as key, \
                    '' as destination, '' as attributes, SNAPSHOT as body \
                union all \
                (select o.shard, o.id, o.event_id, o.tag, o.key, o.destination, o.attributes, o.body \
                from unnest($1::int2[], $2::int8[]) as s (shard, floor) \
                cross join lateral (select * from {outbox} o \
                    where o.shard = s.shard and o.id > s.floor \
                    and o.key <> all ($4::text[]) and o.destination <> all ($5::text[]) \
                    order by o.shard, o.id limit $3) o)",
            ),
            settle: sql("with gone as \
                    (delete from {outbox} o using unnest($1::int2[], $2::int8[]) as d (shard, id) \
                    where o.shard = d.shard and o.id = d.id) \
                select SNAPSHOT"),
            holds: sql("select shard, key, released from {outbox_holds} where shard = any ($1)"),
            fence: sql(
                "select 1 from {outbox_shards} where shard = $1 and owner = $2 and epoch = $3 \
                for share",
            ),
            hold: sql("insert into {outbox_holds} (shard, key, event_id, reason, failures) \
                values ($1, $2, $3, $4, $5) on conflict do nothing"),
            park_key: sql("with moved as \
                    (delete from {outbox} where shard = $1 and key = $2 returning COLUMNS) \
                insert into {outbox_parked} (COLUMNS) select COLUMNS from moved"),
            park: sql("with moved as \
                    (delete from {outbox} o using unnest($1::int2[], $2::int8[]) as d (shard, id) \
                    where o.shard = d.shard and o.id = d.id returning o.*) \
                insert into {outbox_parked} (COLUMNS) select COLUMNS from moved"),
            unpark: sql("with moved as \
                    (delete from {outbox_parked} where shard = $1 and key = $2 returning COLUMNS) \
                insert into {outbox} (COLUMNS) select COLUMNS from moved"),
            unhold: sql("delete from {outbox_holds} where shard = $1 and key = $2 and released"),
            bury: sql("with moved as \
                    (delete from {outbox} where shard = $1 and id = $2 returning COLUMNS) \
                insert into {outbox_dead} (COLUMNS, reason) select COLUMNS, $3 from moved"),
        }
    }
}

impl Postgres {
    pub(super) fn new(pool: &PgPool, names: &Names) -> Self {
        let options = pool.connect_options().as_ref().clone();
        let options = options.application_name("fanfare-relay").options(SESSION);
        Postgres { options, connection: None, sql: Arc::new(Sql::new(names)) }
    }

    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, SqlError> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        self.connection.as_mut().ok_or_else(|| sqlx::Error::PoolClosed.into())
    }

    pub(super) async fn fetch(&mut self, plan: &Plan) -> Result<Fetched, SqlError> {
        let sql = Arc::clone(&self.sql.fetch);
        let (shards, floors): (Vec<i16>, Vec<i64>) =
            plan.shards.iter().map(|(shard, floor)| (shard.cast_signed(), *floor)).unzip();
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(shards)
            .bind(floors)
            .bind(plan.limit)
            .bind(&plan.without_keys)
            .bind(&plan.without_destinations)
            .fetch_all(self.connection().await?)
            .await?;
        let mut fetched = Fetched::default();
        fetched.rows.reserve(found.len());
        for columns in found {
            match columns.try_get::<i16, _>(0)? {
                -1 => {
                    let text: &str = columns.try_get(7)?;
                    fetched.snapshot = snapshot(text)?;
                }
                shard => fetched.rows.push(read(shard, &columns)?),
            }
        }
        // The shards come one after another, but nothing promises it.
        fetched.rows.sort_by_key(|row| (row.shard, row.id));
        Ok(fetched)
    }

    pub(super) async fn settle(&mut self, rows: &[RowId]) -> Result<Snapshot, SqlError> {
        let (shards, ids) = shards_and_ids(rows);
        let sql = AssertSqlSafe(Arc::clone(&self.sql.settle));
        let query = sqlx::query_scalar::<_, String>(sql).bind(shards).bind(ids);
        let text = query.fetch_one(self.connection().await?).await?;
        snapshot(&text)
    }

    pub(super) async fn park(&mut self, rows: &[RowId]) -> Result<(), SqlError> {
        let (shards, ids) = shards_and_ids(rows);
        let sql = AssertSqlSafe(Arc::clone(&self.sql.park));
        sqlx::query(sql).bind(shards).bind(ids).execute(self.connection().await?).await?;
        Ok(())
    }

    pub(super) async fn holds(&mut self, shards: &[u16]) -> Result<Vec<Hold>, SqlError> {
        let sql = Arc::clone(&self.sql.holds);
        let shards: Vec<i16> = shards.iter().map(|shard| shard.cast_signed()).collect();
        let query = sqlx::query_as::<_, (i16, String, bool)>(AssertSqlSafe(sql)).bind(shards);
        let holds = query.fetch_all(self.connection().await?).await?;
        let hold = |(shard, key, released): (i16, String, bool)| Hold {
            shard: shard.cast_unsigned(),
            key,
            released,
        };
        Ok(holds.into_iter().map(hold).collect())
    }

    pub(super) async fn hold(
        &mut self,
        grant: &Grant,
        verdict: Verdict<'_>,
    ) -> Result<bool, SqlError> {
        let sql = Arc::clone(&self.sql);
        let shard = grant.shard.cast_signed();
        let mut tx = self.connection().await?.begin().await?;
        if !fenced(&mut tx, &sql, grant, shard).await? {
            return Ok(false);
        }
        sqlx::query(AssertSqlSafe(Arc::clone(&sql.hold)))
            .bind(shard)
            .bind(verdict.key)
            .bind(verdict.event_id)
            .bind(verdict.reason)
            .bind(verdict.failures.cast_signed())
            .execute(&mut *tx)
            .await?;
        let park = sqlx::query(AssertSqlSafe(Arc::clone(&sql.park_key)));
        park.bind(shard).bind(verdict.key).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn unpark(&mut self, grant: &Grant, key: &str) -> Result<bool, SqlError> {
        let sql = Arc::clone(&self.sql);
        let shard = grant.shard.cast_signed();
        let mut tx = self.connection().await?.begin().await?;
        if !fenced(&mut tx, &sql, grant, shard).await? {
            return Ok(false);
        }
        for statement in [&sql.unpark, &sql.unhold] {
            let query = sqlx::query(AssertSqlSafe(Arc::clone(statement)));
            query.bind(shard).bind(key).execute(&mut *tx).await?;
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
        let sql = Arc::clone(&self.sql);
        let shard = grant.shard.cast_signed();
        let mut tx = self.connection().await?.begin().await?;
        if !fenced(&mut tx, &sql, grant, shard).await? {
            return Ok(false);
        }
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&sql.bury)));
        query.bind(shard).bind(id).bind(reason).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Whether the shard is still ours; it stays so until the transaction ends.
async fn fenced(
    tx: &mut PgConnection,
    sql: &Sql,
    grant: &Grant,
    shard: i16,
) -> Result<bool, SqlError> {
    let query = sqlx::query(AssertSqlSafe(Arc::clone(&sql.fence)));
    let found = query.bind(shard).bind(&*grant.owner).bind(grant.epoch).fetch_optional(tx).await?;
    Ok(found.is_some())
}

fn snapshot(text: &str) -> Result<Snapshot, SqlError> {
    let unread = || sqlx::Error::Protocol("the server's snapshot is in unknown words".into());
    Ok(Snapshot::parse(text).ok_or_else(unread)?)
}

fn shards_and_ids(rows: &[RowId]) -> (Vec<i16>, Vec<i64>) {
    rows.iter().map(|(shard, id)| (shard.cast_signed(), *id)).unzip()
}

fn read(shard: i16, columns: &PgRow) -> Result<Row, SqlError> {
    let event = (columns.try_get(2)?, columns.try_get(3)?, columns.try_get(4)?);
    let attributes: &str = columns.try_get(6)?;
    row(shard, columns.try_get(1)?, event, columns.try_get(5)?, attributes, columns.try_get(7)?)
}
