//! The rows of a projection, in the view's database.

use super::Generation;
use crate::{
    Database, Position, SqlError,
    change::Change,
    query::{FromPostgres, FromSqlite},
    statement::{Statement, Value},
};

pub(super) struct Store<'a> {
    pub(super) database: &'a Database,
    pub(super) name: &'a str,
}

impl Store<'_> {
    pub(super) async fn live(&self) -> Result<Option<Generation>, SqlError> {
        let sql = "select live from {projections} where name = $1";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![]).await?;
        Ok(rows.first().and_then(|row| Generation::from_stored(row.0)))
    }

    pub(super) async fn position(
        &self,
        generation: Generation,
    ) -> Result<Option<Position>, SqlError> {
        let sql = "select position from {generations} where name = $1 and generation = $2";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![generation.stored()]).await?;
        Ok(rows.first().map(|row| Position::from_stored(row.0)))
    }

    /// Whether `generation` exists and is made.
    pub(super) async fn is_built(&self, generation: Generation) -> Result<Option<bool>, SqlError> {
        let sql = "select cast(built as bigint) from {generations} \
                   where name = $1 and generation = $2";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![generation.stored()]).await?;
        Ok(rows.first().map(|row| row.0 > 0))
    }

    /// The newest generation that was begun for `goal` and is not made.
    pub(super) async fn unfinished(&self, goal: i64) -> Result<Option<Generation>, SqlError> {
        let sql = "select max(generation) from {generations} \
                   where name = $1 and goal = $2 and built = 0";
        let rows: Vec<(Option<i64>,)> = self.fetch(sql, vec![goal]).await?;
        Ok(rows.first().and_then(|row| row.0).and_then(Generation::from_stored))
    }

    /// A new generation, at the log's start.
    pub(super) async fn create(&self, goal: i64) -> Result<Generation, SqlError> {
        let name = || Value::Text(self.name.into());
        let mut change = Change::begin(self.database).await?;
        let sql = "insert into {projections} (name, latest) values ($1, 1) \
                   on conflict (name) do update set latest = {projections}.latest + 1 \
                   returning latest";
        let latest = change.run(sql, vec![name()]).await?;
        let generation = latest.first().and_then(|number| Generation::from_stored(*number));
        let generation = generation.ok_or_else(|| SqlError::Corrupt {
            table: "projections",
            problem: "its generations have run out".into(),
        })?;
        let sql = "insert into {generations} (name, generation, goal) values ($1, $2, $3) \
                   returning generation";
        let values = vec![name(), Value::Int(generation.stored()), Value::Int(goal)];
        change.run(sql, values).await?;
        change.commit().await?;
        Ok(generation)
    }

    /// Whether `generation` was still at `from`, and is at `to` now.
    pub(super) async fn advance(
        &self,
        generation: Generation,
        from: Position,
        to: Position,
    ) -> Result<bool, SqlError> {
        let values = vec![generation.stored(), from.stored(), to.stored()];
        let rows: Vec<(i64,)> = self.fetch(ADVANCE, values).await?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn built(&self, generation: Generation) -> Result<(), SqlError> {
        let sql = "update {generations} set built = 1 where name = $1 and generation = $2 \
                   returning generation";
        let _: Vec<(i64,)> = self.fetch(sql, vec![generation.stored()]).await?;
        Ok(())
    }

    /// Whether `from` was still live, and `to` is now.
    pub(super) async fn switch(
        &self,
        from: Option<Generation>,
        to: Generation,
    ) -> Result<bool, SqlError> {
        let from = from.map_or(0, Generation::stored);
        let sql = "update {projections} set live = $3 where name = $1 and live = $2 returning live";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![from, to.stored()]).await?;
        Ok(!rows.is_empty())
    }

    /// The generations before `generation`.
    pub(super) async fn before(&self, generation: Generation) -> Result<Vec<Generation>, SqlError> {
        let sql = "select generation from {generations} where name = $1 and generation < $2 \
                   order by generation";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![generation.stored()]).await?;
        Ok(rows.into_iter().filter_map(|row| Generation::from_stored(row.0)).collect())
    }

    /// Forgets a generation, unless it is live: whoever feeds it finds it gone.
    pub(super) async fn remove(&self, generation: Generation) -> Result<bool, SqlError> {
        let sql = "delete from {generations} where name = $1 and generation = $2 \
                   and not exists (select 1 from {projections} where name = $1 and live = $2) \
                   returning generation";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![generation.stored()]).await?;
        Ok(!rows.is_empty())
    }

    /// Runs a statement whose first value is the name.
    async fn fetch<R>(&self, sql: &str, values: Vec<i64>) -> Result<Vec<R>, SqlError>
    where
        R: FromPostgres + FromSqlite + Send + Unpin,
    {
        let name = std::iter::once(Value::Text(self.name.into()));
        let values = name.chain(values.into_iter().map(Value::Int)).collect();
        self.database.fetch(Statement { sql: self.database.names.sql(sql), values }).await
    }
}

/// Name, generation, the position that it is at, and the next.
pub(super) const ADVANCE: &str = "update {generations} set position = $4 \
    where name = $1 and generation = $2 and position = $3 returning position";
