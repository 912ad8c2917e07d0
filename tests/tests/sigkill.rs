//! A worker's process is killed by SIGKILL again and again while it works, on the real LocalStack: what
//! survives is the queue, and the database with the effects and the inbox.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName as Name;
use fanfare::{
    Message, Publisher,
    aws::{Aws, AwsPublisher, Queue, deprovision, provision},
    seal_event,
    sql::{Database, open_sqlite},
    topology::{Kind, Topology},
};
use fanfare_testkit::{
    localstack::{ACCOUNT, LocalStack, REGION},
    sqlite::TestDatabase,
};
use fanfare_tests::{
    killed,
    trial::{Fault, Ordered},
};
use sqlx::SqlitePool;
use tokio::process::{Child, Command};

const KILLS: usize = 25;

/// Orders published before each kill.
const EACH: usize = 12;

const CUSTOMERS: usize = 8;

/// These numbers can never be carried out, and so can others not at their first try.
const POISON: [usize; 3] = [40, 123, 250];
const FAILS: usize = 29;

/// The longest and the shortest life of a worker, in milliseconds.
const LIFE: std::ops::RangeInclusive<u64> = 100..=600;

/// How long what is left may take after the last kill; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_worker_that_is_killed_again_and_again_carries_every_order_out_once() -> Result<()> {
    orders_survive_their_worker(Kind::Standard).await
}

#[tokio::test]
async fn on_a_fifo_queue_it_does_so_in_order() -> Result<()> {
    orders_survive_their_worker(Kind::Fifo).await
}

async fn orders_survive_their_worker(kind: Kind) -> Result<()> {
    let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
    let seed = std::env::var("FANFARE_SEED").ok().map(|seed| seed.parse()).transpose()?;
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("with FANFARE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let ground = Ground::new(localstack, kind).await?;

    let mut worker = ground.start()?;
    let mut poison = BTreeSet::new();
    for kill in 0..KILLS {
        let messages: Vec<_> = (kill * EACH..(kill + 1) * EACH).map(order).collect();
        let poisoned =
            POISON.iter().filter_map(|number| messages.get(number.checked_sub(kill * EACH)?));
        poison.extend(poisoned.map(|message| message.id.clone()));
        ground.publisher.publish(&messages).await.into_result()?;
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE))).await;
        ensure!(worker.try_wait()?.is_none(), "the worker ended by itself");
        worker.kill().await?;
        worker = ground.start()?;
    }
    let carried_out = ground.effects().await?.len();
    eprintln!("{carried_out} of {} carried out after {KILLS} kills", KILLS * EACH);
    ground.drained().await?;
    drop(worker.stdin.take());
    ensure!(worker.wait().await?.success(), "the worker did not end well");

    let effects = ground.effects().await?;
    if kind == Kind::Fifo {
        for customer in 0..CUSTOMERS {
            let of_customer: Vec<_> =
                effects.iter().filter(|number| **number % CUSTOMERS == customer).collect();
            ensure!(of_customer.is_sorted(), "c-{customer}: {of_customer:?}");
        }
    }
    let mut numbers = effects;
    numbers.sort_unstable();
    let expected: Vec<_> = (0..KILLS * EACH).filter(|n| !POISON.contains(n)).collect();
    ensure!(numbers == expected, "{numbers:?}");
    // Once each, or again where the worker was killed between the letter and the answer.
    let letters = ground.queue.dead_letters().await?;
    let rejected = Some("rejected: poison");
    ensure!(letters.iter().all(|letter| letter.reason.as_deref() == rejected), "{letters:?}");
    let dead: BTreeSet<_> = letters.into_iter().filter_map(|letter| letter.event_id).collect();
    ensure!(dead == poison, "{dead:?}, not {poison:?}");
    ensure!(ground.held().await? == 0, "something came back");
    ground.remove().await
}

fn order(number: usize) -> Message {
    let fault = match number {
        _ if POISON.contains(&number) => Some(Fault::Poison),
        _ if number.is_multiple_of(FAILS) => Some(Fault::Fails),
        _ => None,
    };
    let customer = format!("c-{}", number % CUSTOMERS);
    seal_event("orders", &Ordered { customer, number: number as i64, fault }).unwrap()
}

/// A stage of the test's own, and the database that outlives the workers.
struct Ground {
    localstack: LocalStack,
    kind: Kind,
    aws: Aws,
    topology: Topology,
    stage: String,
    publisher: AwsPublisher,
    queue: Queue,
    database: TestDatabase,
    pool: SqlitePool,
}

impl Ground {
    async fn new(localstack: LocalStack, kind: Kind) -> Result<Self> {
        let database = TestDatabase::new()?;
        let pool = open_sqlite(database.path()).await?;
        Database::sqlite(pool.clone()).migrate().await?;
        sqlx::raw_sql(killed::TABLE).execute(&pool).await?;
        let stage = format!("t{}-killed-{kind:?}", std::process::id()).to_lowercase();
        let topology = Topology::new(&stage).topic("orders", kind).service(&killed::router());
        let aws = Aws::new(&localstack.sdk_config(), ACCOUNT)?;
        provision(&aws, &topology).await?;
        let publisher = AwsPublisher::new(aws.clone(), topology.bindings());
        let queue = aws.queue(&topology.bindings(), "carrier", kind);
        Ok(Ground { localstack, kind, aws, topology, stage, publisher, queue, database, pool })
    }

    /// Starts a worker, which is killed when it is dropped.
    fn start(&self) -> Result<Child> {
        let kind = if self.kind == Kind::Fifo { "fifo" } else { "standard" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_trial-worker"));
        command.args([&self.stage, kind]).arg(self.database.path());
        command.env("AWS_ENDPOINT_URL", self.localstack.url()).env("AWS_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("ACCOUNT", ACCOUNT).stdin(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("the worker does not start")
    }

    /// The numbers of the orders that were carried out, in that order.
    async fn effects(&self) -> Result<Vec<usize>> {
        let numbers = sqlx::query_scalar("select number from effects order by place");
        let numbers: Vec<i64> = numbers.fetch_all(&self.pool).await?;
        Ok(numbers.into_iter().map(|number| number as usize).collect())
    }

    /// How many messages the queue holds, visible or not.
    async fn held(&self) -> Result<usize> {
        let sqs = self.localstack.sqs();
        let url = sqs.get_queue_url().queue_name(self.queue.name()).send().await?.queue_url;
        let request = sqs.get_queue_attributes().queue_url(url.context("no URL")?);
        let request = request
            .attribute_names(Name::ApproximateNumberOfMessages)
            .attribute_names(Name::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(Name::ApproximateNumberOfMessagesDelayed);
        let counts = request.send().await?.attributes.context("no attributes")?;
        counts.values().map(|count| Ok(count.parse::<usize>()?)).sum()
    }

    /// Waits until nothing is in the queue, and every order has had its effect.
    async fn drained(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let expected = KILLS * EACH - POISON.len();
        loop {
            let (held, effects) = (self.held().await?, self.effects().await?.len());
            if held == 0 && effects >= expected {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{held} held, {effects} carried out");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn remove(self) -> Result<()> {
        self.pool.close().await;
        deprovision(&self.aws, &self.topology).await?;
        Ok(())
    }
}
