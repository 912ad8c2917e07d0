//! The tables, as Markdown, medians of the rounds.

use std::fmt::Write;
use std::time::Duration;

use crate::figures::{self, median, whole};
use crate::machine::Machine;
use crate::outbox::contestant::{Entry, PAYLOAD};
use crate::outbox::inbox::Way;
use crate::outbox::ledger::Figures;
use crate::outbox::load::PRODUCERS;
use crate::outbox::scenarios::{AGEING, Cost, Load, Plan, Results};

pub(crate) fn page(
    machine: &Machine,
    postgres: &str,
    entries: &[Entry],
    plan: Plan,
    results: &Results,
    ways: &[Way],
) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    writeln!(page, "# Benchmarks: outboxes\n")?;
    writeln!(page, "    cargo run --release --manifest-path bench/Cargo.toml -- outbox\n")?;
    writeln!(
        page,
        "wrote this page: {} cores ({}), PostgreSQL {} with fsync, on the same machine as producers \
         and relays. Every transaction inserts a row of business and, with it, events of {PAYLOAD} B; \
         saturated by {PRODUCERS} producers, else a steady 200 transactions per second. One relay \
         publishes to a counter in the process: no network is measured. Each figure is the median of \
         {} rounds of {} s, contestants in turn, every time in a new database; with a snapshot it is \
         one round. Ratios travel from machine to machine, absolute figures do not.\n",
        machine.cores,
        machine.processor,
        postgres,
        plan.rounds,
        plan.window.as_secs_f64(),
    )?;
    machine.write_quietness(&mut page)?;
    writeln!(
        page,
        "Latency is counted from when the producer knows of its commit until the event is published; \
         events that still wait a second after the producers stopped count with the time that they \
         have waited, and make it a lower bound (`>`).\n"
    )?;
    throughput(
        &mut page,
        "Saturated, one event per transaction",
        Load::SaturatedByOnes,
        entries,
        results,
    )?;
    throughput(
        &mut page,
        "Saturated, ten events per transaction",
        Load::SaturatedByTens,
        entries,
        results,
    )?;
    latency(&mut page, "200 events per second", Load::Quiet, entries, results)?;
    let age = plan.snapshot.as_secs();
    writeln!(page, "## With a snapshot held open\n")?;
    writeln!(
        page,
        "A repeatable-read transaction that has read something is open for {age} s before, while \
         {AGEING} events per second pass, and stays open: what relays have settled since then remains \
         as dead rows. All contestants age together; then each relay is started again and measured \
         alone.\n"
    )?;
    latency(
        &mut page,
        "200 events per second, old snapshot",
        Load::SnapshotQuiet,
        entries,
        results,
    )?;
    throughput(
        &mut page,
        "Saturated, one event per transaction, old snapshot",
        Load::SnapshotSaturated,
        entries,
        results,
    )?;
    cost(&mut page, entries, results)?;
    inbox(&mut page, ways)?;
    writeln!(page, "## How each was set up\n")?;
    for entry in entries {
        writeln!(page, "- **{}**: {}", entry.name, entry.notes)?;
    }
    Ok(page)
}

fn throughput(
    page: &mut String,
    title: &str,
    load: Load,
    entries: &[Entry],
    results: &Results,
) -> std::fmt::Result {
    writeln!(page, "## {title}\n")?;
    writeln!(page, "| outbox | recorded/s | published/s | × {} | p50 | p99 |", entries[0].name)?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|")?;
    let published = |entry: &Entry| {
        results.figures.get(&(load, entry.name)).map(|rounds| of_rounds(rounds, |f| f.published))
    };
    for entry in entries {
        let Some(rounds) = results.figures.get(&(load, entry.name)) else { continue };
        let ratio = published(entry).zip(published(&entries[0])).map(|(its, first)| its / first);
        writeln!(
            page,
            "| {} | {} | {} | {:.1} | {} | {} |",
            entry.name,
            whole(of_rounds(rounds, |f| f.recorded)),
            whole(of_rounds(rounds, |f| f.published)),
            ratio.unwrap_or(f64::NAN),
            duration(rounds, |f| f.p50),
            duration(rounds, |f| f.p99),
        )?;
    }
    duplicates(page, load, entries, results)?;
    writeln!(page)
}

fn latency(
    page: &mut String,
    title: &str,
    load: Load,
    entries: &[Entry],
    results: &Results,
) -> std::fmt::Result {
    writeln!(page, "## {title}\n")?;
    writeln!(page, "| outbox | p50 | p99 |\n|---|--:|--:|")?;
    for entry in entries {
        let Some(rounds) = results.figures.get(&(load, entry.name)) else { continue };
        let (p50, p99) = (duration(rounds, |f| f.p50), duration(rounds, |f| f.p99));
        writeln!(page, "| {} | {p50} | {p99} |", entry.name)?;
    }
    duplicates(page, load, entries, results)?;
    writeln!(page)
}

fn duplicates(
    page: &mut String,
    load: Load,
    entries: &[Entry],
    results: &Results,
) -> std::fmt::Result {
    for entry in entries {
        let rounds = results.figures.get(&(load, entry.name));
        let twice: u64 = rounds.into_iter().flatten().map(|figures| figures.duplicates).sum();
        if twice > 0 {
            writeln!(page, "\n{} published {twice} events twice.", entry.name)?;
        }
    }
    Ok(())
}

fn cost(page: &mut String, entries: &[Entry], results: &Results) -> std::fmt::Result {
    writeln!(page, "## What recording costs the business transaction\n")?;
    writeln!(
        page,
        "Transactions per second, saturated, in turn: the business row alone, and with one event \
         recorded, no relay running. Alone is the same work for all: how far it differs between them \
         tells how quiet the machine was.\n"
    )?;
    writeln!(page, "| outbox | alone | recording | of alone |\n|---|--:|--:|--:|")?;
    for entry in entries {
        let Some(rounds) = results.costs.get(entry.name) else { continue };
        let of = |value: fn(&Cost) -> f64| median(rounds.iter().map(value).collect());
        writeln!(
            page,
            "| {} | {} | {} | {:.0} % |",
            entry.name,
            whole(of(|cost| cost.alone)),
            whole(of(|cost| cost.recording)),
            // Within a round, as machines have moods.
            100.0 * of(|cost| cost.recording / cost.alone),
        )?;
    }
    writeln!(page)
}

fn inbox(page: &mut String, ways: &[Way]) -> std::fmt::Result {
    writeln!(page, "## Inbox\n")?;
    writeln!(
        page,
        "Handlers that insert the row of business, saturated by {PRODUCERS} workers: without and with \
         fanfare's inbox, which also reads the envelope, remembers the event in the same transaction \
         and has a savepoint for each message. After every round there are as many rows as messages.\n"
    )?;
    writeln!(page, "| | messages/s |\n|---|--:|")?;
    for way in ways {
        writeln!(page, "| {} | {} |", way.name, whole(median(way.rates.clone())))?;
    }
    writeln!(page)
}

fn of_rounds(rounds: &[Figures], value: impl Fn(&Figures) -> f64) -> f64 {
    median(rounds.iter().map(value).collect())
}

fn duration(rounds: &[Figures], value: impl Fn(&Figures) -> Duration) -> String {
    let seconds = of_rounds(rounds, |figures| value(figures).as_secs_f64());
    let waiting = of_rounds(rounds, |figures| figures.waiting as f64) > 0.0;
    let bound = if waiting { "> " } else { "" };
    format!("{bound}{}", figures::duration(seconds))
}
