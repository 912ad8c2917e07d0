//! What a unit of work says to its database.

use std::sync::Arc;

use fanfare_core::{Followed, InboxKey};

use crate::{database::Dialect, names::Names};

/// Its statements, which take a list of events as JSON: `[[consumer, source, id], …]`.
pub(super) struct Statements {
    /// Remembers events and gives those that were not there.
    pub(super) admit: Arc<str>,
    /// What followed from events that were.
    pub(super) followed: Arc<str>,
    /// Stores what followed, the fourth in each event's list.
    pub(super) follow: Arc<str>,
    /// Forgets what followed.
    pub(super) recorded: Arc<str>,
    /// Forgets events.
    pub(super) withdraw: Arc<str>,
}

/// In one order, whoever asks: so no two transactions can wait for each other's rows.
const ADMIT: &str = "insert into {inbox} (consumer, source, event_id) \
    select value ->> 0, value ->> 1, value ->> 2 from EACH where true order by 1, 2, 3 \
    on conflict do nothing returning consumer, source, event_id";

const FOLLOWED: &str = "select consumer, source, event_id, followed from {inbox_followed} \
    where (consumer, source, event_id) in \
    (select value ->> 0, value ->> 1, value ->> 2 from EACH)";

/// A row may be left of an event that was forgotten since.
const FOLLOW: &str = "insert into {inbox_followed} (consumer, source, event_id, followed) \
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from EACH where true order by 1, 2, 3 \
    on conflict (consumer, source, event_id) do update set followed = excluded.followed";

const RECORDED: &str = "delete from {inbox_followed} where (consumer, source, event_id) in \
    (select value ->> 0, value ->> 1, value ->> 2 from EACH)";

const WITHDRAW: &str = "delete from {inbox} where (consumer, source, event_id) in \
    (select value ->> 0, value ->> 1, value ->> 2 from EACH)";

impl Statements {
    pub(super) fn new(dialect: Dialect, names: &Names) -> Self {
        let each = match dialect {
            Dialect::Postgres => "json_array_elements($1::json) as each (value)",
            Dialect::Sqlite => "json_each($1)",
        };
        let sql = |template: &str| names.sql(&template.replace("EACH", each));
        Statements {
            admit: sql(ADMIT),
            followed: sql(FOLLOWED),
            follow: sql(FOLLOW),
            recorded: sql(RECORDED),
            withdraw: sql(WITHDRAW),
        }
    }
}

/// Events as the statements take them.
pub(super) fn list<'a>(keys: impl IntoIterator<Item = &'a InboxKey>) -> String {
    let keys = keys.into_iter().map(|key| (&*key.consumer, &key.source, &key.id));
    json(&keys.collect::<Vec<_>>())
}

/// Events with what followed.
pub(super) fn list_followed(followed: &[Followed<'_>]) -> String {
    let rows = followed.iter().map(|Followed { key, messages, .. }| {
        (&*key.consumer, &key.source, &key.id, json(messages))
    });
    json(&rows.collect::<Vec<_>>())
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    // Strings, and messages made of strings: nothing in them can fail.
    serde_json::to_string(value).unwrap_or_default()
}
