//! fanfare's outbox beside its peers: one PostgreSQL, one run, rounds in turn.

mod contestant;
mod contestants;
mod inbox;
mod ledger;
mod load;
mod report;
mod scenarios;
mod server;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::machine::Machine;
use crate::outbox::scenarios::Plan;
use crate::outbox::server::Server;

/// Measures, and gives what writes the page.
#[tokio::main]
pub(crate) async fn run(
    quick: bool,
    only: Option<&str>,
) -> Result<impl FnOnce(&Machine) -> Result<String, std::fmt::Error> + use<>> {
    let plan = if quick {
        let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(600));
        Plan { rounds: 1, warm_up, window, snapshot: Duration::from_secs(4) }
    } else {
        let (warm_up, window) = (Duration::from_millis(500), Duration::from_millis(2_500));
        Plan { rounds: 3, warm_up, window, snapshot: Duration::from_secs(40) }
    };
    let mut entries = contestants::ALL.to_vec();
    if let Some(only) = only {
        let first = entries[0].name;
        entries.retain(|entry| entry.name == first || entry.name.contains(only));
    }
    let server = Server::get().await?;
    let postgres = server.version().await?;
    let everything = async {
        let results = scenarios::run(&server, &entries, plan).await?;
        anyhow::Ok((results, inbox::run(&server, plan).await?))
    };
    let outcome = tokio::select! {
        outcome = everything => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    let (results, ways) = outcome?;
    Ok(move |machine: &Machine| report::page(machine, &postgres, &entries, plan, &results, &ways))
}
