//! Leases on the shards of streams, in a database.

mod rows;

use std::fmt;

use fanfare_core::{
    BoxFuture, Lease, LeaseError, LeaseGroup, LeaseStore, NewLease, Renewal, Renewed,
};

use crate::{
    Database, SqlError,
    database::{Dialect, Pool},
    query::{FromPostgres, FromSqlite},
    statement::{Statement, Value},
};
use rows::{COLUMNS, Given, Stored};

/// Keeps the leases of consumers on the shards of streams, in the table `fanfare_leases`. Cheap to
/// clone.
///
/// One store may hold the leases of any number of consumers and streams. Its columns have the names
/// of the Kinesis Client Library: who looks into the table finds owner, counter and checkpoint of
/// each shard.
///
/// A worker makes two statements in a third of the time that a lease lasts (10 s by default),
/// however many leases it holds: one renews them all, one reads those of its consumer.
///
/// To have a consumer begin anew, stop all its workers and delete its rows.
#[derive(Clone)]
pub struct SqlLeaseStore {
    database: Database,
}

// In all of these the group is `$1` and `$2`, and `GIVEN` a table of what is in the JSON list `$3`.

const LEASES: &str =
    "select COLUMNS from {leases} where consumer = $1 and stream = $2 order by lease_key";

const ADD: &str = "insert into {leases} \
    (consumer, stream, lease_key, checkpoint, checkpoint_sub_sequence_number, parent_shard_ids) \
    select $1, $2, key, progress, sub, parents from GIVEN where ONLY \
    on conflict (consumer, stream, lease_key) do nothing returning lease_key";

/// Holds those who begin the same group back until the first has committed.
#[cfg(feature = "postgres")]
const LOCK: &str = "select count(pg_advisory_xact_lock(hashtextextended($1, 0)))";

const TAKE: &str = "update {leases} set lease_owner = $4, lease_epoch = lease_epoch + 1, \
    lease_counter = lease_counter + 1, lease_successor = null from GIVEN \
    where consumer = $1 and stream = $2 and lease_key = key and lease_epoch = epoch \
    and lease_counter = counter and lease_owner is not distinct from owner returning COLUMNS";

const ASK: &str = "update {leases} set lease_successor = $4 from GIVEN \
    where consumer = $1 and stream = $2 and lease_key = key and lease_epoch = epoch \
    and lease_owner = owner returning lease_key";

const RENEW: &str = "update {leases} set lease_counter = counter, \
    checkpoint = coalesce(progress, checkpoint), \
    checkpoint_sub_sequence_number = \
        case when progress is null then checkpoint_sub_sequence_number else sub end \
    ALSO from GIVEN \
    where consumer = $1 and stream = $2 and lease_key = key and lease_owner = $4 \
    and lease_epoch = epoch and lease_counter < counter returning lease_key, lease_successor";

const REMOVE: &str = "delete from {leases} where consumer = $1 and stream = $2 \
    and lease_key in (select key from GIVEN) and checkpoint = 'SHARD_END' returning lease_key";

impl SqlLeaseStore {
    /// A store in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        SqlLeaseStore { database: database.clone() }
    }

    /// Runs a statement on a group, with what it is given and the worker that it is for.
    async fn fetch<R>(
        &self,
        template: &str,
        group: &LeaseGroup,
        given: &[Given<'_>],
        worker: Option<&str>,
    ) -> Result<Vec<R>, SqlError>
    where
        R: FromPostgres + FromSqlite + Send + Unpin,
    {
        self.database.fetch(self.statement(template, group, given, worker)).await
    }

    fn statement(
        &self,
        template: &str,
        group: &LeaseGroup,
        given: &[Given<'_>],
        worker: Option<&str>,
    ) -> Statement {
        let table = match self.database.dialect() {
            Dialect::Postgres => rows::GIVEN_POSTGRES,
            Dialect::Sqlite => rows::GIVEN_SQLITE,
        };
        let sql = template.replace("COLUMNS", COLUMNS).replace("GIVEN", table);
        let mut values = vec![text(&group.consumer), text(&group.stream)];
        if template.contains("GIVEN") {
            values.push(Value::Text(rows::json(given)));
        }
        values.extend(worker.map(text));
        Statement { sql: self.database.names.sql(&sql), values }
    }

    async fn begin(&self, group: &LeaseGroup, leases: &[NewLease]) -> Result<bool, SqlError> {
        let none = "not exists (select 1 from {leases} where consumer = $1 and stream = $2)";
        let given: Vec<_> = leases.iter().map(Given::new_lease).collect();
        let begin = self.statement(&ADD.replace("ONLY", none), group, &given, None);
        match &self.database.pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                use sqlx::AssertSqlSafe;
                // A statement of its own, so that the next one sees what was committed meanwhile:
                // for that the transaction must not go by one snapshot.
                let mut tx = pool.begin_with("begin isolation level read committed").await?;
                let lock = self.database.names.shared("leases");
                sqlx::query(LOCK)
                    .bind(format!("{lock} {} {}", group.consumer, group.stream))
                    .execute(&mut *tx)
                    .await?;
                let query = sqlx::query(AssertSqlSafe(begin.sql));
                let query = crate::statement::bind_values!(query, begin.values, |list| list);
                let begun = query.fetch_all(&mut *tx).await?;
                tx.commit().await?;
                Ok(!begun.is_empty())
            }
            // One statement, and there is one writer.
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => {
                let begun: Vec<(String,)> = self.database.fetch(begin).await?;
                Ok(!begun.is_empty())
            }
        }
    }
}

impl LeaseStore for SqlLeaseStore {
    fn leases<'a>(
        &'a self,
        group: &'a LeaseGroup,
    ) -> BoxFuture<'a, Result<Vec<Lease>, LeaseError>> {
        Box::pin(async move {
            let stored: Vec<Stored> = self.fetch(LEASES, group, &[], None).await?;
            Ok(stored.into_iter().map(rows::lease).collect::<Result<_, _>>()?)
        })
    }

    fn begin<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        Box::pin(async move { Ok(self.begin(group, leases).await?) })
    }

    fn add<'a>(
        &'a self,
        group: &'a LeaseGroup,
        leases: &'a [NewLease],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let given: Vec<_> = leases.iter().map(Given::new_lease).collect();
            let add = ADD.replace("ONLY", "true");
            let _: Vec<(String,)> = self.fetch(&add, group, &given, None).await?;
            Ok(())
        })
    }

    fn take<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Option<Lease>, LeaseError>> {
        Box::pin(async move {
            let taken: Vec<Stored> =
                self.fetch(TAKE, group, &[Given::seen(seen)], Some(owner)).await?;
            Ok(taken.into_iter().next().map(rows::lease).transpose()?)
        })
    }

    fn ask<'a>(
        &'a self,
        group: &'a LeaseGroup,
        seen: &'a Lease,
        successor: &'a str,
    ) -> BoxFuture<'a, Result<bool, LeaseError>> {
        Box::pin(async move {
            let asked: Vec<(String,)> =
                self.fetch(ASK, group, &[Given::seen(seen)], Some(successor)).await?;
            Ok(!asked.is_empty())
        })
    }

    fn renew<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<Vec<Renewed>, LeaseError>> {
        Box::pin(async move {
            let given: Vec<_> = renewals.iter().map(Given::renewal).collect();
            let renew = RENEW.replace("ALSO", "");
            let renewed: Vec<(String, Option<String>)> =
                self.fetch(&renew, group, &given, Some(owner)).await?;
            let renewed = renewed.into_iter();
            Ok(renewed.map(|(key, successor)| Renewed::new(key, successor)).collect())
        })
    }

    fn release<'a>(
        &'a self,
        group: &'a LeaseGroup,
        owner: &'a str,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let given: Vec<_> = renewals.iter().map(Given::renewal).collect();
            let release = RENEW.replace("ALSO", ", lease_owner = null");
            let _: Vec<(String, Option<String>)> =
                self.fetch(&release, group, &given, Some(owner)).await?;
            Ok(())
        })
    }

    fn remove<'a>(
        &'a self,
        group: &'a LeaseGroup,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let given: Vec<_> = keys.iter().map(|key| Given::key(key)).collect();
            let _: Vec<(String,)> = self.fetch(REMOVE, group, &given, None).await?;
            Ok(())
        })
    }
}

impl fmt::Debug for SqlLeaseStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLeaseStore").field("database", &self.database).finish()
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}
