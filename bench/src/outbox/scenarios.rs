//! The rounds: every contestant in turn, in another order each time, in a database of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::outbox::contestant::{Contestant, Entry};
use crate::outbox::ledger::Figures;
use crate::outbox::load::{Pace, Running, Window, produce};
use crate::outbox::server::{Database, Server};

/// Transactions per second where nothing is saturated.
pub(crate) const QUIET: Pace = Pace::PerSecond(200);

/// Transactions per second, of each contestant, while a snapshot grows old.
pub(crate) const AGEING: u32 = 500;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// How old the held snapshot is at least.
    pub(crate) snapshot: Duration,
}

/// What a round measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    SaturatedByOnes,
    SaturatedByTens,
    Quiet,
    SnapshotQuiet,
    SnapshotSaturated,
}

/// Business transactions per second: alone, and with one event recorded, no relay running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) alone: f64,
    pub(crate) recording: f64,
}

/// All rounds, by contestant's name.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) figures: BTreeMap<(Load, &'static str), Vec<Figures>>,
    pub(crate) costs: BTreeMap<&'static str, Vec<Cost>>,
}

pub(crate) async fn run(server: &Server, entries: &[Entry], plan: Plan) -> Result<Results> {
    let mut results = Results::default();
    for round in 0..plan.rounds {
        let mut order = entries.to_vec();
        order.rotate_left(round % entries.len());
        eprintln!("round {} of {}", round + 1, plan.rounds);
        for (load, events, pace) in [
            (Load::Quiet, 1, QUIET),
            (Load::SaturatedByOnes, 1, Pace::Saturated),
            (Load::SaturatedByTens, 10, Pace::Saturated),
        ] {
            for entry in &order {
                let field = Field::set_up(server, entry).await?;
                let running = Running::start(&field.contestant);
                let figures = field.measure(&running, events, pace, plan).await;
                let figures = figures.with_context(|| format!("{}, {load:?}", entry.name))?;
                running.stop().await.with_context(|| format!("{}, {load:?}", entry.name))?;
                field.remove(server).await?;
                results.figures.entry((load, entry.name)).or_default().push(figures);
            }
        }
        for entry in &order {
            let field = Field::set_up(server, entry).await?;
            let cost = field.cost(plan).await.with_context(|| format!("{}, cost", entry.name))?;
            field.remove(server).await?;
            results.costs.entry(entry.name).or_default().push(cost);
        }
    }
    eprintln!("a snapshot grows {} s old", plan.snapshot.as_secs());
    snapshot(server, entries, plan, &mut results).await?;
    Ok(results)
}

/// All contestants age at the same time, at the same rate. Then all relays stop, as each would search
/// through its dead rows while another is measured, and one after the other starts again.
async fn snapshot(
    server: &Server,
    entries: &[Entry],
    plan: Plan,
    results: &mut Results,
) -> Result<()> {
    let mut fields = Vec::new();
    for entry in entries {
        let field = Field::set_up(server, entry).await?;
        let held = field.database.snapshot().await?;
        let running = Running::start(&field.contestant);
        fields.push((entry.name, field, running, held));
    }
    let ageing = fields.iter().map(|(_, field, running, _)| {
        let (pace, none) = (Pace::PerSecond(AGEING), Duration::ZERO);
        produce(&field.contestant, &running.ledger, 1, pace, none, plan.snapshot)
    });
    futures_util::future::try_join_all(ageing).await?;
    let mut aged = Vec::new();
    for (name, field, running, held) in fields {
        let ledger = Arc::clone(&running.ledger);
        running.stop().await.with_context(|| format!("{name}, with a snapshot"))?;
        aged.push((name, field, ledger, held));
    }
    for (name, field, ledger, held) in aged {
        let running = Running::go_on(&field.contestant, ledger);
        for (load, pace) in
            [(Load::SnapshotQuiet, QUIET), (Load::SnapshotSaturated, Pace::Saturated)]
        {
            let figures = field.measure(&running, 1, pace, plan).await;
            let figures = figures.with_context(|| format!("{name}, {load:?}"))?;
            results.figures.entry((load, name)).or_default().push(figures);
        }
        drop(held);
        running.stop().await.with_context(|| format!("{name}, with a snapshot"))?;
        field.remove(server).await?;
    }
    Ok(())
}

/// A contestant in its database.
struct Field {
    contestant: Arc<dyn Contestant>,
    database: Database,
}

impl Field {
    async fn set_up(server: &Server, entry: &Entry) -> Result<Self> {
        let database = server.database().await?;
        let contestant = (entry.set_up)(database.url.clone())
            .await
            .with_context(|| format!("{} cannot be set up", entry.name))?;
        Ok(Self { contestant, database })
    }

    async fn measure(
        &self,
        running: &Running,
        events: u64,
        pace: Pace,
        plan: Plan,
    ) -> Result<Figures> {
        let (ledger, window) = (&running.ledger, plan.window);
        let window = produce(&self.contestant, ledger, events, pace, plan.warm_up, window).await?;
        Ok(running.drain(&window).await)
    }

    /// Without and with an event, in turn, twice.
    async fn cost(&self, plan: Plan) -> Result<Cost> {
        let ledger = Arc::new(crate::outbox::ledger::Ledger::new());
        let rate = async |events| -> Result<Window> {
            let (warm_up, window) = (plan.warm_up / 2, plan.window / 2);
            produce(&self.contestant, &ledger, events, Pace::Saturated, warm_up, window).await
        };
        // Connections are opened, and files grow for the first time.
        rate(1).await?;
        let (mut alone, mut recording) = (0.0, 0.0);
        for _ in 0..2 {
            alone += rate(0).await?.transactions / 2.0;
            recording += rate(1).await?.transactions / 2.0;
        }
        Ok(Cost { alone, recording })
    }

    async fn remove(self, server: &Server) -> Result<()> {
        drop(self.contestant);
        server.remove(self.database).await
    }
}
