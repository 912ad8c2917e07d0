//! A replay's row.

use super::ReplayProgress;
use crate::{
    Database, Position, SqlError,
    statement::{Statement, Value},
};

pub(super) struct Store<'a> {
    pub(super) database: &'a Database,
    pub(super) name: &'a str,
}

impl Store<'_> {
    pub(super) async fn progress(&self) -> Result<Option<ReplayProgress>, SqlError> {
        let sql = "select done, total, position, until from {replays} where name = $1";
        let rows: Vec<(i64, i64, i64, i64)> = self.fetch(sql, Vec::new()).await?;
        Ok(rows.first().map(|&(done, total, position, until)| {
            let total = total.unsigned_abs();
            ReplayProgress {
                done: done.unsigned_abs().min(total),
                total,
                position: Position::from_stored(position),
                until: Position::from_stored(until),
            }
        }))
    }

    /// The row of a replay that begins, unless somebody else has begun it.
    pub(super) async fn begin(
        &self,
        until: Position,
        total: u64,
    ) -> Result<ReplayProgress, SqlError> {
        let sql = "insert into {replays} (name, until, total) values ($1, $2, $3) \
                   on conflict (name) do nothing returning until";
        let values = vec![Value::Int(until.stored()), Value::Int(total.cast_signed())];
        let _: Vec<(i64,)> = self.fetch(sql, values).await?;
        let begun = self.progress().await?;
        begun.ok_or_else(|| SqlError::Corrupt { table: "replays", problem: "it vanished".into() })
    }

    /// Whether it was still at `from`.
    pub(super) async fn advance(
        &self,
        from: Position,
        to: &ReplayProgress,
    ) -> Result<bool, SqlError> {
        let sql = "update {replays} set position = $3, done = $4 \
                   where name = $1 and position = $2 returning position";
        let values = [from.stored(), to.position.stored(), to.done.cast_signed()];
        let rows: Vec<(i64,)> = self.fetch(sql, values.map(Value::Int).into()).await?;
        Ok(!rows.is_empty())
    }

    /// Runs a statement whose first value is the name.
    async fn fetch<R>(&self, sql: &str, values: Vec<Value>) -> Result<Vec<R>, SqlError>
    where
        R: crate::query::FromPostgres + crate::query::FromSqlite + Send + Unpin,
    {
        let name = std::iter::once(Value::Text(self.name.into()));
        let values = name.chain(values).collect();
        self.database.fetch(Statement { sql: self.database.names.sql(sql), values }).await
    }
}
