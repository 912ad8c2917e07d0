//! What one writes in an afternoon: take a row, publish it, mark it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::outbox::contestant::{CONNECTIONS, Contestant, Entry, ORDERS, PLACE_ORDER, placed};
use crate::outbox::ledger::Ledger;

const SCHEMA: &str = "
create table outbox (
    id bigint primary key generated always as identity,
    payload bytea not null,
    sent_at timestamptz
);
create index on outbox (id) where sent_at is null;";

/// Where nothing waits.
const POLL: Duration = Duration::from_millis(10);

pub(crate) const ENTRY: Entry = Entry {
    name: "naive",
    notes: "A table with a partial index on what is not sent; one relay, one transaction per event: \
        `select … for update skip locked limit 1`, publish, `update … set sent_at`. Several events of \
        a transaction are one `insert … select from unnest`. It looks every 10 ms where nothing waits.",
    set_up: |url| Box::pin(set_up(url)),
};

struct Naive {
    pool: PgPool,
}

async fn set_up(url: String) -> Result<Arc<dyn Contestant>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS + 1).connect(&url).await?;
    sqlx::raw_sql(ORDERS).execute(&pool).await?;
    sqlx::raw_sql(SCHEMA).execute(&pool).await?;
    Ok(Arc::new(Naive { pool }))
}

impl Contestant for Naive {
    fn transaction(&self, events: Range<u64>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            sqlx::query(PLACE_ORDER).bind("a customer").bind(1299_i64).execute(&mut *tx).await?;
            if !events.is_empty() {
                let payloads: Vec<Vec<u8>> = events
                    .map(|event| serde_json::to_vec(&placed(event)))
                    .collect::<Result<_, _>>()?;
                sqlx::query("insert into outbox (payload) select unnest($1::bytea[])")
                    .bind(payloads)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        })
    }

    fn relay(
        &self,
        ledger: Arc<Ledger>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<()>> {
        let pool = self.pool.clone();
        Box::pin(async move {
            while !stop.is_cancelled() {
                if !publish_one(&pool, &ledger).await? {
                    tokio::time::sleep(POLL).await;
                }
            }
            Ok(())
        })
    }
}

/// False: nothing waits.
async fn publish_one(pool: &PgPool, ledger: &Ledger) -> Result<bool> {
    let mut tx = pool.begin().await?;
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "select id, payload from outbox where sent_at is null order by id limit 1 \
         for update skip locked",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some((id, payload)) = row else { return Ok(false) };
    ledger.publish(serde_json::from_slice::<Placed>(&payload)?.event);
    sqlx::query("update outbox set sent_at = now() where id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}
