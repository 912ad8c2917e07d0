//! Functions in turn, each round in processes that are new.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;

use crate::figures::median;
use crate::functions::batch;
use crate::functions::built::{self, Built, Size};
use crate::functions::contestant::{ALL, Contestant};
use crate::functions::process::Function;

/// How often things are done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Processes of each function in a round that are only started and invoked once.
    pub(crate) starts: usize,
    /// Batches of 1,000 before any is measured.
    pub(crate) warm_up: usize,
    /// Batches of 10.
    pub(crate) tens: usize,
    /// Batches of 1,000.
    pub(crate) thousands: usize,
}

/// A function, and what it came to, round by round.
pub(crate) struct Row {
    pub(crate) contestant: Contestant,
    pub(crate) size: Size,
    pub(crate) rounds: Vec<Figures>,
}

/// What a function came to in a round: seconds, and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) init: f64,
    pub(crate) init_processor: f64,
    /// The first batch of 10.
    pub(crate) first: f64,
    pub(crate) ten: Batches,
    pub(crate) thousand: Batches,
    pub(crate) memory: f64,
}

/// What a batch took, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batches {
    /// The median.
    pub(crate) latency: f64,
    /// The mean.
    pub(crate) processor: f64,
}

/// What functions are invoked with.
struct Events {
    ten: Bytes,
    thousand: Bytes,
}

pub(crate) async fn run(plan: Plan, only: Option<&str>) -> Result<Vec<Row>> {
    let wanted = |contestant: &Contestant| only.is_none_or(|only| contestant.name.contains(only));
    let contestants: Vec<Contestant> = ALL.into_iter().filter(wanted).collect();
    let built = built::build(&contestants)?;
    let events = Events { ten: batch::event(10)?.into(), thousand: batch::event(1_000)?.into() };
    for (contestant, built) in contestants.iter().zip(&built) {
        check(built).await.context(contestant.name)?;
    }
    let row = |(contestant, built): (&Contestant, &Built)| Row {
        contestant: *contestant,
        size: built.size,
        rounds: Vec::new(),
    };
    let mut rows: Vec<Row> = contestants.iter().zip(&built).map(row).collect();
    for round in 0..plan.rounds {
        eprintln!("functions, round {} of {}", round + 1, plan.rounds);
        let mut turn: Vec<usize> = (0..rows.len()).collect();
        turn.rotate_left(round % rows.len().max(1));
        let mut starts: Vec<Vec<Start>> = rows.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.starts {
            for &place in &turn {
                let start = Start::new(&built[place], &events).await;
                starts[place].push(start.context(contestants[place].name)?);
            }
        }
        for &place in &turn {
            let figures = measure(&built[place], &starts[place], &events, plan).await;
            rows[place].rounds.push(figures.context(contestants[place].name)?);
        }
    }
    Ok(rows)
}

/// Whether a function decodes each record alone, and reports the one that it cannot get rid of.
async fn check(built: &Built) -> Result<()> {
    let (mut function, _) = Function::start(&built.program).await?;
    let (event, expected) = batch::poisoned()?;
    let answer: Value = serde_json::from_slice(&function.answer(&event.into()).await?)?;
    ensure!(answer == expected, "it answered {answer}, and was to answer {expected}");
    Ok(())
}

/// The beginning of a process.
struct Start {
    init: f64,
    init_processor: f64,
    first: f64,
}

impl Start {
    async fn new(built: &Built, events: &Events) -> Result<Self> {
        let (mut function, init) = Function::start(&built.program).await?;
        Ok(Start {
            init: init.took.as_secs_f64(),
            init_processor: init.processor.as_secs_f64(),
            first: function.invoke(&events.ten).await?.as_secs_f64(),
        })
    }
}

async fn measure(built: &Built, starts: &[Start], events: &Events, plan: Plan) -> Result<Figures> {
    let (mut function, _) = Function::start(&built.program).await?;
    batches(&mut function, &events.thousand, plan.warm_up).await?;
    let ten = batches(&mut function, &events.ten, plan.tens).await?;
    let thousand = batches(&mut function, &events.thousand, plan.thousands).await?;
    let of = |value: fn(&Start) -> f64| median(starts.iter().map(value).collect());
    Ok(Figures {
        init: of(|start| start.init),
        init_processor: of(|start| start.init_processor),
        first: of(|start| start.first),
        ten,
        thousand,
        memory: function.peak_memory()? as f64,
    })
}

async fn batches(function: &mut Function, event: &Bytes, count: usize) -> Result<Batches> {
    let before = function.processor()?;
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        latencies.push(function.invoke(event).await?.as_secs_f64());
    }
    let processor = function.processor()? - before;
    Ok(Batches { latency: median(latencies), processor: processor.as_secs_f64() / count as f64 })
}
