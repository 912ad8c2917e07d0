//! fanfare's outbox beside its peers: one PostgreSQL, one run, rounds in turn.

mod contestant;
mod contestants;
mod inbox;
mod ledger;
mod load;
mod report;
mod scenarios;
mod server;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

use crate::report::Machine;
use crate::scenarios::Plan;
use crate::server::Server;

/// The share of all processors that others may use on a machine that is measured for others to read.
const QUIET: f64 = 0.1;

/// Compares outboxes; writes docs/benchmarks.md.
#[derive(Parser)]
struct Arguments {
    /// Short rounds, to see that it runs; nothing is written
    #[arg(long)]
    quick: bool,
    /// Only contestants whose name contains this, and the first; nothing is written
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = if arguments.quick {
        let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(600));
        Plan { rounds: 1, warm_up, window, snapshot: Duration::from_secs(4) }
    } else {
        let (warm_up, window) = (Duration::from_millis(500), Duration::from_millis(2_500));
        Plan { rounds: 3, warm_up, window, snapshot: Duration::from_secs(40) }
    };
    let mut entries = contestants::ALL.to_vec();
    if let Some(only) = &arguments.only {
        let first = entries[0].name;
        entries.retain(|entry| entry.name == first || entry.name.contains(only.as_str()));
    }
    let server = Server::get().await?;
    let mut machine = machine(server.version().await?);
    let before = others().await;
    let everything = async {
        let results = scenarios::run(&server, &entries, plan).await?;
        anyhow::Ok((results, inbox::run(&server, plan).await?))
    };
    let outcome = tokio::select! {
        outcome = everything => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    let (results, ways) = outcome?;
    machine.others = before.zip(others().await);
    let page = report::page(&machine, &entries, plan, &results, &ways)?;
    println!("{page}");
    if arguments.quick || arguments.only.is_some() {
        return Ok(());
    }
    if machine.others.is_some_and(|(before, after)| before.max(after) > QUIET) {
        bail!("docs/benchmarks.md is not written: others use the machine, so the figures mislead");
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::create_dir_all(&docs)?;
    std::fs::write(docs.join("benchmarks.md"), page)?;
    Ok(())
}

fn machine(postgres: String) -> Machine {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processors.lines().find_map(|line| {
        line.strip_prefix("model name").and_then(|rest| rest.split_once(": ")).map(|(_, name)| name)
    });
    Machine {
        processor: name.unwrap_or(std::env::consts::ARCH).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        postgres,
        others: None,
    }
}

/// The share of all processors that is used during a second in which nothing is measured.
async fn others() -> Option<f64> {
    let (used, total) = processor_time()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (used_later, total_later) = processor_time()?;
    Some((used_later - used) / (total_later - total))
}

/// Used and total, since the system started, of all processors together.
fn processor_time() -> Option<(f64, f64)> {
    let statistics = std::fs::read_to_string("/proc/stat").ok()?;
    let times: Vec<f64> = statistics
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let total = times.iter().sum();
    Some((total - times.get(3)? - times.get(4)?, total))
}
