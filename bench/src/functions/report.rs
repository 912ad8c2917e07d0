//! The tables, as Markdown, medians of the rounds.

use std::fmt::Write;

use crate::figures::median;
use crate::functions::batch::BYTES;
use crate::functions::contestant::{BY_HAND, FANFARE};
use crate::functions::measure::{Figures, Plan, Row};
use crate::machine::Machine;

/// How many times what one writes by hand a function with fanfare may take.
const OVERHEAD: f64 = 1.2;
const INIT: f64 = 1.2;
const ZIP: f64 = 1.3;

pub(crate) fn page(machine: &Machine, plan: Plan, rows: &[Row]) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    writeln!(page, "# Benchmarks: Lambda functions\n")?;
    writeln!(page, "    cargo run --release --manifest-path bench/Cargo.toml -- functions\n")?;
    writeln!(
        page,
        "wrote this page: {} cores ({}). Two functions of `bench/functions` do the same with messages of a \
         queue, one with fanfare and one with `lambda_runtime` and `aws_lambda_events` alone; their \
         handlers do nothing, so that all that is measured is overhead. Each is a process of its own with \
         one thread, built as functions are deployed (profile `lambda`: optimised for size, LTO, one \
         codegen unit, stripped), and asks a Runtime API on loopback for work, which is the driver and has \
         one thread too. Processor time is the function's process alone, the kernel's part of it and the \
         runtime's HTTP included. Latency is what the invoker sees: the loopback HTTP and the driver's \
         work are in it, alike for all, and bring its ratios closer to one. Medians of {} rounds, \
         functions in turn. Ratios are of the same round; they travel from machine to machine, absolute \
         figures do not.\n",
        machine.cores, machine.processor, plan.rounds,
    )?;
    machine.write_quietness(&mut page)?;
    batches(&mut page, plan, rows)?;
    starts(&mut page, plan, rows)?;
    sizes(&mut page, rows)?;
    bars(&mut page, rows)?;
    writeln!(page, "## How each was written\n")?;
    for Row { contestant, .. } in rows {
        writeln!(page, "- **{}**: {}", contestant.name, contestant.notes)?;
    }
    Ok(page)
}

fn batches(page: &mut String, plan: Plan, rows: &[Row]) -> std::fmt::Result {
    writeln!(page, "## Batches\n")?;
    writeln!(
        page,
        "{} batches of 10 and {} of 1,000 in a row, after {} of 1,000 that do not count; events with \
         {BYTES} B of data in their envelope, as a queue gets them from a topic with raw delivery, in records \
         with all that Lambda says of them. Latency is the median of a round's batches, processor time \
         their mean. Memory is the most that the process ever had.\n",
        plan.tens, plan.thousands, plan.warm_up,
    )?;
    let times = format!("× {}", BY_HAND.name);
    writeln!(
        page,
        "| function | CPU per batch of 1,000 | {times} | latency | {times} | CPU per batch of 10 | {times} \
         | latency | {times} | memory | {times} |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for row in rows {
        let column = |value| {
            format!("{} | {}", milliseconds(row.median(value)), times_by_hand(rows, row, value))
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.contestant.name,
            column(|f| f.thousand.processor),
            column(|f| f.thousand.latency),
            column(|f| f.ten.processor),
            column(|f| f.ten.latency),
            megabytes(row.median(|f| f.memory)),
            times_by_hand(rows, row, |f| f.memory),
        )?;
    }
    writeln!(page)
}

fn starts(page: &mut String, plan: Plan, rows: &[Row]) -> std::fmt::Result {
    writeln!(page, "## Starts\n")?;
    writeln!(
        page,
        "{} processes of each function in a round, in turn. Init is the time from the start of the process \
         to its first question for work: the SDK's configuration, its clients, the consumer. The programs \
         are in the page cache; Lambda has to load them besides. The first invocation brings a batch of \
         10.\n",
        plan.starts,
    )?;
    let times = format!("× {}", BY_HAND.name);
    writeln!(
        page,
        "| function | init | {times} | CPU until then | {times} | first invocation | {times} |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|")?;
    for row in rows {
        let column = |value| {
            format!("{} | {}", milliseconds(row.median(value)), times_by_hand(rows, row, value))
        };
        writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.contestant.name,
            column(|f| f.init),
            column(|f| f.init_processor),
            column(|f| f.first),
        )?;
    }
    writeln!(page)
}

fn sizes(page: &mut String, rows: &[Row]) -> std::fmt::Result {
    writeln!(page, "## Size\n")?;
    writeln!(
        page,
        "Zips are packed as `cargo xtask lambda build` packs them: deflate, level 9.\n"
    )?;
    let times = format!("× {}", BY_HAND.name);
    writeln!(page, "| function | binary | {times} | zip | {times} |")?;
    writeln!(page, "|---|--:|--:|--:|--:|")?;
    for row in rows {
        let ratio = |bytes: fn(&Row) -> f64| match find(rows, BY_HAND.name) {
            Some(other) => format!("{:.2}", bytes(row) / bytes(other)),
            None => "–".into(),
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            row.contestant.name,
            megabytes(row.size.binary as f64),
            ratio(|row| row.size.binary as f64),
            megabytes(row.size.zip as f64),
            ratio(|row| row.size.zip as f64),
        )?;
    }
    writeln!(page)
}

/// What was promised, and what came of it.
fn bars(page: &mut String, rows: &[Row]) -> std::fmt::Result {
    let Some((fanfare, by_hand)) = find(rows, FANFARE.name).zip(find(rows, BY_HAND.name)) else {
        return Ok(());
    };
    let bars = [
        ("CPU per batch of 1,000", OVERHEAD, fanfare.ratio(by_hand, |f| f.thousand.processor)),
        ("init", INIT, fanfare.ratio(by_hand, |f| f.init)),
        ("zip", ZIP, fanfare.size.zip as f64 / by_hand.size.zip as f64),
    ];
    writeln!(page, "## Bars\n\nOf what one writes by hand:\n")?;
    for (what, bar, ratio) in bars {
        let met = if ratio <= bar { "met" } else { "**not met**" };
        writeln!(page, "- {what} at most {bar:.1} times: {ratio:.2} times, {met}.")?;
    }
    writeln!(page)
}

fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.contestant.name == name)
}

fn times_by_hand(rows: &[Row], row: &Row, value: fn(&Figures) -> f64) -> String {
    let other = find(rows, BY_HAND.name);
    other.map_or_else(|| "–".into(), |other| format!("{:.2}", row.ratio(other, value)))
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.2} ms", 1e3 * seconds)
}

fn megabytes(bytes: f64) -> String {
    format!("{:.2} MB", bytes / 1e6)
}

impl Row {
    fn median(&self, value: fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(value).collect())
    }

    /// To another function, within a round, as machines have moods.
    fn ratio(&self, other: &Row, value: fn(&Figures) -> f64) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(its, other)| value(its) / value(other)).collect())
    }
}
