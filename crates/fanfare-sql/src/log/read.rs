//! Rows of the log as events.

use std::fmt;

use fanfare_core::{Attribute, Message, Metadata, RawDelivery};
use jiff::Timestamp;

use super::filter::{Filter, instant, instant_value};
use crate::{
    Database, SqlError,
    database::Dialect,
    outbox,
    statement::{Statement, Value},
};

/// A place in a log, counted from 1; positions grow, with gaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Position = Position(0);

    /// The position with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Position(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn stored(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    pub(crate) fn from_stored(number: i64) -> Self {
        Position(u64::try_from(number).unwrap_or(0))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// Its place.
    pub position: Position,
    /// When it was recorded, by the database's clock.
    pub recorded_at: Timestamp,
    /// Which service published it: with the message's id it identifies the event.
    pub source: String,
    /// Its number within its key, from 1; none unless it was appended with one.
    pub version: Option<u64>,
    /// The event, byte for byte as it was published.
    pub message: Message,
}

impl LoggedEvent {
    /// The event as a consumer receives it: a first delivery, in the ordered group of its key.
    #[must_use]
    pub fn into_delivery(self) -> RawDelivery {
        let Message { key, attributes, body, .. } = self.message;
        let mut metadata = Metadata::new(format!("log-{}", self.position), 1).in_group(key);
        metadata.sent_at = Some(self.recorded_at);
        let mut delivery = RawDelivery::new(body, metadata);
        let attributes = attributes.into_iter();
        delivery.attributes = attributes.map(|(name, v)| (name, Attribute::text(v))).collect();
        delivery
    }
}

/// Position, microseconds of recording, version; source, destination, id, tag, key, attributes, body.
type Row = (i64, i64, Option<i64>, String, String, String, String, String, String, String);

fn columns(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "position, (extract(epoch from recorded_at) * 1000000)::int8, version, \
             source, destination, event_id, tag, key, attributes, body"
        }
        Dialect::Sqlite => {
            "position, recorded_at * 1000, version, \
             source, destination, event_id, tag, key, attributes, body"
        }
    }
}

fn event(row: Row) -> Result<LoggedEvent, SqlError> {
    let (position, recorded_at, version, source, destination, id, tag, key, attributes, body) = row;
    let recorded_at = Timestamp::from_microsecond(recorded_at)
        .map_err(|_| corrupt("its time of recording is out of range"))?;
    let message =
        outbox::message((id, tag, key), &destination, &attributes, body).map_err(of_log)?;
    Ok(LoggedEvent {
        position: Position::from_stored(position),
        recorded_at,
        source,
        version: version.and_then(|version| u64::try_from(version).ok()),
        message,
    })
}

/// What was wrong with an outbox's row is so with this one.
fn of_log(error: SqlError) -> SqlError {
    match error {
        SqlError::Corrupt { problem, .. } => SqlError::Corrupt { table: "log", problem },
        error => error,
    }
}

fn corrupt(problem: &str) -> SqlError {
    SqlError::Corrupt { table: "log", problem: problem.into() }
}

/// Events behind `after` and not behind `until`, in the order of their positions.
pub(super) async fn page(
    database: &Database,
    filter: &Filter,
    after: Position,
    until: Position,
    limit: usize,
) -> Result<Vec<LoggedEvent>, SqlError> {
    let dialect = database.dialect();
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    let mut values = vec![Value::Int(after.stored()), Value::Int(until.stored()), limit];
    let conditions = filter.conditions(dialect, &mut values);
    let sql = format!(
        "select {} from {{log}} where position > $1 and position <= $2{conditions} \
         order by position limit $3",
        columns(dialect)
    );
    let rows = database.fetch(Statement { sql: database.names.sql(&sql), values }).await?;
    rows.into_iter().map(event).collect()
}

/// How many events there are between two positions.
pub(super) async fn count(
    database: &Database,
    filter: &Filter,
    after: Position,
    until: Position,
) -> Result<u64, SqlError> {
    let mut values = vec![Value::Int(after.stored()), Value::Int(until.stored())];
    let conditions = filter.conditions(database.dialect(), &mut values);
    let sql =
        format!("select count(*) from {{log}} where position > $1 and position <= $2{conditions}");
    let statement = Statement { sql: database.names.sql(&sql), values };
    let rows: Vec<(i64,)> = database.fetch(statement).await?;
    Ok(rows.first().map_or(0, |row| row.0.unsigned_abs()))
}

/// Events of one key from a version on, in the order of their versions.
pub(super) async fn stream(
    database: &Database,
    key: &str,
    from_version: u64,
) -> Result<Vec<LoggedEvent>, SqlError> {
    let from = Value::Int(Position::new(from_version).stored());
    let sql = format!(
        "select {} from {{log}} where key = $1 and version >= $2 order by version",
        columns(database.dialect())
    );
    let values = vec![Value::Text(key.into()), from];
    let rows = database.fetch(Statement { sql: database.names.sql(&sql), values }).await?;
    rows.into_iter().map(event).collect()
}

/// The last position that was recorded by `time`. Times of recording follow the positions closely,
/// so it is searched by halves, along the primary key.
pub(super) async fn position_at(
    database: &Database,
    time: Timestamp,
) -> Result<Position, SqlError> {
    let dialect = database.dialect();
    // The first moment of the database's clock that is later.
    let later = instant(dialect, 1);
    let next = time.saturating_add(jiff::SignedDuration::from_nanos(1));
    let value = instant_value(dialect, next.unwrap_or(Timestamp::MAX));
    let row = "from {log} where position >= (low + high + 1) / 2 order by position limit 1";
    let sql = format!(
        "with recursive search (low, high) as ( \
            select coalesce(min(position), 1) - 1, coalesce(max(position), 0) from {{log}} \
            union all \
            select \
                case when (select recorded_at < {later} {row}) then (select position {row}) else low end, \
                case when (select recorded_at < {later} {row}) then high else (low + high + 1) / 2 - 1 end \
            from search where low < high \
         ) select max(low) from search"
    );
    let statement = Statement { sql: database.names.sql(&sql), values: vec![value] };
    let rows: Vec<(Option<i64>,)> = database.fetch(statement).await?;
    Ok(Position::from_stored(rows.first().and_then(|row| row.0).unwrap_or(0)))
}

/// Deletes up to `limit` events up to `until`; gives how many.
pub(super) async fn delete(
    database: &Database,
    until: Position,
    limit: i64,
) -> Result<u64, SqlError> {
    let sql = "delete from {log} where position in ( \
                   select position from {log} where position <= $1 order by position limit $2 \
               ) returning position";
    let values = vec![Value::Int(until.stored()), Value::Int(limit)];
    let rows: Vec<(i64,)> =
        database.fetch(Statement { sql: database.names.sql(sql), values }).await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Now, by the database's clock.
pub(super) async fn now(database: &Database) -> Result<Timestamp, SqlError> {
    let sql = match database.dialect() {
        Dialect::Postgres => "select (extract(epoch from clock_timestamp()) * 1000000)::int8",
        Dialect::Sqlite => "select cast(unixepoch('subsec') * 1000 as integer) * 1000",
    };
    let rows: Vec<(i64,)> =
        database.fetch(Statement { sql: sql.into(), values: Vec::new() }).await?;
    let now = rows.first().and_then(|row| Timestamp::from_microsecond(row.0).ok());
    now.ok_or_else(|| corrupt("the database's clock is out of range"))
}
