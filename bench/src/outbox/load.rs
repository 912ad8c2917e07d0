//! Producers, and what they measure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::outbox::contestant::Contestant;
use crate::outbox::ledger::{Figures, Ledger};

/// Producers at once, when nothing holds them back.
pub(crate) const PRODUCERS: usize = 32;

/// Producers that share a given rate.
const PACED_PRODUCERS: u32 = 4;

/// How long what was recorded may still be published after the producers have stopped.
const DRAIN: Duration = Duration::from_secs(1);

/// How fast producers are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as the database lets [`PRODUCERS`] of them.
    Saturated,
    /// So many transactions per second, all together.
    PerSecond(u32),
}

/// Runs producers for `warm_up` and then `window`, and says what the window came to. The relay, if
/// there is one, runs already.
pub(crate) async fn produce(
    contestant: &Arc<dyn Contestant>,
    ledger: &Arc<Ledger>,
    events: u64,
    pace: Pace,
    warm_up: Duration,
    window: Duration,
) -> Result<Window> {
    let stop = CancellationToken::new();
    let mut producers = JoinSet::new();
    let number = match pace {
        Pace::Saturated => PRODUCERS as u32,
        Pace::PerSecond(_) => PACED_PRODUCERS,
    };
    for producer in 0..number {
        let (contestant, ledger) = (Arc::clone(contestant), Arc::clone(ledger));
        let stop = stop.clone();
        producers.spawn(async move {
            let mut ticks = match pace {
                Pace::Saturated => None,
                Pace::PerSecond(rate) => {
                    let period = Duration::from_secs(1) * PACED_PRODUCERS / rate;
                    tokio::time::sleep(period * producer / PACED_PRODUCERS).await;
                    let mut ticks = interval(period);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    Some(ticks)
                }
            };
            let mut transactions = Vec::new();
            while !stop.is_cancelled() {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                let numbers = ledger.take(events);
                contestant.transaction(numbers.clone()).await?;
                transactions.push(ledger.now());
                ledger.commit(numbers);
            }
            anyhow::Ok(transactions)
        });
    }
    tokio::time::sleep(warm_up).await;
    let from = ledger.now();
    tokio::time::sleep(window).await;
    let window = from..ledger.now();
    stop.cancel();
    let mut transactions = 0;
    while let Some(done) = producers.join_next().await {
        let times = done?.context("a producer failed")?;
        transactions += times.iter().filter(|time| window.contains(*time)).count();
    }
    let seconds = Duration::from_nanos(window.end - window.start).as_secs_f64();
    Ok(Window { transactions: transactions as f64 / seconds, window })
}

/// A stretch of a ledger's time.
pub(crate) struct Window {
    /// Committed in it, per second.
    pub(crate) transactions: f64,
    window: std::ops::Range<u64>,
}

/// A contestant's relay, running; what is dropped is stopped.
pub(crate) struct Running {
    pub(crate) ledger: Arc<Ledger>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Running {
    pub(crate) fn start(contestant: &Arc<dyn Contestant>) -> Self {
        Self::go_on(contestant, Arc::new(Ledger::new()))
    }

    /// Another relay, where events of an earlier one may still wait.
    pub(crate) fn go_on(contestant: &Arc<dyn Contestant>, ledger: Arc<Ledger>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(contestant.relay(Arc::clone(&ledger), stop.clone()));
        Self { ledger, stop, task }
    }

    /// Lets the relay finish what it can in a moment, and looks at the window.
    pub(crate) async fn drain(&self, window: &Window) -> Figures {
        let start = Instant::now();
        while self.ledger.waiting() > 0 && start.elapsed() < DRAIN && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ledger.figures(window.window.clone())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?.context("the relay failed")
    }
}
