//! The rows of a projection, in the view's database.

use super::Generation;
use crate::{
    Database, Position, SqlError,
    change::Change,
    database::Dialect,
    query::{FromPostgres, FromSqlite},
    statement::{Statement, Value},
};

/// What came of making a generation live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switched {
    Done,
    /// Another one is live by now.
    LiveChanged,
    /// There is no such generation.
    Missing,
    NotMade,
}

/// The goal of a generation that is being retired.
const GIVEN_UP: i64 = -2;

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

    /// Makes `to` live in the place of `from`.
    pub(super) async fn switch(
        &self,
        from: Option<Generation>,
        to: Generation,
    ) -> Result<Switched, SqlError> {
        let name = || Value::Text(self.name.into());
        let mut change = Change::begin(self.database).await?;
        if self.lock(&mut change).await? != from {
            return Ok(Switched::LiveChanged);
        }
        let sql = "select cast(built as bigint) from {generations} \
                   where name = $1 and generation = $2";
        match change.run(sql, vec![name(), Value::Int(to.stored())]).await?.first() {
            None => return Ok(Switched::Missing),
            Some(0) => return Ok(Switched::NotMade),
            Some(_) => {}
        }
        let sql = "update {projections} set live = $2 where name = $1 returning live";
        change.run(sql, vec![name(), Value::Int(to.stored())]).await?;
        change.commit().await?;
        Ok(Switched::Done)
    }

    /// The live generation, which nobody else can change until `change` ends.
    async fn lock(&self, change: &mut Change) -> Result<Option<Generation>, SqlError> {
        let wait = if self.database.dialect() == Dialect::Postgres { " for update" } else { "" };
        let sql = format!("select live from {{projections}} where name = $1{wait}");
        let live = change.run(&sql, vec![Value::Text(self.name.into())]).await?;
        Ok(live.first().and_then(|live| Generation::from_stored(*live)))
    }

    /// The generations before `generation`.
    pub(super) async fn before(&self, generation: Generation) -> Result<Vec<Generation>, SqlError> {
        let sql = "select generation from {generations} where name = $1 and generation < $2 \
                   order by generation";
        let rows: Vec<(i64,)> = self.fetch(sql, vec![generation.stored()]).await?;
        Ok(rows.into_iter().filter_map(|row| Generation::from_stored(row.0)).collect())
    }

    /// Whether `generation` was there and not live, and can never be live now.
    pub(super) async fn give_up(&self, generation: Generation) -> Result<bool, SqlError> {
        let mut change = Change::begin(self.database).await?;
        if self.lock(&mut change).await? == Some(generation) {
            return Ok(false);
        }
        let sql = "update {generations} set built = 0, goal = $3 \
                   where name = $1 and generation = $2 returning generation";
        let values = vec![Value::Int(generation.stored()), Value::Int(GIVEN_UP)];
        let name = std::iter::once(Value::Text(self.name.into()));
        let given_up = change.run(sql, name.chain(values).collect()).await?;
        change.commit().await?;
        Ok(!given_up.is_empty())
    }

    /// Forgets a generation that was given up.
    pub(super) async fn remove(&self, generation: Generation) -> Result<(), SqlError> {
        let sql = "delete from {generations} where name = $1 and generation = $2 and goal = $3 \
                   returning generation";
        let _: Vec<(i64,)> = self.fetch(sql, vec![generation.stored(), GIVEN_UP]).await?;
        Ok(())
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
