//! fanfare-sql.

use std::ops::Range;
use std::sync::Arc;

use ::fanfare::{Message, PublishReport, Publisher};
use anyhow::{Context, Result};
use fanfare_sql::{Database, Outbox, Relay};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::outbox::contestant::{CONNECTIONS, Contestant, Entry, ORDERS, PLACE_ORDER, placed};
use crate::outbox::ledger::Ledger;

pub(crate) const ENTRY: Entry = Entry {
    name: "fanfare",
    notes: "Its defaults: `record_all` in the business transaction, `wake` after the commit, one relay. \
        Keys are 10,000 in turn, and the publisher keeps no order itself, so the relay sends a key's \
        next event only when the last was accepted. Messages are whole CloudEvents, some 300 B more \
        than the payload.",
    set_up: |url| Box::pin(set_up(url)),
};

struct Fanfare {
    pool: PgPool,
    database: Database,
    outbox: Outbox,
}

async fn set_up(url: String) -> Result<Arc<dyn Contestant>> {
    // The relay has connections of its own.
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?;
    sqlx::raw_sql(ORDERS).execute(&pool).await?;
    let database = Database::postgres(pool.clone());
    database.migrate().await?;
    let outbox = Outbox::new(&database, "bench");
    Ok(Arc::new(Fanfare { pool, database, outbox }))
}

impl Contestant for Fanfare {
    fn transaction(&self, events: Range<u64>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            sqlx::query(PLACE_ORDER).bind("a customer").bind(1299_i64).execute(&mut *tx).await?;
            let recorded = !events.is_empty();
            if recorded {
                let events: Vec<Placed> = events.map(placed).collect();
                self.outbox.record_all(&mut tx, events).await?;
            }
            tx.commit().await?;
            if recorded {
                self.outbox.wake();
            }
            Ok(())
        })
    }

    fn relay(
        &self,
        ledger: Arc<Ledger>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<()>> {
        let relay = Relay::new(&self.database, Counting(ledger));
        Box::pin(async move { Ok(relay.run(stop.cancelled_owned()).await?) })
    }
}

struct Counting(Arc<Ledger>);

impl Publisher for Counting {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        for message in batch {
            let event = event(message).expect("what was recorded is what is published");
            self.0.publish(event);
        }
        PublishReport::new(vec![Ok(()); batch.len()])
    }
}

/// The event's number, by the same parser that the others' publishers use.
fn event(message: &Message) -> Result<u64> {
    #[derive(Deserialize)]
    struct Envelope {
        data: Placed,
    }
    let envelope: Envelope = serde_json::from_str(&message.body).context("no envelope")?;
    Ok(envelope.data.event)
}
