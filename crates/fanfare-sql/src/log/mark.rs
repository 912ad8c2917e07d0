//! Up to where the log is complete.
//!
//! Positions are drawn before they are committed, so that a low one may appear after a high one, and
//! those of a rollback never do. On PostgreSQL each writer therefore announces, before it draws its
//! first position, the highest that had been drawn by then: in the number of a shared advisory lock,
//! which nobody waits for and which ends with the transaction. What a writer draws lies above what
//! it has announced. A reader looks at the sequence first and then at the announcements: a writer
//! that it does not find has either ended, and what it wrote is there to be read, or has yet to draw,
//! above what the sequence said. So all positions up to the lowest announcement are settled; holes,
//! rollbacks, a restarted server and transactions that do not write into the log do not matter.
//!
//! SQLite has one writer at a time, which draws its positions while nobody else can.

use crate::{
    Database, SqlError,
    database::Dialect,
    names::Names,
    shard::lock_of,
    statement::{Statement, Value},
};

/// Announces this transaction, unless it has been; `after` is the expression to be read first. One
/// row, in any case. The setting and the lock both end with the transaction, or with the savepoint
/// that they are rolled back to.
pub(super) fn announce(names: &Names, after: &str) -> String {
    let (setting, space) = (setting(names), lock_of(&names.shared("log")));
    let drawn = low_half("last_value - case when is_called then 0 else 1 end");
    format!(
        "announced as materialized (select count(locked), count(noted) from ( \
            select pg_advisory_xact_lock_shared({space}, {drawn}) as locked, \
                set_config('{setting}', 'on', true) as noted \
            from {after}, {{log_positions}} \
            where coalesce(current_setting('{setting}', true), '') = '' \
        ) a)"
    )
}

/// A lock has room for half of a position; the reader knows the other half.
fn low_half(number: &str) -> String {
    format!("{}::int4", signed(&format!("({number})")))
}

/// The lower 32 bits of `number`, as a number around zero.
fn signed(number: &str) -> String {
    format!("((({number} + 2147483648) & 4294967295) - 2147483648)")
}

/// A setting of this log's own.
fn setting(names: &Names) -> String {
    format!("fanfare.{}", names.shared("log"))
}

/// The highest position that has been drawn: what is committed by now lies at it or below.
pub(super) async fn drawn(database: &Database) -> Result<i64, SqlError> {
    let sql = match database.dialect() {
        Dialect::Postgres => {
            "select last_value - case when is_called then 0 else 1 end from {log_positions}"
        }
        Dialect::Sqlite => SQLITE,
    };
    let statement = Statement { sql: database.names.sql(sql), values: Vec::new() };
    let rows: Vec<(i64,)> = database.fetch(statement).await?;
    Ok(rows.first().map_or(0, |row| row.0))
}

const SQLITE: &str = "select coalesce(max(seq), 0) from sqlite_sequence where name = '{log}'";

/// The position up to which the log is complete, for what is read after this.
pub(super) async fn settled(database: &Database) -> Result<i64, SqlError> {
    let names = &database.names;
    let statement = match database.dialect() {
        Dialect::Postgres => {
            let announced = signed("(objid::int8 - n)");
            // The announcements depend on `n`: they are read after it.
            let sql = format!(
                "with drawn as materialized ( \
                    select last_value - case when is_called then 0 else 1 end as n from {{log_positions}} \
                 ) select least(n, (select min(n + {announced}) from pg_locks \
                    where locktype = 'advisory' and objsubid = 2 and classid::int8 = $1 \
                    and database = (select oid from pg_database where datname = current_database()) \
                 )) from drawn"
            );
            let space = lock_of(&names.shared("log")).cast_unsigned();
            Statement { sql: names.sql(&sql), values: vec![Value::Int(i64::from(space))] }
        }
        Dialect::Sqlite => Statement { sql: names.sql(SQLITE), values: Vec::new() },
    };
    let rows: Vec<(i64,)> = database.fetch(statement).await?;
    Ok(rows.first().map_or(0, |row| row.0))
}
