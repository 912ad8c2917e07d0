//! The crates outbox-core and outbox-postgres.

use std::ops::Range;
use std::sync::Arc;

use ::outbox_core::prelude::{
    Event, IdempotencyStrategy, NoIdempotency, OutboxConfig, OutboxError, OutboxManagerBuilder,
    OutboxService, Transport,
};
use anyhow::Result;
use futures_util::future::BoxFuture;
use outbox_postgres::{PostgresOutbox, PostgresWriter};
use sqlx_08::PgPool;
use sqlx_08::postgres::PgPoolOptions;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::outbox::contestant::{CONNECTIONS, Contestant, Entry, ORDERS, PLACE_ORDER, placed};
use crate::outbox::ledger::Ledger;

/// As its documentation has it.
const SCHEMA: &str = "
create type status as enum ('Pending', 'Processing', 'Sent');
create table outbox_events (
    id uuid primary key default gen_random_uuid(),
    idempotency_token text default null,
    event_type text not null,
    payload jsonb not null,
    status status not null default 'Pending',
    created_at timestamptz not null default now(),
    locked_until timestamptz not null default '-infinity'
);
create index idx_outbox_processing_queue on outbox_events (locked_until asc, status)
    where status in ('Pending', 'Processing');
create unique index idx_outbox_idempotency on outbox_events (idempotency_token);
create function notify_outbox_event() returns trigger as $$
begin
    perform pg_notify('outbox_event', 'ping');
    return new;
end;
$$ language plpgsql;
create trigger outbox_events_notify_trigger after insert or update on outbox_events
    for each row execute function notify_outbox_event();";

pub(crate) const ENTRY: Entry = Entry {
    name: "outbox-core",
    notes: "outbox-core 0.6 with outbox-postgres 0.3, the table, indexes and trigger of its \
        documentation, `batch_size` 500, a poll each second beside the trigger's `NOTIFY`. It records \
        one event per call, so ten are ten statements; payloads are `jsonb`; sent rows stay until its \
        garbage collection. It keeps no order per key.",
    set_up: |url| Box::pin(set_up(url)),
};

struct OutboxCore {
    pool: PgPool,
    service: OutboxService<PostgresWriter, NoIdempotency, Placed>,
    config: Arc<OutboxConfig<Placed>>,
}

async fn set_up(url: String) -> Result<Arc<dyn Contestant>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS + 4).connect(&url).await?;
    sqlx_08::raw_sql(ORDERS).execute(&pool).await?;
    sqlx_08::raw_sql(SCHEMA).execute(&pool).await?;
    let mut config = OutboxConfig::default();
    config.batch_size = 500;
    config.poll_interval_secs = 1;
    config.idempotency_strategy = IdempotencyStrategy::None;
    let config = Arc::new(config);
    let service = OutboxService::new(Arc::new(PostgresWriter), Arc::clone(&config));
    Ok(Arc::new(OutboxCore { pool, service, config }))
}

impl Contestant for OutboxCore {
    fn transaction(&self, events: Range<u64>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            sqlx_08::query(PLACE_ORDER).bind("a customer").bind(1299_i64).execute(&mut *tx).await?;
            for event in events {
                self.service.add_event("OrderPlaced", placed(event), None, &mut *tx).await?;
            }
            Ok(tx.commit().await?)
        })
    }

    fn relay(
        &self,
        ledger: Arc<Ledger>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<()>> {
        let (pool, config) = (self.pool.clone(), Arc::clone(&self.config));
        Box::pin(async move {
            let (shutdown, shutdown_rx) = watch::channel(false);
            let manager = OutboxManagerBuilder::new()
                .storage(Arc::new(PostgresOutbox::new(pool, Arc::clone(&config))))
                .publisher(Arc::new(Counting(ledger)))
                .config(config)
                .shutdown_rx(shutdown_rx)
                .build()?;
            let running = tokio::spawn(manager.run());
            stop.cancelled().await;
            shutdown.send(true)?;
            Ok(running.await??)
        })
    }
}

struct Counting(Arc<Ledger>);

#[async_trait::async_trait]
impl Transport<Placed> for Counting {
    async fn publish(&self, event: Event<Placed>) -> Result<(), OutboxError> {
        self.0.publish(event.payload.as_value().event);
        Ok(())
    }
}
