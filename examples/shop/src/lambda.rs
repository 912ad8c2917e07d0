//! The services as functions on AWS Lambda: the same handlers, on PostgreSQL. Each binary
//! `lambda-…` is one of them.

mod connection;
mod settings;

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use fanfare::{
    aws::{Aws, AwsPublisher},
    lambda::{Any, Deadline, Function, Task, any, init, run, task},
    sql::{Relay, SqlError, SqlInbox},
    topology::{Bindings, Kind},
};
use serde_json::json;
use sqlx::{Postgres, postgres::PgPoolOptions};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    database::Schemas,
    journal,
    service::{SERVICES, Service},
    topology::topology,
};

pub use connection::sdk_config;
pub use fanfare::lambda::Error;
pub use settings::{Settings, relayed_service};

/// Handlers at once in one invocation. Each has a connection, and Lambda starts many functions.
const CONNECTIONS: u8 = 2;

/// How long a handler waits for the database before it fails, and its message comes again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of an invocation's time so that what is being published can be finished.
const FINISHING: Duration = Duration::from_secs(5);

/// Runs the function that consumes what `service` wants.
///
/// # Errors
/// Its settings are not what they must be, or Lambda is not there.
pub async fn run_consumer(service: &str) -> Result<(), Error> {
    log();
    let made = async { Ok(consumer(&Settings::from_env()?, &sdk_config()?, service)?) };
    run(init(made).await?).await
}

/// Runs the function that publishes what `SHOP_SERVICE` has recorded.
///
/// # Errors
/// As [`run_consumer`].
pub async fn run_relay() -> Result<(), Error> {
    log();
    let made = async { Ok(relay(&Settings::from_env()?, &sdk_config()?, &relayed_service()?)?) };
    run(init(made).await?).await
}

/// Runs the function that makes the tables of all services.
///
/// # Errors
/// As [`run_consumer`].
pub async fn run_migrations() -> Result<(), Error> {
    log();
    run(init(async { Ok(migrations(&Settings::from_env()?)) }).await?).await
}

/// A service as a function, for queues and streams. After each batch it publishes what its handlers
/// have recorded; what it could not is left to the function of [`relay`]. It calls nobody before its
/// first event.
///
/// # Errors
/// The account or the database's URL is none.
pub fn consumer(
    settings: &Settings,
    config: &SdkConfig,
    service: &str,
) -> anyhow::Result<Function<Any>> {
    let Place { aws, bindings, service } = Place::new(settings, config, service)?;
    let queue = aws.queue(&bindings, &service.name, Kind::Standard);
    let relay = Arc::new(relay_of(&service, aws, bindings));
    Ok(any(service.consumer())
        .concurrency(CONNECTIONS.into())
        .dead_letters(queue.clone())
        .redelivery(queue)
        .after(move |deadline| {
            let relay = Arc::clone(&relay);
            async move { relay.drain(nearly(deadline)).await.map(drop) }
        }))
}

/// A function that publishes what a service has recorded, until nothing waits that can be published, and
/// forgets what the service handled so long ago that it cannot come again. It answers with what it did.
///
/// # Errors
/// As [`consumer`].
pub fn relay(settings: &Settings, config: &SdkConfig, service: &str) -> anyhow::Result<Task> {
    let Place { aws, bindings, service } = Place::new(settings, config, service)?;
    let inbox = service.inbox();
    let relay = Arc::new(relay_of(&service, aws, bindings));
    Ok(task(move |deadline| {
        let (relay, inbox) = (Arc::clone(&relay), inbox.clone());
        async move {
            let drained = relay.drain(nearly(deadline)).await?;
            let forgotten = inbox.purge(SqlInbox::RETENTION).await?;
            Ok::<_, SqlError>(json!({
                "published": drained.published,
                "waiting": drained.waiting,
                "held": drained.held,
                "forgotten": forgotten,
            }))
        }
    }))
}

/// A function that makes the tables that are missing, of all services. It answers with their names.
pub fn migrations(settings: &Settings) -> Task {
    let settings = settings.clone();
    task(move |_| {
        let settings = settings.clone();
        async move {
            let home = Schemas::at(&settings.database, &settings.system, false)?;
            for name in SERVICES {
                Service::<Postgres>::open(&home, name).await?;
            }
            Ok::<_, anyhow::Error>(json!({ "migrated": SERVICES }))
        }
    })
}

/// What a function is made of.
struct Place {
    aws: Aws,
    bindings: Bindings,
    service: Service<Postgres>,
}

impl Place {
    fn new(settings: &Settings, config: &SdkConfig, service: &str) -> anyhow::Result<Self> {
        let aws = Aws::new(config, &settings.account)?;
        let bindings = topology(&settings.system, settings.orders_on, &SERVICES).bindings();
        let home = Schemas::at(&settings.database, &settings.system, false)?;
        let pool =
            PgPoolOptions::new().max_connections(CONNECTIONS.into()).acquire_timeout(PATIENCE);
        let service = Service::on(home.lazy(service, pool)?, service);
        Ok(Place { aws, bindings, service })
    }
}

fn relay_of(service: &Service<Postgres>, aws: Aws, bindings: Bindings) -> Relay {
    Relay::new(&service.store.fanfare, AwsPublisher::new(aws, bindings))
}

/// Resolves some time before the deadline.
async fn nearly(deadline: Deadline) {
    let left = deadline.left();
    tokio::time::sleep(left - FINISHING.min(left / 2)).await;
}

/// Logs to standard output, which Lambda keeps with its own times: what `RUST_LOG` says, else warnings.
fn log() {
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).without_time();
    tracing_subscriber::registry().with(lines).with(journal::wanted(LevelFilter::WARN)).init();
}
