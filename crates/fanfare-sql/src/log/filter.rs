//! Which events of a log are wanted.

use fanfare_core::{Consumer, Destination, tag};
use jiff::Timestamp;

use crate::{database::Dialect, outbox::destination_text, statement::Value};

/// Which events of a log are wanted; all, unless it is told otherwise. What is said is combined: an
/// event has to fit all of it.
///
/// ```
/// # use fanfare_sql::Filter;
/// let orders_of_today = Filter::all()
///     .family("shop.orders.OrderPlaced.v1")
///     .since("2026-03-01T00:00:00Z".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    tags: Vec<String>,
    families: Vec<String>,
    keys: Vec<String>,
    correlation_id: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    received: Option<Received>,
}

/// What a consumer's live queue gets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Received {
    families: Vec<String>,
    destinations: Vec<String>,
}

impl Filter {
    /// All events.
    #[must_use]
    pub fn all() -> Self {
        Filter::default()
    }

    /// Events with exactly this type tag; called again, of any of these.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Events with this type tag in any version; called again, of any of these and of those of
    /// [`tag`](Self::tag).
    #[must_use]
    pub fn family(mut self, tag: &str) -> Self {
        self.families.push(tag::family(tag).into());
        self
    }

    /// Events of this key; called again, of any of these.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Events of this chain, the one that started it included.
    #[must_use]
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        Filter { correlation_id: Some(id.into()), ..self }
    }

    /// Events recorded at this time or later, by the log's database's clock.
    #[must_use]
    pub fn since(self, time: Timestamp) -> Self {
        Filter { since: Some(time), ..self }
    }

    /// Events recorded before this time, by the log's database's clock.
    #[must_use]
    pub fn until(self, time: Timestamp) -> Self {
        Filter { until: Some(time), ..self }
    }

    /// Of these, the events that `consumer` would have received: from the topics that it handles
    /// something of, and those that were sent to its own queue.
    pub(crate) fn received_by(self, consumer: &Consumer) -> Self {
        let handled = consumer.handled().iter();
        let families = handled.clone().map(|handled| tag::family(handled.tag).into()).collect();
        let topics = handled.map(|handled| Destination::Topic(handled.topic.into()));
        let own = Destination::Queue(consumer.name().into());
        let destinations = topics.chain([own]).map(|to| destination_text(&to)).collect();
        Filter { received: Some(Received { families, destinations }), ..self }
    }

    /// Of these, the events that `consumer` has a handler for.
    pub(crate) fn handled_by(self, consumer: &Consumer) -> Self {
        let tags = consumer.handled().iter().map(|handled| handled.tag.into()).collect();
        Filter { tags, ..self }
    }

    /// Its conditions, each behind an `and`; their values are added to `values`.
    pub(super) fn conditions(&self, dialect: Dialect, values: &mut Vec<Value>) -> String {
        let mut sql = String::new();
        let mut add = |value| {
            values.push(value);
            values.len()
        };
        let any = |column: &str, n: usize| match dialect {
            Dialect::Postgres => format!("{column} = any(${n}::text[])"),
            Dialect::Sqlite => format!("{column} in (select value from json_each(${n}))"),
        };
        if !self.tags.is_empty() || !self.families.is_empty() {
            // The index knows families: those of all tags that are wanted.
            let exact = self.tags.iter().map(|tag| tag::family(tag).to_owned());
            let families = exact.chain(self.families.iter().cloned()).collect();
            let family = "rtrim(tag, '0123456789')";
            sql += &format!(" and {}", any(family, add(Value::Texts(families))));
            if !self.tags.is_empty() {
                let tags = any("tag", add(Value::Texts(self.tags.clone())));
                let families = any(family, add(Value::Texts(self.families.clone())));
                sql += &format!(" and ({tags} or {families})");
            }
        }
        if let Some(Received { families, destinations }) = &self.received {
            let families = any("rtrim(tag, '0123456789')", add(Value::Texts(families.clone())));
            let destinations = any("destination", add(Value::Texts(destinations.clone())));
            sql += &format!(" and {families} and {destinations}");
        }
        if !self.keys.is_empty() {
            sql += &format!(" and {}", any("key", add(Value::Texts(self.keys.clone()))));
        }
        if let Some(id) = &self.correlation_id {
            sql += &format!(" and correlation_id = ${}", add(Value::Text(id.clone())));
        }
        for (time, compare) in [(self.since, ">="), (self.until, "<")] {
            let Some(time) = time else { continue };
            let time = instant(dialect, add(instant_value(dialect, time)));
            sql += &format!(" and recorded_at {compare} {time}");
        }
        sql
    }
}

/// The time that is value `n` of a statement.
pub(super) fn instant(dialect: Dialect, n: usize) -> String {
    match dialect {
        Dialect::Postgres => {
            format!("(timestamptz 'epoch' + ${n}::int8 * interval '1 microsecond')")
        }
        Dialect::Sqlite => format!("${n}"),
    }
}

/// A time as the database counts it, rounded up: microseconds or milliseconds. PostgreSQL has fewer
/// years than jiff; nothing was recorded in those.
pub(super) fn instant_value(dialect: Dialect, time: Timestamp) -> Value {
    let unit: i128 = if dialect == Dialect::Postgres { 1_000 } else { 1_000_000 };
    let nanoseconds = time.max(Timestamp::UNIX_EPOCH).as_nanosecond();
    let rounded_up = nanoseconds.div_euclid(unit) + i128::from(nanoseconds.rem_euclid(unit) > 0);
    // Some ten thousand years in microseconds fit.
    Value::Int(i64::try_from(rounded_up).unwrap_or(i64::MAX))
}
