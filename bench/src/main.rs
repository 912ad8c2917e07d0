//! fanfare beside its peers: publishers to a topic and consumers of a queue, outboxes on one PostgreSQL,
//! producers and consumers of one stream, and Lambda functions.

mod event;
mod figures;
mod functions;
mod machine;
mod messages;
mod outbox;
mod seen;
mod simulator;
mod streams;

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use crate::machine::Machine;

/// The share of all processors that others may use on a machine that is measured for others to read.
const QUIET: f64 = 0.1;

/// Compares fanfare with its peers; writes docs/benchmarks.md, docs/benchmarks-outbox.md,
/// docs/benchmarks-kinesis.md and docs/benchmarks-functions.md.
#[derive(Parser)]
struct Arguments {
    /// What to compare; everything if it is left out
    what: Option<What>,
    /// Short rounds, to see that it runs; nothing is written
    #[arg(long)]
    quick: bool,
    /// Only contestants whose name contains this, and of outboxes the first; nothing is written
    #[arg(long)]
    only: Option<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// Publishers and consumers, with SNS and SQS on the simulator, and what envelopes cost
    Messages,
    /// Outboxes, on PostgreSQL
    Outbox,
    /// Producers and consumers of a Kinesis stream, on the simulator
    Streams,
    /// Lambda functions, in processes of their own
    Functions,
    /// Not a comparison: the simulator, as comparisons start it for themselves
    #[value(hide = true)]
    Simulator,
    /// Not a comparison: a contestant, as the comparison of messages starts it for itself
    #[value(hide = true)]
    Client,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (quick, only) = (arguments.quick, arguments.only.as_deref());
    match arguments.what {
        Some(What::Simulator) => return simulator::simulate(),
        Some(What::Client) => return messages::serve(),
        _ => {}
    }
    let wanted = |what| arguments.what.is_none_or(|only| only == what);
    let trial = quick || only.is_some();
    if wanted(What::Messages) {
        compare("benchmarks.md", trial, || messages::run(quick, only))?;
    }
    if wanted(What::Outbox) {
        compare("benchmarks-outbox.md", trial, || outbox::run(quick, only))?;
    }
    if wanted(What::Streams) {
        compare("benchmarks-kinesis.md", trial, || streams::run(quick, only))?;
    }
    if wanted(What::Functions) {
        compare("benchmarks-functions.md", trial, || functions::run(quick, only))?;
    }
    Ok(())
}

/// Prints the page of a comparison, and writes it to `docs/` unless it is only a try.
fn compare<P>(file: &str, trial: bool, run: impl FnOnce() -> Result<P>) -> Result<()>
where
    P: FnOnce(&Machine) -> Result<String, std::fmt::Error>,
{
    let before = machine::others();
    let page = run()?;
    let machine = Machine::new(before.zip(machine::others()));
    let page = page(&machine)?;
    println!("{page}");
    if trial {
        return Ok(());
    }
    if machine.others.is_some_and(|(before, after)| before.max(after) > QUIET) {
        bail!("docs/{file} is not written: others use the machine, so the figures mislead");
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::create_dir_all(&docs)?;
    std::fs::write(docs.join(file), page)?;
    Ok(())
}
