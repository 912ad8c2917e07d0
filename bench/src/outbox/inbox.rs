//! What the inbox costs: handlers that write a row, with and without remembering their event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use fanfare::{
    Consumer, DeadLetter, DeadLetterError, DeadLetters, Delivery, HandlerError, Metadata, Outcome,
    RawDelivery, Router, seal_event,
};
use fanfare_sql::{Database, SqlInbox};
use futures_util::StreamExt;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::event::Placed;
use crate::outbox::contestant::{CONNECTIONS, ORDERS, PLACE_ORDER, placed};
use crate::outbox::load::PRODUCERS;
use crate::outbox::scenarios::Plan;
use crate::outbox::server::Server;

/// Messages that come together, where they do.
const TOGETHER: u64 = 10;

/// A way to handle messages, and messages per second that it came to, round by round.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    with_inbox: bool,
    together: u64,
    pub(crate) rates: Vec<f64>,
}

/// Every way in turn, as often as there are rounds.
pub(crate) async fn run(server: &Server, plan: Plan) -> Result<Vec<Way>> {
    let way = |name, with_inbox, together| Way { name, with_inbox, together, rates: Vec::new() };
    let mut ways = [
        way("the row alone, one per transaction", false, 1),
        way("with fanfare's inbox, one per transaction", true, 1),
        way("the rows alone, ten per transaction", false, TOGETHER),
        way("with fanfare's inbox, ten per transaction", true, TOGETHER),
    ];
    for _ in 0..plan.rounds {
        for way in &mut ways {
            let rate = round(server, way, plan).await?;
            way.rates.push(rate);
        }
    }
    Ok(ways.into())
}

async fn round(server: &Server, way: &Way, plan: Plan) -> Result<f64> {
    let database = server.database().await?;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&database.url).await?;
    sqlx::raw_sql(ORDERS).execute(&pool).await?;
    let tables = Database::postgres(pool.clone());
    tables.migrate().await?;
    let router: Router = Router::new("bench").on_tx(place_order);
    let consumer = Arc::new(Consumer::from(router).inbox(SqlInbox::new(&tables)));
    consumer.check()?;
    let (next, handled) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (consumer, pool, stop) = (Arc::clone(&consumer), pool.clone(), Arc::clone(&stop));
        let (next, handled) = (Arc::clone(&next), Arc::clone(&handled));
        let (with_inbox, together) = (way.with_inbox, way.together);
        workers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let first = next.fetch_add(together, Ordering::Relaxed);
                if with_inbox {
                    consume(&consumer, first, together).await?;
                } else {
                    place_orders(&pool, together).await?;
                }
                handled.fetch_add(together, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(plan.warm_up).await;
    let (start, before) = (Instant::now(), handled.load(Ordering::Relaxed));
    tokio::time::sleep(plan.window).await;
    let (count, took) = (handled.load(Ordering::Relaxed) - before, start.elapsed());
    stop.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&pool).await?;
    let all = handled.load(Ordering::Relaxed);
    ensure!(u64::try_from(rows)? == all, "{all} messages were handled, with {rows} effects");
    pool.close().await;
    server.remove(database).await?;
    Ok(count as f64 / took.as_secs_f64())
}

async fn place_order(tx: &mut PgConnection, _: Delivery<Placed>) -> Result<(), HandlerError> {
    sqlx::query(PLACE_ORDER).bind("a customer").bind(1299_i64).execute(tx).await?;
    Ok(())
}

async fn place_orders(pool: &PgPool, count: u64) -> Result<()> {
    let mut tx = pool.begin().await?;
    for _ in 0..count {
        sqlx::query(PLACE_ORDER).bind("a customer").bind(1299_i64).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

/// As a worker does with what one receive brought.
async fn consume(consumer: &Consumer, first: u64, count: u64) -> Result<()> {
    let source: Arc<str> = "elsewhere".into();
    let batch = (first..first + count)
        .map(|event| {
            let message = seal_event(&source, &placed(event))?;
            Ok(RawDelivery::new(message.body, Metadata::new(event.to_string(), 1)))
        })
        .collect::<Result<Vec<_>>>()?;
    let outcomes: Vec<(usize, Outcome)> =
        consumer.process(batch, 1, &NoDeadLetters, &|| true).collect().await;
    let handled = outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Handled { .. })).count();
    ensure!(handled as u64 == count, "{count} messages came to {outcomes:?}");
    Ok(())
}

struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn put(&self, _: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        Ok(())
    }
}
