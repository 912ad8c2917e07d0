//! A stage of one test's own: a database, a stack, and a function whose releases are folders.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::types::QueueAttributeName as Name;
use fanfare::{
    Message, Publisher,
    aws::{Aws, AwsPublisher, Parked, Queue},
    seal_event,
    sql::Database,
    topology::{
        Binding, Kind, Topology,
        deploy::{Deployment, Function},
    },
};
use fanfare_testkit::{
    localstack::{ACCOUNT, LocalStack},
    postgres::{Postgres, TestDatabase},
};
use fanfare_tests::trial::{self, Ordered};
use shop::infra::Stack;
use sqlx::PgPool;

/// How long anything may take; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(100);

/// What a function may take. A message that was in its hands when it ended comes back after six times
/// that.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) struct Ground {
    localstack: LocalStack,
    database: TestDatabase,
    pool: PgPool,
    publisher: AwsPublisher,
    queue: Queue,
    deployment: Deployment,
    stack: Stack,
    folder: PathBuf,
}

/// An order that was carried out, by its number, and the release that did it.
pub(crate) type Effect = (i64, String);

impl Ground {
    /// Deploys release 1; none if something is missing that it needs.
    pub(crate) async fn new(name: &str, binding: Binding) -> Result<Option<Self>> {
        let (Some(localstack), Some(postgres)) = (LocalStack::from_env()?, Postgres::from_env()?)
        else {
            return Ok(None);
        };
        let database = postgres.database().await?;
        let pool = database.pool();
        Database::postgres(pool.clone()).migrate().await?;
        sqlx::raw_sql(trial::TABLES).execute(&pool).await?;

        let stage = format!("t{}-{name}", std::process::id());
        let topology = Topology::new(&stage).topic("orders", binding).service(&trial::router());
        let kind = match binding {
            Binding::Sns(kind) => kind,
            Binding::Kinesis(_) => Kind::Standard,
        };
        let function = Function::new("trial").timeout(TIMEOUT).database().max_retries(10_000);
        let function = function.environment("STAGE", &stage).environment("ACCOUNT", ACCOUNT);
        let function =
            if kind == Kind::Fifo { function.environment("FIFO", "1") } else { function };
        let aws = Aws::new(&localstack.sdk_config(), ACCOUNT)?;
        let ground = Ground {
            publisher: AwsPublisher::new(aws.clone(), topology.bindings()),
            queue: aws.queue(&topology.bindings(), "carrier", kind),
            deployment: Deployment::new(&topology).function("carrier", function),
            stack: Stack::new(&localstack.sdk_config(), &stage),
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(stage),
            localstack,
            database,
            pool,
        };
        ground.release("1").await?;
        // LocalStack's Kinesis repeats a record of the second in which its shard was made.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Some(ground))
    }

    /// Deploys a release of the function; `broken` does not start.
    pub(crate) async fn release(&self, release: &str) -> Result<()> {
        let parameters = self.parameters(self.code(release)?);
        self.stack.put(&self.deployment.cloudformation()?, &parameters).await?;
        Ok(())
    }

    /// A folder with the function's code for that release.
    fn code(&self, release: &str) -> Result<String> {
        let code = self.folder.join(release);
        let function = code.join("trial");
        fs::create_dir_all(&function)?;
        fs::write(function.join("release"), release)?;
        if release == "broken" {
            fs::write(function.join("broken"), "")?;
        }
        // A copy would be hundreds of megabytes.
        fs::hard_link(env!("CARGO_BIN_EXE_trial-function"), function.join("bootstrap"))?;
        Ok(format!("{}/", code.display()))
    }

    fn parameters(&self, code: String) -> [(&'static str, String); 5] {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        [
            ("CodeBucket", "hot-reload".into()),
            ("CodePrefix", code),
            // An empty one would be the default to LocalStack.
            ("CodeSuffix", "/".into()),
            ("Architecture", architecture.into()),
            ("DatabaseUrl", self.database.url().into()),
        ]
    }

    pub(crate) async fn publish(&self, orders: &[Ordered]) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for order in orders {
            messages.push(seal_event("orders", order)?);
        }
        self.publisher.publish(&messages).await.into_result()?;
        Ok(messages)
    }

    /// Publishes the very same messages once more.
    pub(crate) async fn publish_again(&self, messages: &[Message]) -> Result<()> {
        Ok(self.publisher.publish(messages).await.into_result()?)
    }

    /// Waits until this many orders have been carried out.
    pub(crate) async fn until(&self, what: &str, carried_out: usize) -> Result<()> {
        self.wait(what, async || Ok(self.effects().await?.len() >= carried_out)).await
    }

    /// Waits until nothing is in the queue.
    pub(crate) async fn drained(&self) -> Result<()> {
        let sqs = self.localstack.sqs();
        let url = sqs.get_queue_url().queue_name(self.queue.name()).send().await?.queue_url;
        let url = url.context("a queue without a URL")?;
        self.wait("the queue to be empty", async || {
            let request = sqs.get_queue_attributes().queue_url(&url);
            let request = request
                .attribute_names(Name::ApproximateNumberOfMessages)
                .attribute_names(Name::ApproximateNumberOfMessagesNotVisible);
            let answer = request.send().await?.attributes.unwrap_or_default();
            Ok(answer.values().all(|count| count == "0"))
        })
        .await
    }

    /// Waits until the broken release has been told to start.
    pub(crate) async fn failed_to_start(&self) -> Result<()> {
        let asked = self.folder.join("broken/trial/asked");
        self.wait("the broken release to be asked", async || Ok(asked.exists())).await
    }

    async fn wait(&self, what: &str, done: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !done().await? {
            if start.elapsed() > PATIENCE {
                let effects = self.effects().await?;
                bail!("waited {PATIENCE:?} for {what}; carried out: {effects:?}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// What was carried out, in that order.
    pub(crate) async fn effects(&self) -> Result<Vec<Effect>> {
        let effects = sqlx::query_as("select number, release from effects order by place");
        Ok(effects.fetch_all(&self.pool).await?)
    }

    /// How often each order was begun, by number.
    pub(crate) async fn tries(&self) -> Result<Vec<(i64, i64)>> {
        let tries = sqlx::query_as("select number, times from tries order by number");
        Ok(tries.fetch_all(&self.pool).await?)
    }

    pub(crate) async fn dead_letters(&self) -> Result<Vec<Parked>> {
        Ok(self.queue.dead_letters().await?)
    }

    pub(crate) async fn remove(self) -> Result<()> {
        self.stack.delete().await?;
        fs::remove_dir_all(&self.folder)?;
        self.pool.close().await;
        Ok(())
    }
}
