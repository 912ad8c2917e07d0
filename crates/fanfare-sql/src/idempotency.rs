//! An idempotency store in a database.

use std::time::Duration;

use fanfare_core::{
    Admission, BoxError, Claim, IdempotencyError, IdempotencyStore, InboxKey, Message, PayloadHash,
};

use crate::{
    Database, SqlError, SqlInbox,
    database::Dialect,
    inbox::{messages, purge},
    statement::{Statement, Value},
};

/// How long a claim lasts that nobody gives up.
const CLAIM: Duration = Duration::from_secs(5 * 60);

/// Remembers what has been handled, for handlers whose effect is *not* in this database. Where it
/// is, [`SqlInbox`] is the stronger one: see [`IdempotencyStore`] for what this one cannot do.
/// Cheap to clone.
///
/// ```no_run
/// # use fanfare_core::{Consumer, Router};
/// # use fanfare_sql::{Database, SqlIdempotencyStore};
/// # fn example(router: Router, database: Database) -> Consumer {
/// Consumer::from(router).idempotency(SqlIdempotencyStore::new(&database))
/// # }
/// ```
///
/// A claim lasts 5 minutes; it is given up at once, by a task in the background, when its handler
/// fails. What was handled is remembered for 15 days, and takes room until [`purge`](Self::purge).
/// All times are the database's, so that processes whose clocks differ agree; on SQLite that is
/// the machine's clock.
#[derive(Clone, Debug)]
pub struct SqlIdempotencyStore {
    database: Database,
    claim: Duration,
    retention: Duration,
}

/// Takes a key that is new, or whose row has expired, be it a claim or a handled event.
const BEGIN: &str = "insert into {idempotency} as old \
    (consumer, source, event_id, payload, claim, expires_at) \
    values ($1, $2, $3, $4, $5, NOW[$6]) \
    on conflict (consumer, source, event_id) do update set payload = excluded.payload, \
    claim = excluded.claim, expires_at = excluded.expires_at, followed = null \
    where old.expires_at <= NOW[0] returning claim";

const STATE: &str = "select payload, followed from {idempotency} \
    where consumer = $1 and source = $2 and event_id = $3";

const COMPLETE: &str = "update {idempotency} set followed = $5, expires_at = NOW[$6] \
    where consumer = $1 and source = $2 and event_id = $3 and claim = $4 \
    and followed is null and expires_at > NOW[0] returning claim";

const GIVE_UP: &str = "delete from {idempotency} \
    where consumer = $1 and source = $2 and event_id = $3 and claim = $4 and followed is null";

impl SqlIdempotencyStore {
    /// A store in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        let retention = SqlInbox::RETENTION;
        SqlIdempotencyStore { database: database.clone(), claim: CLAIM, retention }
    }

    /// How long a claim lasts, 5 minutes by default: longer than any handler takes. Rounded to
    /// milliseconds.
    #[must_use]
    pub fn claims_last(self, time: Duration) -> Self {
        SqlIdempotencyStore { claim: time, ..self }
    }

    /// How long a handled event is remembered, 15 days by default: longer than its message can
    /// come again. Rounded to milliseconds.
    #[must_use]
    pub fn retention(self, time: Duration) -> Self {
        SqlIdempotencyStore { retention: time, ..self }
    }

    /// Deletes what has expired, some thousand rows in a transaction, and gives how many. It only
    /// makes room: what has expired is not known any more as it is.
    ///
    /// # Errors
    /// [`SqlError`]; what was deleted until then stays so.
    pub async fn purge(&self) -> Result<u64, SqlError> {
        purge(&self.database, "{idempotency}", ("expires_at", Duration::ZERO)).await
    }

    fn statement(&self, template: &str, key: &InboxKey, values: Vec<Value>) -> Statement {
        statement(&self.database, template, key, values)
    }
}

impl IdempotencyStore for SqlIdempotencyStore {
    async fn begin(
        &self,
        key: InboxKey,
        payload: PayloadHash,
    ) -> Result<Admission, IdempotencyError> {
        let claim = fastrand::i64(..);
        let payload = payload.to_string();
        let values =
            vec![Value::Text(payload.clone()), Value::Int(claim), milliseconds(self.claim)];
        let begin = self.statement(BEGIN, &key, values);
        let claimed: Vec<(i64,)> = self.database.fetch(begin).await.map_err(failed)?;
        if !claimed.is_empty() {
            let held =
                Held { database: self.database.clone(), key: key.clone(), claim: Some(claim) };
            return Ok(Admission::New(Claim::new(key, held)));
        }
        let state = self.statement(STATE, &key, Vec::new());
        let rows: Vec<(String, Option<String>)> =
            self.database.fetch(state).await.map_err(failed)?;
        Ok(match rows.into_iter().next() {
            Some((stored, _)) if stored != payload => Admission::OtherPayload,
            Some((_, Some(followed))) => {
                Admission::Duplicate(messages(&followed, "idempotency").map_err(failed)?)
            }
            // None: it was given up a moment ago.
            Some((_, None)) | None => Admission::InProgress,
        })
    }

    async fn complete(
        &self,
        mut claim: Claim,
        followed: &[Message],
    ) -> Result<(), IdempotencyError> {
        let key = claim.key().clone();
        let Some(held) = claim.guard::<Held>() else { return Err(IdempotencyError::ClaimExpired) };
        let Some(number) = held.claim else { return Err(IdempotencyError::ClaimExpired) };
        let followed = serde_json::to_string(followed).map_err(BoxError::from)?;
        let values = vec![Value::Int(number), Value::Text(followed), milliseconds(self.retention)];
        let complete = self.statement(COMPLETE, &key, values);
        let completed: Vec<(i64,)> = self.database.fetch(complete).await.map_err(failed)?;
        // From here on there is nothing to give up.
        held.claim = None;
        if completed.is_empty() { Err(IdempotencyError::ClaimExpired) } else { Ok(()) }
    }
}

/// Gives a claim up when it is dropped.
struct Held {
    database: Database,
    key: InboxKey,
    claim: Option<i64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (Some(claim), Ok(runtime)) = (self.claim, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let database = self.database.clone();
        let give_up = statement(&database, GIVE_UP, &self.key, vec![Value::Int(claim)]);
        runtime.spawn(async move {
            if let Err(error) = database.fetch::<(i64,)>(give_up).await {
                tracing::debug!(%error, "a claim was not given up: it ends by itself");
            }
        });
    }
}

fn statement(database: &Database, template: &str, key: &InboxKey, values: Vec<Value>) -> Statement {
    let now = match database.dialect() {
        Dialect::Postgres => "(clock_timestamp() + interval '1 millisecond' * ",
        Dialect::Sqlite => "(cast(unixepoch('subsec') * 1000 as integer) + ",
    };
    let sql = database.names.sql(&template.replace("NOW[", now).replace(']', ")"));
    let texts = [&*key.consumer, &key.source, &key.id];
    let key = texts.map(|text| Value::Text(text.into()));
    Statement { sql, values: key.into_iter().chain(values).collect() }
}

/// At most some hundred years: no database's calendar ends before.
fn milliseconds(time: Duration) -> Value {
    Value::Int(i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(1 << 42))
}

fn failed(error: SqlError) -> IdempotencyError {
    BoxError::from(error).into()
}
