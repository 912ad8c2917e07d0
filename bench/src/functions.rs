//! Lambda functions in processes of their own, through a Runtime API on loopback.
//!
//! The driver has one thread and so has the function, so that a function's processor time is its own.

mod batch;
mod built;
mod contestant;
mod measure;
mod process;
mod report;

use anyhow::{Result, bail};

use crate::functions::measure::Plan;
use crate::machine::Machine;

/// Measures, and gives what writes the page.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(
    quick: bool,
    only: Option<&str>,
) -> Result<impl FnOnce(&Machine) -> Result<String, std::fmt::Error> + use<>> {
    let plan = if quick {
        Plan { rounds: 1, starts: 3, warm_up: 5, tens: 200, thousands: 20 }
    } else {
        Plan { rounds: 9, starts: 11, warm_up: 40, tens: 3_000, thousands: 300 }
    };
    let results = tokio::select! {
        results = measure::run(plan, only) => results?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    Ok(move |machine: &Machine| report::page(machine, plan, &results))
}
