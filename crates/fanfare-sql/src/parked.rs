//! Parked groups in a database.

use fanfare_core::{BoxError, InboxKey, ParkedGroups, ParkedGroupsError, Turn};

use crate::{
    Database, SqlError,
    query::{FromPostgres, FromSqlite},
    statement::{Statement, Value},
};

/// Parked groups in the table `fanfare_parked_groups`: what
/// [`Consumer::park_groups`](fanfare_core::Consumer::park_groups) keeps the order of keys by. Cheap to
/// clone.
///
/// ```no_run
/// # use fanfare_core::{Consumer, Router};
/// # use fanfare_sql::{Database, SqlParkedGroups};
/// # fn example(router: Router, database: Database) -> Consumer {
/// Consumer::from(router).park_groups(SqlParkedGroups::new(&database))
/// # }
/// ```
///
/// One store may hold the groups of any number of consumers. A row is an event; the rows of a group
/// are deleted when the last of its events has been handled, so the table is as large as what waits
/// in dead-letter queues. Which groups are parked, since when, and behind which event,
/// on PostgreSQL:
///
/// ```sql
/// select distinct on (consumer, group_id) consumer, group_id, source, event_id, parked_at
/// from fanfare_parked_groups where not handled order by consumer, group_id, position;
/// ```
#[derive(Clone, Debug)]
pub struct SqlParkedGroups {
    database: Database,
}

// In all of these the group is `$1` and `$2`, and the event `$3` and `$4`.

const TURN: &str = "select source, event_id, \
    (select count(*) from {parked_groups} where consumer = $1 and group_id = $2 \
    and source = $3 and event_id = $4 and handled) \
    from {parked_groups} where consumer = $1 and group_id = $2 and not handled \
    order by position limit 1";

const PARK: &str = "insert into {parked_groups} (consumer, group_id, source, event_id) \
    values ($1, $2, $3, $4) on conflict (consumer, group_id, source, event_id) do nothing \
    returning position";

/// Forgets a group of which no other waits.
const FREE: &str = "delete from {parked_groups} where consumer = $1 and group_id = $2 \
    and not exists (select 1 from {parked_groups} as other where other.consumer = $1 \
    and other.group_id = $2 and not other.handled \
    and not (other.source = $3 and other.event_id = $4)) returning position";

const HANDLED: &str = "update {parked_groups} set handled = true \
    where consumer = $1 and group_id = $2 and source = $3 and event_id = $4 returning position";

const FORGET: &str = "delete from {parked_groups} \
    where consumer = $1 and group_id = $2 and source = $3 and event_id = $4 returning position";

const RELEASE: &str = "delete from {parked_groups} where consumer = $1 and group_id = $2 \
    returning cast(case when handled then 0 else 1 end as bigint)";

impl SqlParkedGroups {
    /// A store in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        SqlParkedGroups { database: database.clone() }
    }

    async fn fetch<R>(&self, template: &str, values: &[&str]) -> Result<Vec<R>, ParkedGroupsError>
    where
        R: FromPostgres + FromSqlite + Send + Unpin,
    {
        let values = values.iter().map(|&text| Value::Text(text.into())).collect();
        let statement = Statement { sql: self.database.names.sql(template), values };
        self.database.fetch(statement).await.map_err(failed)
    }

    /// Runs a statement on an event, and tells whether it found something.
    async fn found(
        &self,
        template: &str,
        group: &str,
        event: &InboxKey,
    ) -> Result<bool, ParkedGroupsError> {
        let values = [&*event.consumer, group, &event.source, &event.id];
        Ok(!self.fetch::<(i64,)>(template, &values).await?.is_empty())
    }
}

impl ParkedGroups for SqlParkedGroups {
    async fn turn(&self, group: &str, event: &InboxKey) -> Result<Turn, ParkedGroupsError> {
        let values = [&*event.consumer, group, &event.source, &event.id];
        let first: Vec<(String, String, i64)> = self.fetch(TURN, &values).await?;
        Ok(match first.into_iter().next() {
            None => Turn::Free,
            Some((source, id, _)) if source == event.source && id == event.id => Turn::Next,
            Some((_, _, handled)) if handled > 0 => Turn::Past,
            Some((source, id, _)) => {
                Turn::Behind(InboxKey::new(event.consumer.clone(), source, id))
            }
        })
    }

    async fn park(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        self.found(PARK, group, event).await.map(drop)
    }

    async fn handled(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        // A crash in between changes nothing for the others, and the event comes again.
        if self.found(FREE, group, event).await? {
            return Ok(());
        }
        let mark = if event.source.is_empty() { FORGET } else { HANDLED };
        self.found(mark, group, event).await.map(drop)
    }

    async fn release(&self, consumer: &str, group: &str) -> Result<u64, ParkedGroupsError> {
        let released: Vec<(i64,)> = self.fetch(RELEASE, &[consumer, group]).await?;
        Ok(released.into_iter().map(|(waited,)| waited.unsigned_abs()).sum())
    }
}

fn failed(error: SqlError) -> ParkedGroupsError {
    BoxError::from(error).into()
}
