//! A session with PostgreSQL's log: the only place that knows the replication client.

use std::time::Duration;

use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationEvent};
use sqlx::postgres::PgConnectOptions;
use tokio::time::timeout;
use uuid::Uuid;

use super::{TailError, login, pgoutput::Decoder};
use crate::{names::Names, relay::store::Row};

/// The server says something at least every ten seconds; when it has not for so long, it is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// A session that follows the log.
pub(super) struct Session {
    client: ReplicationClient,
    decoder: Decoder,
    streams: bool,
}

/// What the log tells.
pub(super) enum Told {
    /// A transaction that was committed begins.
    Begin(u32),
    /// One of its rows.
    Row(Box<Row>),
    /// It is complete.
    Commit,
    /// Nothing.
    Other,
}

impl Session {
    /// Connects and begins to follow the log from now on; waits until all transactions of the
    /// server's that are writing at that moment have ended.
    pub(super) async fn open(pool: &PgConnectOptions, names: &Names) -> Result<Self, TailError> {
        // A slot's name is nobody else's: that of an earlier session may still be ending.
        let slot = format!("fanfare_{}", Uuid::now_v7().simple());
        let publication = names.shared("outbox");
        let config = login::config(pool, &slot, &publication)?;
        let client = ReplicationClient::connect_gated(config).await?;
        let mut session = Session { client, decoder: Decoder::new(0), streams: false };
        let table = session.check(names).await?;
        session.decoder = Decoder::new(table);
        session.publish(names, &publication).await?;
        // Temporary: it goes with the session, and a relay that died holds no log back.
        let create =
            format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
        session.client.simple_query(&create).await?;
        session.client.start().await?;
        session.client.wait_started().await?;
        session.streams = true;
        Ok(session)
    }

    /// The object id of the outbox, if the server can be followed.
    async fn check(&mut self, names: &Names) -> Result<u32, TailError> {
        let sql = names.sql(
            "select current_setting('wal_level'), current_setting('synchronous_standby_names'), \
                '{outbox}'::regclass::oid",
        );
        let row = self.row(&sql).await?;
        let [level, standbys, table] = row.as_slice() else { return Err(ANSWER) };
        if level != "logical" {
            return Err(TailError::Level { level: level.clone() });
        }
        if !standbys.is_empty() {
            return Err(TailError::Synchronous);
        }
        table.parse().map_err(|_| ANSWER)
    }

    /// Makes sure that the outbox is published.
    async fn publish(&mut self, names: &Names, publication: &str) -> Result<(), TailError> {
        let create = names.sql(&format!(
            "create publication {publication} for table {{outbox}} with (publish = 'insert')"
        ));
        if self.is_published(names, publication).await? {
            return Ok(());
        }
        // Another relay may have been faster.
        match self.client.simple_query(&create).await {
            Ok(_) => Ok(()),
            Err(_) if self.is_published(names, publication).await? => Ok(()),
            Err(source) => {
                Err(TailError::Publication { name: publication.into(), said: source.to_string() })
            }
        }
    }

    async fn is_published(&mut self, names: &Names, publication: &str) -> Result<bool, TailError> {
        let sql = names.sql(&format!(
            "select exists (select from pg_publication p \
                join pg_publication_tables t on t.pubname = p.pubname \
                join pg_namespace n on n.nspname = t.schemaname \
                join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename \
                where p.pubname = '{publication}' and p.pubinsert \
                and c.oid = '{{outbox}}'::regclass)"
        ));
        Ok(self.row(&sql).await? == ["t"])
    }

    /// The only row that `sql` gives.
    async fn row(&mut self, sql: &str) -> Result<Vec<String>, TailError> {
        let mut rows = self.client.simple_query(sql).await?;
        let row = rows.pop().ok_or(ANSWER)?;
        let text = |value: &[u8]| String::from_utf8(value.into()).map_err(|_| ANSWER);
        row.iter().map(|value| text(value.as_deref().unwrap_or_default())).collect()
    }

    /// What comes next; of the rows only those of shards that are `wanted`.
    pub(super) async fn next(
        &mut self,
        wanted: impl FnOnce(u16) -> bool,
    ) -> Result<Told, TailError> {
        let event = timeout(SILENCE, self.client.recv()).await.map_err(|_| TailError::Silent)??;
        // The table has it too: the server need not keep it for us.
        let seen = |lsn: Lsn| self.client.update_applied_lsn(lsn);
        Ok(match event.ok_or(TailError::Ended)? {
            ReplicationEvent::Begin { xid, .. } => Told::Begin(xid),
            ReplicationEvent::XLogData { data, .. } => {
                let row = self.decoder.row(&data, wanted)?;
                row.map_or(Told::Other, |row| Told::Row(Box::new(row)))
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                seen(end_lsn);
                Told::Commit
            }
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                seen(wal_end);
                Told::Other
            }
            _ => Told::Other,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A stream ends politely by itself; what comes before it may be waiting for a long time.
        if !self.streams {
            self.client.abort();
        }
    }
}

const ANSWER: TailError = TailError::Malformed("another answer than was asked for");

impl From<PgWireError> for TailError {
    fn from(error: PgWireError) -> Self {
        TailError::Log(Box::new(error))
    }
}
