//! Publishers to a topic and consumers of a queue, on the simulator in a process of its own, and what
//! envelopes cost.
//!
//! Every contestant runs in a process of its own too, with one thread, as the simulator has: so that
//! processor time and memory are its own, and that it can be told which of the two a figure is the
//! limit of.

mod client;
mod codec;
mod consume;
mod consumers;
mod place;
mod publish;
mod publishers;
mod report;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::machine::Machine;
pub(crate) use crate::messages::client::serve;

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    warm_up: Duration,
    /// What of publishing is measured.
    window: Duration,
    /// Events that consumers find, with handlers that take no time and some.
    events: [u64; 2],
    /// Whether codecs are measured only to see that it works.
    hasty: bool,
}

/// Measures, and gives what writes the page.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(
    quick: bool,
    only: Option<&str>,
) -> Result<impl FnOnce(&Machine) -> Result<String, std::fmt::Error> + use<>> {
    let plan = if quick {
        let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(500));
        Plan { rounds: 1, warm_up, window, events: [5_000, 5_000], hasty: true }
    } else {
        let (warm_up, window) = (Duration::from_millis(400), Duration::from_millis(1_500));
        Plan { rounds: 5, warm_up, window, events: [30_000, 10_000], hasty: false }
    };
    let everything = async {
        let published = publish::run(plan, only).await?;
        let consumed = consume::run(plan, only).await?;
        let coded = if only.is_none() { codec::run(plan.hasty).await? } else { Vec::new() };
        anyhow::Ok((published, consumed, coded))
    };
    let outcome = tokio::select! {
        outcome = everything => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    let (published, consumed, coded) = outcome?;
    Ok(move |machine: &Machine| report::page(machine, plan, &published, &consumed, &coded))
}
