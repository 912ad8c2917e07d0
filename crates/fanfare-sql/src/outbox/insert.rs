//! The statement that records.

use std::collections::BTreeSet;

use fanfare_core::Message;

use super::stored::{attributes_text, destination_text};
use crate::{
    database::Dialect,
    names::Names,
    shard::{lock_of, shard_of},
    statement::{Statement, Value},
};

/// Whether transactions that record for one key wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Only where their own statements make them.
    AsIs,
    /// Always.
    Locked,
}

const POSTGRES: &str = "insert into {outbox} \
    (shard, event_id, tag, key, destination, attributes, body) \
    select * from unnest($1::int2[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])";

/// For one event, which is what most transactions record: a third cheaper than a list of one.
const POSTGRES_ONE: &str = "insert into {outbox} \
    (shard, event_id, tag, key, destination, attributes, body) \
    values ($1::int8, $2, $3, $4, $5, $6, $7)";

/// The locks first: ids are drawn only when the keys are ours. A transaction id is taken with them,
/// so that whoever sees one of our ids can see that we are under way.
const POSTGRES_LOCKED: &str = "insert into {outbox} \
    (shard, event_id, tag, key, destination, attributes, body) \
    select e.* from ( \
        select count(pg_advisory_xact_lock(($8::int4[])[1], k)), max(pg_current_xact_id()::text) \
        from unnest($9::int4[]) k \
    ) locked, \
    unnest($1::int2[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) e";

/// A row of JSON for each event.
const SQLITE: &str = "insert into {outbox} \
    (shard, event_id, tag, key, destination, attributes, body) \
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 \
    from json_each(?1) order by key";

/// Inserts `messages` in their order.
pub(super) fn statement(
    dialect: Dialect,
    names: &Names,
    messages: &[Message],
    order: Order,
) -> Statement {
    let shards = messages.iter().map(|message| shard_of(&message.key).cast_signed());
    if dialect == Dialect::Sqlite {
        let row = |(shard, m): (i16, &Message)| {
            let destination = destination_text(&m.destination);
            serde_json::json!([shard, m.id, m.tag, m.key, destination, attributes_text(m), m.body])
        };
        let rows: Vec<_> = shards.zip(messages).map(row).collect();
        let values = vec![Value::Text(serde_json::Value::from(rows).to_string())];
        return Statement { sql: names.sql(SQLITE), values };
    }
    if let ([message], Order::AsIs) = (messages, order) {
        let shard = i64::from(shard_of(&message.key));
        let texts = [
            message.id.clone(),
            message.tag.clone(),
            message.key.clone(),
            destination_text(&message.destination),
            attributes_text(message),
            message.body.clone(),
        ];
        let values = [Value::Int(shard)].into_iter().chain(texts.map(Value::Text)).collect();
        return Statement { sql: names.sql(POSTGRES_ONE), values };
    }
    let texts = |of: fn(&Message) -> String| Value::Texts(messages.iter().map(of).collect());
    let mut values = vec![
        Value::SmallInts(shards.collect()),
        texts(|message| message.id.clone()),
        texts(|message| message.tag.clone()),
        texts(|message| message.key.clone()),
        texts(|message| destination_text(&message.destination)),
        texts(attributes_text),
        texts(|message| message.body.clone()),
    ];
    if order == Order::AsIs {
        return Statement { sql: names.sql(POSTGRES), values };
    }
    // Sorted, so that two transactions cannot wait for each other's locks.
    let locks: BTreeSet<i32> = messages.iter().map(|message| lock_of(&message.key)).collect();
    values.push(Value::Int4s(vec![lock_of(&names.shared("outbox"))]));
    values.push(Value::Int4s(locks.into_iter().collect()));
    Statement { sql: names.sql(POSTGRES_LOCKED), values }
}
