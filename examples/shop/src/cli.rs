//! The command line: what `shop` takes, and which part of the shop does it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Parser, Subcommand, builder::PossibleValuesParser};
use fanfare::aws;
use sqlx::{Postgres, Sqlite};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    chaos, commands, cost,
    database::{Folder, Schemas, Sql},
    ground::Ground,
    infra::{self, Infra, Site},
    journal,
    service::SERVICES,
    shop::Shop,
    story,
    topology::{self, OrdersOn},
};

/// What `shop` takes. Its `--help` says what all of it is for.
#[derive(Parser)]
#[command(version, about = "A shop of services joined by events", long_about = None)]
pub struct Arguments {
    /// Where SNS, SQS and Kinesis are: simulator, localstack, aws, or a URL such as http://127.0.0.1:4566
    #[arg(long, global = true, default_value = "simulator")]
    on: Ground,

    /// What carries the topic `orders`; the other topics are on SNS
    #[arg(long, global = true, default_value = "sns")]
    orders_on: OrdersOn,

    /// Begins all names on AWS and of schemas, so that several shops can share them
    #[arg(long, global = true, default_value = "shop")]
    system: String,

    /// Folder of the services' SQLite files; the story makes one for itself
    #[arg(long, global = true, conflicts_with = "database")]
    data: Option<PathBuf>,

    /// Keep state in this PostgreSQL instead, postgres://…: a schema for each service
    #[arg(long, global = true)]
    database: Option<String>,

    /// AWS account id; emulators have 000000000000
    #[arg(long, global = true, env = "AWS_ACCOUNT_ID")]
    account: Option<String>,

    /// AWS Region
    #[arg(long, global = true, env = "AWS_REGION")]
    region: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Create topics, streams, queues and subscriptions, or mend what differs
    Provision,
    /// Run one service, its worker and its relay, until it is interrupted
    Run(commands::Run),
    /// Publish what services record, until it is interrupted; without names, all of them
    Relay {
        #[arg(value_parser = PossibleValuesParser::new(SERVICES))]
        services: Vec<String>,
    },
    /// Tell a service of all past orders, before it is run for the first time
    Replay {
        #[arg(value_parser = PossibleValuesParser::new(SERVICES))]
        service: String,
    },
    /// Place orders: needs the database of orders, not AWS
    Place(commands::Place),
    /// Show what waits to be published
    Backlog,
    /// Bring the read side up to date and look at it
    View {
        /// Make it anew from the event log
        #[arg(long)]
        rebuild: bool,
    },
    /// Run the services as processes and kill them, over and over: nothing is lost or doubled
    Chaos(chaos::Chaos),
    /// Compare what a topic costs a month on SNS and on Kinesis
    Cost(cost::Load),
    /// The services as functions: templates of what they need, and a stack on LocalStack
    #[command(subcommand)]
    Infra(Infra),
}

impl Command {
    fn needs_aws(&self) -> bool {
        use Command::{Provision, Relay, Replay, Run};
        matches!(self, Provision | Run(_) | Relay { .. } | Replay { .. })
    }
}

/// Does what was asked; what went wrong is one line on standard error.
pub async fn run(arguments: Arguments) -> ExitCode {
    log(&arguments);
    match dispatch(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("shop: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error: what `RUST_LOG` says (`info`, `fanfare_aws=debug`), else errors, and the
/// warnings of a service that runs.
fn log(arguments: &Arguments) {
    let usual = match arguments.command {
        Some(Command::Run(_) | Command::Relay { .. }) => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    };
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(journal::wanted(usual))
        .init();
}

/// Finds the databases, and goes on with those of their kind.
async fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { on, orders_on, command, .. } = &arguments;
    if let Some(Command::Cost(load)) = command {
        load.compare();
        return Ok(());
    }
    if let Some(Command::Infra(command)) = command {
        let site = Site {
            on,
            account: arguments.account.as_deref(),
            region: arguments.region.as_deref(),
            system: &arguments.system,
            database: arguments.database.as_deref(),
        };
        return command.run(&infra::deployment(&arguments.system, *orders_on), &site).await;
    }
    let on_aws = command.as_ref().is_some_and(Command::needs_aws);
    if on_aws && on.is_ephemeral() {
        bail!(
            "the simulator inside this process would be gone with it: name a server with --on \
             (cargo run -p fanfare-sim -- --port 4566 gives one at http://127.0.0.1:4566)"
        );
    }
    if let Some(Command::Provision) = command {
        let aws = on.connect(arguments.account.as_deref(), arguments.region.as_deref()).await?;
        let topology = topology::topology(&arguments.system, *orders_on, &SERVICES);
        journal::note(aws::provision(&aws, &topology).await?);
        return Ok(());
    }
    // Some make what they need, and remove it: on a stage of its own, so that two runs on one server
    // do not meet.
    let chaos = matches!(command, Some(Command::Chaos(_)));
    let alone = chaos || command.is_none();
    let stage = format!("{}-{}", arguments.system, std::process::id());
    let own = chaos || alone && !on.is_ephemeral();
    let system = if own { &stage } else { &arguments.system }.clone();
    if let Some(url) = &arguments.database {
        let home = Schemas::at(url, if alone { &stage } else { &system }, alone)?;
        return run_with::<Postgres>(arguments, &system, home).await;
    }
    let home = match &arguments.data {
        // It counts what is in stock and what was ordered, from the first order on.
        Some(path) if alone && path.read_dir().is_ok_and(|mut files| files.next().is_some()) => {
            bail!(
                "`{}` is a shop with a past, and this begins with a new one: \
                 name a folder that is not there yet, or leave --data out",
                path.display()
            )
        }
        Some(path) => Folder::at(path)?,
        None if alone => Folder::fresh()?,
        None => bail!(
            "name the databases, the same for all commands: --data with a folder, \
             or --database postgres://…"
        ),
    };
    if alone {
        journal::note(format_args!("databases: {}", home.path().display()));
    }
    run_with::<Sqlite>(arguments, &system, home).await
}

async fn run_with<D: Sql>(arguments: Arguments, system: &str, home: D::Home) -> anyhow::Result<()> {
    let Arguments { on, orders_on, account, region, command, .. } = arguments;
    let command = match command {
        Some(Command::Place(place)) => return place.run::<D>(&home).await,
        Some(Command::Backlog) => return commands::backlog::<D>(&home).await,
        Some(Command::View { rebuild }) => return commands::view::<D>(&home, rebuild).await,
        Some(Command::Chaos(chaos)) => {
            let (account, region) = (account.as_deref(), region.as_deref());
            return chaos.run::<D>(on, orders_on, account, region, system, home).await;
        }
        other => other,
    };
    let aws = on.connect(account.as_deref(), region.as_deref()).await?;
    let shop = Shop::<D>::new(aws, system, orders_on, home);
    match command {
        Some(Command::Run(run)) => commands::run(&shop, &run).await,
        Some(Command::Relay { services }) => commands::relay(&shop, &services).await,
        Some(Command::Replay { service }) => commands::replay(&shop, &service).await,
        _ => story::tell(shop).await,
    }
}
