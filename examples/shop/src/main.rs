//! The shop: orders, products and delivery, joined by events and knowing nothing of each other.
//!
//! Without a command it plays through what events are good for, on the simulator, and ends by
//! itself; it fails if anything was lost or happened twice.

// In a binary nothing is reachable from outside; `pub` says what a module offers.
#![allow(unreachable_pub)]

mod ground;
mod journal;
mod running;
mod services;
mod story;
mod tally;
mod topology;

use std::process::ExitCode;

use clap::{Parser, Subcommand, builder::PossibleValuesParser};
use fanfare::{Emitter, aws};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    ground::Ground,
    running::{SERVICES, Shop},
    services::orders::{OrderBook, OrderPlaced},
};

#[derive(Parser)]
#[command(version, about = "A shop of three services joined by events")]
struct Arguments {
    /// Where to run: simulator, localstack, aws, or a URL such as http://127.0.0.1:4566
    #[arg(long, global = true, default_value = "simulator")]
    on: Ground,

    /// Begins all names on AWS, so that several shops can share an account
    #[arg(long, global = true, default_value = "shop")]
    system: String,

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
    /// Create topics, queues and subscriptions, or mend what differs
    Provision,
    /// Run one service as a worker until it is interrupted
    Run {
        #[arg(value_parser = PossibleValuesParser::new(SERVICES))]
        service: String,
    },
    /// Place orders
    Place {
        /// How many
        #[arg(long, default_value_t = 1)]
        orders: u32,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(&arguments);
    match run(arguments).await {
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
        Some(Command::Run { .. }) => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    };
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(wanted.unwrap_or_else(|| Targets::new().with_default(usual)))
        .init();
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { on, system, account, region, command } = arguments;
    if command.is_some() && on.is_ephemeral() {
        anyhow::bail!(
            "the simulator inside this process would be gone with it: name a server with --on \
             (cargo run -p fanfare-sim -- --port 4566 gives one at http://127.0.0.1:4566)"
        );
    }
    let aws = on.connect(account.as_deref(), region.as_deref()).await?;
    match command {
        None => {
            // A stage of its own, so that two runs on one server do not meet.
            let stage =
                if on.is_ephemeral() { system } else { format!("{system}-{}", std::process::id()) };
            story::tell(Shop::new(aws, &stage)).await
        }
        Some(Command::Provision) => {
            journal::note(aws::provision(&aws, &topology::topology(&system)).await?);
            Ok(())
        }
        Some(Command::Run { service }) => {
            let shop = Shop::new(aws, &system);
            let queue = shop.queue(&service);
            journal::say(
                &service,
                format_args!("listens to queue {}; Ctrl-C stops it", queue.name()),
            );
            let ended =
                shop.worker(&service).run(shop.consumer(&service)?, aws::interrupted()).await;
            ended.map_err(|error| hinted(error, "shop provision"))
        }
        Some(Command::Place { orders }) => {
            let shop = Shop::new(aws, &system);
            place(&OrderBook::default(), &shop.emitter("orders"), orders).await
        }
    }
}

fn hinted(error: aws::WorkerError, command: &str) -> anyhow::Error {
    match error {
        aws::WorkerError::NoQueue { .. } => {
            anyhow::anyhow!("{error} (`{command}`, with the same --on)")
        }
        other => other.into(),
    }
}

async fn place(book: &OrderBook, events: &Emitter, orders: u32) -> anyhow::Result<()> {
    let run = std::process::id();
    for number in 1..=orders {
        let product_id = ["mug", "teapot", "kettle"][number as usize % 3].to_string();
        let order_id = format!("o-{run}-{number}");
        book.place(events, &OrderPlaced { order_id, product_id, quantity: 1 }).await?;
    }
    Ok(())
}
