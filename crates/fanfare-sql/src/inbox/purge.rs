//! Forgetting what can no longer come again.

use std::time::Duration;

use super::SqlInbox;
use crate::{
    Database, SqlError,
    database::Dialect,
    statement::{Statement, Value},
};

/// Rows that go in one transaction: it holds nobody up for long.
const BATCH: i64 = 1_000;

/// Between two looks for what is old.
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// Two that purge at once take different rows.
const POSTGRES: &str = "with old as materialized (select ctid from TABLE where OLD \
    limit $2 for update skip locked) \
    delete from TABLE where ctid = any (array(select ctid from old)) returning cast(1 as bigint)";

const SQLITE: &str = "delete from TABLE where (consumer, source, event_id) in \
    (select consumer, source, event_id from TABLE where OLD limit $2) returning 1";

impl SqlInbox {
    /// Forgets events, of all consumers that share the tables, that were handled longer than
    /// `older_than` ago ([`RETENTION`](Self::RETENTION) is a good value), some thousand in a
    /// transaction, and gives how many those were. A message that comes again after that is
    /// handled again.
    ///
    /// # Errors
    /// [`SqlError`]; what was forgotten until then stays so.
    pub async fn purge(&self, older_than: Duration) -> Result<u64, SqlError> {
        let handled = ("handled_at", older_than);
        purge(&self.database, "{inbox_followed}", handled).await?;
        purge(&self.database, "{inbox}", handled).await
    }

    /// [`purge`](Self::purge) now and every hour, until `shutdown` resolves: to be spawned beside
    /// the workers, in one process or in all. A failure is logged, and tried again an hour later.
    pub async fn purge_hourly(&self, older_than: Duration, shutdown: impl Future<Output = ()>) {
        let purging = async {
            loop {
                match self.purge(older_than).await {
                    Ok(events) => tracing::debug!(events, "handled events are forgotten"),
                    Err(error) => tracing::warn!(%error, "handled events were not forgotten"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = purging => {}
        }
    }
}

/// Deletes rows of `table` whose time in a column is longer ago than that; gives how many.
pub(crate) async fn purge(
    database: &Database,
    table: &str,
    (column, ago): (&str, Duration),
) -> Result<u64, SqlError> {
    let (template, old) = match database.dialect() {
        Dialect::Postgres => (POSTGRES, " < clock_timestamp() - $1 * interval '1 millisecond'"),
        Dialect::Sqlite => (SQLITE, " < cast(unixepoch('subsec') * 1000 as integer) - $1"),
    };
    let sql = template.replace("TABLE", table).replace("OLD", &format!("{column}{old}"));
    let sql = database.names.sql(&sql);
    // At most some hundred years: no database's calendar ends before.
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX).min(1 << 42);
    let mut deleted = 0;
    loop {
        let values = vec![Value::Int(ago), Value::Int(BATCH)];
        let rows: Vec<(i64,)> = database.fetch(Statement { sql: sql.clone(), values }).await?;
        deleted += rows.len() as u64;
        if rows.len() < BATCH.unsigned_abs() as usize {
            return Ok(deleted);
        }
    }
}
