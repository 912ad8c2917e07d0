//! From a transaction of one service to the effect in another's: outbox, relay, SNS, SQS, worker and
//! inbox together, on each database, on the simulator and on the real LocalStack.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fanfare::{
    Delivery, Event, HandlerError, IntoEvents, Retry, Router,
    aws::{Aws, AwsPublisher, Worker, deprovision, provision},
    topology::{Kind, Topology},
};
use fanfare_sim::Sim;
use fanfare_sql::{Database, Outbox, Relay, SqlInbox, open_sqlite};
use fanfare_testkit::{
    localstack::{ACCOUNT, LocalStack},
    postgres::Postgres,
    sqlite,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};
use tokio_util::sync::CancellationToken;

/// How long all deliveries may take; far more than they need.
const PATIENCE: Duration = Duration::from_secs(120);

const CUSTOMERS: usize = 20;

/// How many orders each customer places.
const EACH: usize = 5;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "tests.orders.OrderPlaced.v1", topic = "orders", key = customer)]
struct OrderPlaced {
    customer: String,
    number: usize,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "tests.delivery.Shipped.v1", topic = "deliveries", key = customer)]
struct Shipped {
    customer: String,
    number: usize,
}

/// In the order in which they happened; nothing keeps an order from being shipped twice but the inbox.
const TABLES: &str = "create table shipped (at integer, customer text not null, number integer not null); \
    create table followed (at integer, customer text not null, number integer not null)";
const SHIP: &str = "insert into shipped (at, customer, number) \
    values ((select coalesce(max(at), 0) + 1 from shipped where customer = $1), $1, $2)";
const FOLLOW: &str = "insert into followed (at, customer, number) \
    values ((select coalesce(max(at), 0) + 1 from followed where customer = $1), $1, $2)";

/// Handlers for one kind of connection: the statements are the same, the types are not.
macro_rules! handlers {
    ($module:ident, $connection:ty) => {
        mod $module {
            use super::*;

            /// Ships every order, some at the second attempt.
            pub(super) async fn ship(
                tx: &mut $connection,
                order: Delivery<OrderPlaced>,
            ) -> Result<impl IntoEvents, HandlerError> {
                let OrderPlaced { customer, number } = order.event;
                let ship = sqlx::query(SHIP).bind(&customer).bind(number as i32);
                ship.execute(tx).await?;
                if number == 2 && order.metadata.attempt == 1 {
                    return Err(HandlerError::retry("no driver"));
                }
                Ok(Shipped { customer, number })
            }

            pub(super) async fn follow(
                tx: &mut $connection,
                shipped: Delivery<Shipped>,
            ) -> Result<(), HandlerError> {
                let Shipped { customer, number } = shipped.event;
                sqlx::query(FOLLOW).bind(customer).bind(number as i32).execute(tx).await?;
                Ok(())
            }

            pub(super) fn routers() -> [Router; 2] {
                [Router::new("delivery").on_tx(ship), Router::new("orders").on_tx(follow)]
            }
        }
    };
}
handlers!(on_postgres, PgConnection);
handlers!(on_sqlite, SqliteConnection);

/// A database with both services' tables.
enum Store {
    Postgres(PgPool, #[allow(dead_code)] Box<fanfare_testkit::postgres::TestDatabase>),
    Sqlite(SqlitePool, #[allow(dead_code)] sqlite::TestDatabase),
}

impl Store {
    async fn postgres() -> Result<Option<Self>> {
        let Some(server) = Postgres::from_env()? else { return Ok(None) };
        let test = server.database().await?;
        let store = Store::Postgres(test.pool(), Box::new(test));
        store.migrate().await.map(Some)
    }

    async fn sqlite() -> Result<Option<Self>> {
        let test = sqlite::TestDatabase::new()?;
        let store = Store::Sqlite(open_sqlite(test.path()).await?, test);
        store.migrate().await.map(Some)
    }

    async fn migrate(self) -> Result<Self> {
        self.database().migrate().await?;
        match &self {
            Store::Postgres(pool, _) => {
                sqlx::raw_sql(TABLES).execute(pool).await?;
            }
            Store::Sqlite(pool, _) => {
                sqlx::raw_sql(TABLES).execute(pool).await?;
            }
        }
        Ok(self)
    }

    fn database(&self) -> Database {
        match self {
            Store::Postgres(pool, _) => Database::postgres(pool.clone()),
            Store::Sqlite(pool, _) => Database::sqlite(pool.clone()),
        }
    }

    fn routers(&self) -> [Router; 2] {
        match self {
            Store::Postgres(..) => on_postgres::routers(),
            Store::Sqlite(..) => on_sqlite::routers(),
        }
    }

    async fn place(&self, outbox: &Outbox, orders: Vec<OrderPlaced>) -> Result<()> {
        match self {
            Store::Postgres(pool, _) => {
                let mut tx = pool.begin().await?;
                outbox.record_all(&mut tx, orders).await?;
                tx.commit().await?;
            }
            Store::Sqlite(pool, _) => {
                let mut tx = fanfare_sql::begin_immediate(pool).await?;
                outbox.record_all(&mut tx, orders).await?;
                tx.commit().await?;
            }
        }
        outbox.wake();
        Ok(())
    }

    /// Customer and number of each row, in their order.
    async fn rows(&self, table: &str) -> Result<Vec<(String, i32)>> {
        let sql = format!("select customer, number from {table} order by customer, at, number");
        let sql = sqlx::AssertSqlSafe(sql);
        Ok(match self {
            Store::Postgres(pool, _) => sqlx::query_as(sql).fetch_all(pool).await?,
            Store::Sqlite(pool, _) => sqlx::query_as(sql).fetch_all(pool).await?,
        })
    }
}

fn orders() -> impl Iterator<Item = OrderPlaced> {
    let order =
        |n| OrderPlaced { customer: format!("c-{:02}", n % CUSTOMERS), number: n / CUSTOMERS };
    (0..CUSTOMERS * EACH).map(order)
}

async fn orders_are_shipped_and_followed_once(
    config: &aws_config::SdkConfig,
    store: Store,
    kind: Kind,
) -> Result<()> {
    let stage = format!("o{}-{kind:?}-{}", std::process::id(), matches!(store, Store::Sqlite(..)));
    let stage = stage.to_lowercase();
    let routers = store.routers();
    let topology = Topology::new(&stage).topic("orders", kind).topic("deliveries", kind);
    let topology = routers.iter().fold(topology, |topology, router| topology.service(router));
    let aws = Aws::new(config, ACCOUNT)?;
    provision(&aws, &topology).await?;

    let database = store.database();
    let publisher = AwsPublisher::new(aws.clone(), topology.bindings());
    let stop = CancellationToken::new();
    let stopped = || stop.clone().cancelled_owned();
    let relay = tokio::spawn(Relay::new(&database, publisher).run(stopped()));
    let mut workers = Vec::new();
    for router in routers {
        let outbox = Outbox::new(&database, router.name());
        let queue = aws.queue(&topology.bindings(), router.name(), kind);
        let consumer = router
            .with_state(())
            .inbox(SqlInbox::new(&database).outbox(&outbox))
            .retry(Retry::exponential(Duration::from_secs(1), Duration::from_secs(2)));
        let worker = Worker::new(queue).wait_time(Duration::from_secs(1));
        workers.push(tokio::spawn(worker.run(consumer, stopped())));
    }
    let outbox = Outbox::new(&database, "orders");
    for order in orders() {
        store.place(&outbox, vec![order]).await?;
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let followed = store.rows("followed").await?.len();
        if followed >= CUSTOMERS * EACH {
            break;
        }
        ensure!(std::time::Instant::now() < deadline, "{followed} of {}", CUSTOMERS * EACH);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    relay.await??;
    for worker in workers {
        worker.await??;
    }
    let mut expected: Vec<_> =
        orders().map(|order| (order.customer, order.number as i32)).collect();
    expected.sort();
    for table in ["shipped", "followed"] {
        let mut rows = store.rows(table).await?;
        if kind == Kind::Standard {
            rows.sort();
        }
        ensure!(rows == expected, "{table}: {rows:?}");
    }
    ensure!(outbox.backlog().await?.is_empty());
    deprovision(&aws, &topology).await?;
    Ok(())
}

/// What waits leaves in full batches: 10 events a request.
async fn a_thousand_events_take_little_more_than_a_hundred_requests(store: Store) -> Result<()> {
    let topology = Topology::new("count").topic("orders", Kind::Standard);
    let aws = Aws::new(&Sim::new().sdk_config(), ACCOUNT)?;
    provision(&aws, &topology).await?;
    let database = store.database();
    let outbox = Outbox::new(&database, "orders");
    let order = |number: usize| OrderPlaced { customer: format!("c-{number}"), number };
    store.place(&outbox, (0..1_000).map(order).collect()).await?;
    let before = aws.requests();
    let stop = CancellationToken::new();
    let publisher = AwsPublisher::new(aws.clone(), topology.bindings());
    let relay = Relay::new(&database, publisher).run(stop.clone().cancelled_owned());
    let relay = tokio::spawn(relay);
    let emptied = async {
        while !outbox.backlog().await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, emptied).await.context("the outbox is not empty")??;
    stop.cancel();
    relay.await??;
    let requests = aws.requests() - before;
    ensure!((100..=110).contains(&requests), "{requests} requests");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_few_on_postgres() -> Result<()> {
    let Some(store) = Store::postgres().await? else { return Ok(()) };
    a_thousand_events_take_little_more_than_a_hundred_requests(store).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_few_on_sqlite() -> Result<()> {
    let Some(store) = Store::sqlite().await? else { return Ok(()) };
    a_thousand_events_take_little_more_than_a_hundred_requests(store).await
}

/// A test for each database and kind of queue.
macro_rules! everywhere {
    ($config:ident => $get:expr) => {
        everywhere! { $config => $get;
            standard_queues_and_postgres(Standard, postgres)
            fifo_queues_and_postgres(Fifo, postgres)
            standard_queues_and_sqlite(Standard, sqlite)
            fifo_queues_and_sqlite(Fifo, sqlite)
        }
    };
    ($config:ident => $get:expr; $($name:ident($kind:ident, $store:ident))+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<()> {
            let Some($config) = $get else { return Ok(()) };
            let Some(store) = Store::$store().await? else { return Ok(()) };
            orders_are_shipped_and_followed_once(&$config, store, Kind::$kind).await
        }
    )+};
}

mod sim {
    use super::*;

    everywhere! { config => Some(Sim::new().sdk_config()) }
}

mod localstack {
    use super::*;

    everywhere! { config => LocalStack::from_env()?.map(|localstack| localstack.sdk_config()) }
}
