//! The statements that write into the log, and with it into the outbox.

use std::collections::BTreeSet;

use fanfare_core::{DecodeError, Envelope, Message, Opened};

use super::mark;
use crate::{
    database::Dialect,
    names::Names,
    outbox::{attributes_text, destination_text},
    shard::{lock_of, shard_of},
    statement::{Statement, Value},
};

/// What a logged event's row says beside its message.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    message: &'a Message,
    source: String,
    correlation_id: String,
    time: Option<String>,
}

impl<'a> Entry<'a> {
    pub(crate) fn of(message: &'a Message) -> Result<Self, DecodeError> {
        let opened = Opened::open(&message.body)?;
        Ok(Entry::new(message, opened.envelope()))
    }

    pub(super) fn new(message: &'a Message, envelope: &Envelope) -> Self {
        // An event that starts a chain gives the chain its own id.
        let correlation_id = envelope.context.correlation_id.as_ref().unwrap_or(&envelope.id);
        // Years that databases cannot hold come from foreign systems only.
        let time = envelope.time.map(|time| time.to_string());
        let time = time.filter(|time| !time.starts_with(['-', '+']) && !time.starts_with("0000"));
        let (source, correlation_id) = (envelope.source.clone(), correlation_id.clone());
        Entry { message, source, correlation_id, time }
    }
}

/// What has to be had before positions are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gate<'a> {
    /// Nothing.
    Open,
    /// The locks of all keys.
    Keys,
    /// The stream of this key, at this version if one is expected; 0 for a new one.
    Stream(&'a str, Option<i64>),
}

/// A statement that grows, with its values.
#[derive(Default)]
struct Values(Vec<Value>);

impl Values {
    fn add(&mut self, value: Value) -> String {
        self.0.push(value);
        format!("${}", self.0.len())
    }
}

const COLUMNS: &str =
    "event_id, source, tag, key, correlation_id, time, version, destination, attributes, body";

/// PostgreSQL: gate, announcement, log and outbox in one statement. Each reads from the one before,
/// so that no position is drawn before the gate is passed and the writer is announced. Gives rows of
/// the version before; none if the stream was at another one.
pub(crate) fn log_and_outbox(names: &Names, entries: &[Entry<'_>], gate: Gate<'_>) -> Statement {
    let mut values = Values::default();
    let (before, log, lists) = log(&mut values, names, entries, gate);
    let Lists { id, tag, key, destination, attributes, body } = lists;
    let shards = entries.iter().map(|e| shard_of(&e.message.key).cast_signed()).collect();
    let shard = values.add(Value::SmallInts(shards));
    let sql = format!(
        "{before}, logged as ({log}) \
         insert into {{outbox}} (shard, event_id, tag, key, destination, attributes, body) \
         select shard, id, tag, key, destination, attributes, body \
         from admitted, announced, unnest({shard}::int2[], {id}, {tag}, {key}, {destination}, \
            {attributes}, {body}) with ordinality \
            e (shard, id, tag, key, destination, attributes, body, n) \
         order by n returning (select base from admitted)"
    );
    Statement { sql: names.sql(&sql), values: values.0 }
}

/// PostgreSQL: the log alone. Gives the positions of what was not there yet.
pub(crate) fn log_postgres(names: &Names, entries: &[Entry<'_>]) -> Statement {
    let mut values = Values::default();
    let (before, log, _) = log(&mut values, names, entries, Gate::Open);
    let sql = format!("{before} {log} returning position");
    Statement { sql: names.sql(&sql), values: values.0 }
}

/// The places of the lists among a statement's values.
struct Lists {
    id: String,
    tag: String,
    key: String,
    destination: String,
    attributes: String,
    body: String,
}

/// The `with` clause that has to be before it, and the insert into the log.
fn log(
    values: &mut Values,
    names: &Names,
    entries: &[Entry<'_>],
    gate: Gate<'_>,
) -> (String, String, Lists) {
    let admitted = admitted(values, names, entries, gate);
    let before = format!("with {admitted}, {}", mark::announce(names, "admitted"));
    let times = values.add(Value::OptionalTexts(entries.iter().map(|e| e.time.clone()).collect()));
    let mut texts = |of: fn(&Entry<'_>) -> String| {
        values.add(Value::Texts(entries.iter().map(of).collect())) + "::text[]"
    };
    let (source, correlation) = (texts(|e| e.source.clone()), texts(|e| e.correlation_id.clone()));
    let lists = Lists {
        id: texts(|e| e.message.id.clone()),
        tag: texts(|e| e.message.tag.clone()),
        key: texts(|e| e.message.key.clone()),
        destination: texts(|e| destination_text(&e.message.destination)),
        attributes: texts(|e| attributes_text(e.message)),
        body: texts(|e| e.message.body.clone()),
    };
    let Lists { id, tag, key, destination, attributes, body } = &lists;
    let (version, on_conflict) = match gate {
        Gate::Stream(..) => ("base + n", ""),
        _ => ("null::int8", "on conflict (source, event_id) do nothing"),
    };
    let insert = format!(
        "insert into {{log}} ({COLUMNS}) \
         select id, source, tag, key, correlation, at::timestamptz, {version}, destination, attributes, body \
         from admitted, announced, unnest({id}, {source}, {tag}, {key}, {correlation}, {times}::text[], \
            {destination}, {attributes}, {body}) with ordinality \
            e (id, source, tag, key, correlation, at, destination, attributes, body, n) \
         order by n {on_conflict}"
    );
    (before, insert, lists)
}

/// One row, `base`, once the gate is passed.
fn admitted(values: &mut Values, names: &Names, entries: &[Entry<'_>], gate: Gate<'_>) -> String {
    let statement = match gate {
        Gate::Open => "select 0::int8 as base".into(),
        Gate::Keys => {
            // Sorted, so that two transactions cannot wait for each other's locks. With them a
            // transaction id is taken: whoever sees our ids can see that we are under way.
            let locks: BTreeSet<i32> = entries.iter().map(|e| lock_of(&e.message.key)).collect();
            let space = values.add(Value::Int4s(vec![lock_of(&names.shared("outbox"))]));
            let locks = values.add(Value::Int4s(locks.into_iter().collect()));
            format!(
                "select 0::int8 as base, count(pg_advisory_xact_lock(({space}::int4[])[1], k)), \
                 max(pg_current_xact_id()::text) from unnest({locks}::int4[]) k"
            )
        }
        Gate::Stream(key, expected) => {
            let key = values.add(Value::Text(key.into()));
            let count = values.add(Value::Int(count(entries)));
            stream(&key, &count, expected.map(|n| (n, values.add(Value::Int(n)))))
        }
    };
    format!("admitted as materialized ({statement})")
}

/// Moves a stream on by `count` versions; gives the one before, or no row if it is not the expected.
fn stream(key: &str, count: &str, expected: Option<(i64, String)>) -> String {
    let new = format!("insert into {{streams}} as s (key, version) values ({key}, {count})");
    match expected {
        None => format!(
            "{new} on conflict (key) do update set version = s.version + excluded.version \
             returning version - {count} as base"
        ),
        Some((0, zero)) => {
            format!("{new} on conflict (key) do nothing returning cast({zero} as bigint) as base")
        }
        Some((_, expected)) => format!(
            "update {{streams}} set version = version + {count} \
             where key = {key} and version = {expected} returning version - {count} as base"
        ),
    }
}

/// SQLite: moves the stream on.
pub(crate) fn sqlite_stream(
    names: &Names,
    key: &str,
    expected: Option<i64>,
    entries: &[Entry<'_>],
) -> Statement {
    let mut values = Values::default();
    let key = values.add(Value::Text(key.into()));
    let count = values.add(Value::Int(count(entries)));
    let expected = expected.map(|n| (n, values.add(Value::Int(n))));
    Statement { sql: names.sql(&stream(&key, &count, expected)), values: values.0 }
}

/// SQLite: inserts into the log, with versions behind `base` if there is one.
pub(crate) fn log_sqlite(names: &Names, entries: &[Entry<'_>], base: Option<i64>) -> Statement {
    let row = |entry: &Entry<'_>| {
        let Entry { message: m, source, correlation_id, time } = entry;
        let (to, attributes) = (destination_text(&m.destination), attributes_text(m));
        serde_json::json!([
            m.id,
            source,
            m.tag,
            m.key,
            correlation_id,
            time,
            to,
            attributes,
            m.body
        ])
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    let mut values = vec![Value::Text(serde_json::Value::from(rows).to_string())];
    let (version, on_conflict) = match base {
        Some(base) => {
            values.push(Value::Int(base));
            ("$2 + key + 1", "")
        }
        None => ("null", "on conflict (source, event_id) do nothing"),
    };
    let sql = format!(
        "insert into {{log}} ({COLUMNS}) \
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, {version}, \
         value ->> 6, value ->> 7, value ->> 8 \
         from json_each($1) where true order by key {on_conflict} returning position"
    );
    Statement { sql: names.sql(&sql), values }
}

/// The version that the stream of `key` is at; no row if it has none.
pub(crate) fn version(dialect: Dialect, names: &Names, key: &str) -> Statement {
    // Another transaction that is at it is waited for, as the append itself would have.
    let wait = if dialect == Dialect::Postgres { " for update" } else { "" };
    let sql = names.sql(&format!("select version from {{streams}} where key = $1{wait}"));
    Statement { sql, values: vec![Value::Text(key.into())] }
}

fn count(entries: &[Entry<'_>]) -> i64 {
    i64::try_from(entries.len()).unwrap_or(i64::MAX)
}
