//! Producers and consumers of a Kinesis stream, on the simulator in a process of its own.
//!
//! The client has one thread and the simulator another, so that what each of them used can be told
//! apart, and so that it can be told which of them a figure is the limit of.

mod consume;
mod consumers;
mod produce;
mod producers;
mod report;
mod stream;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::machine::Machine;

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    warm_up: Duration,
    window: Duration,
    /// Events that consumers find in the stream.
    events: u64,
}

/// Measures, and gives what writes the page.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(
    quick: bool,
    only: Option<&str>,
) -> Result<impl FnOnce(&Machine) -> Result<String, std::fmt::Error> + use<>> {
    let plan = if quick {
        let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(600));
        Plan { rounds: 1, warm_up, window, events: 60_000 }
    } else {
        let (warm_up, window) = (Duration::from_millis(500), Duration::from_millis(2_500));
        Plan { rounds: 5, warm_up, window, events: 400_000 }
    };
    let everything = async {
        let produced = produce::run(plan, only).await?;
        anyhow::Ok((produced, consume::run(plan, only).await?))
    };
    let outcome = tokio::select! {
        outcome = everything => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    let (produced, consumed) = outcome?;
    Ok(move |machine: &Machine| report::page(machine, plan, &produced, &consumed))
}
