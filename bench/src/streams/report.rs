//! The tables, as Markdown, medians of the rounds.

use std::fmt::Write;

use crate::figures::{duration, median, whole};
use crate::machine::Machine;
use crate::streams::produce::{CALLERS, Row};
use crate::streams::producers::{AGGREGATED, FANFARE, PUT_RECORD, PUT_RECORDS};
use crate::streams::{Plan, consume, produce};

pub(crate) fn page(
    machine: &Machine,
    plan: Plan,
    produced: &[produce::Results],
    consumed: &[consume::Results],
) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    writeln!(page, "# Benchmarks: Kinesis\n")?;
    writeln!(page, "    cargo run --release --manifest-path bench/Cargo.toml -- streams\n")?;
    writeln!(
        page,
        "wrote this page: {} cores ({}). The client has one thread, and so has the simulator of \
         Kinesis, in a process of its own: where the table gives the client a share of 100 %, its \
         own work is what is measured; where it gives that to the simulator, events/s are the \
         simulator's, and the client's processor time is what tells producers apart. Plain HTTP on \
         one machine: neither TLS nor a network's latency is measured. Medians of {} rounds, \
         contestants in turn. Ratios are of the same round; they travel from machine to machine, \
         absolute figures do not.\n",
        machine.cores, machine.processor, plan.rounds,
    )?;
    machine.write_quietness(&mut page)?;
    writeln!(page, "## Producing\n")?;
    writeln!(
        page,
        "{CALLERS} tasks call the producer, each as soon as its last call has returned, for {} s, with \
         CloudEvents that were sealed before: everyone puts the same bytes, and none is charged for \
         making them. Each round has a new simulator. After it, it is asked how many events it \
         stored: as many as were accepted, or more. Processor time is the client's, the SDK's part in \
         it included. Latency is that of a call.\n",
        plan.window.as_secs_f64(),
    )?;
    for results in produced {
        race(&mut page, results)?;
    }
    bars(&mut page, produced)?;
    for results in consumed {
        find(&mut page, plan, results)?;
    }
    notes(&mut page, produced, consumed)?;
    Ok(page)
}

fn race(page: &mut String, results: &produce::Results) -> std::fmt::Result {
    let produce::Results { race, body, .. } = results;
    writeln!(page, "### {}\n", race.title)?;
    writeln!(page, "{} With its envelope an event has {body} B.\n", race.about)?;
    writeln!(
        page,
        "| producer | events per call | events/s | × {} | × {} | requests per 1,000 events | records \
         per 1,000 events | CPU per event | client | simulator | p50 | p99 |",
        PUT_RECORD.name, PUT_RECORDS.name,
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for (row, _) in &results.rows {
        let of = |value: fn(&produce::Figures) -> f64| results.median(row, value);
        let times = |other| match results.ratio(row, other, |f| f.events) {
            Some(ratio) => format!("{ratio:.2}"),
            None => "–".into(),
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {:.1} µs | {:.0} % | {:.0} % | {} | {} |",
            row.producer.name,
            row.call,
            whole(of(|f| f.events)),
            times(PUT_RECORD.name),
            times(PUT_RECORDS.name),
            thousand(of(|f| f.requests)),
            thousand(of(|f| f.records)),
            1e6 * of(|f| f.client),
            100.0 * of(|f| f.client_share),
            100.0 * of(|f| f.simulator_share),
            duration(of(|f| f.p50)),
            duration(of(|f| f.p99)),
        )?;
    }
    writeln!(page)
}

/// What was promised, and what came of it.
fn bars(page: &mut String, produced: &[produce::Results]) -> std::fmt::Result {
    let of = |title: &str| produced.iter().find(|results| results.race.title == title);
    let Some(wide) = of(produce::SMALL.title) else { return Ok(()) };
    let find = |results: &produce::Results, name, call| {
        let row = |(row, _): &&(Row, _)| row.producer.name == name && row.call == call;
        results.rows.iter().find(row).map(|(row, _)| *row)
    };
    writeln!(page, "### Bars\n")?;
    writeln!(page, "For events of 300 B, each with a key of its own:\n")?;
    if let Some(fanfare) = find(wide, FANFARE.name, 500) {
        let times = |other| wide.ratio(&fanfare, other, |f| f.events);
        if let Some(ratio) = times(PUT_RECORD.name) {
            let met = verdict(ratio >= 10.0);
            writeln!(page, "- At least 10 times {}: {ratio:.1} times, {met}.", PUT_RECORD.name)?;
        }
        let cost = wide.ratio(&fanfare, PUT_RECORDS.name, |f| f.client);
        if let Some((ratio, cost)) = times(PUT_RECORDS.name).zip(cost) {
            writeln!(
                page,
                "- Within 10 % of {} of 500: {:.0} % of its events/s, {}, for {:.0} % of its processor \
                 time per event.",
                PUT_RECORDS.name,
                100.0 * ratio,
                verdict(ratio >= 0.9),
                100.0 * cost,
            )?;
        }
    }
    for results in produced {
        for row in results.rows.iter().map(|(row, _)| row) {
            let comparable =
                (results.race.bytes, results.race.keys) == (wide.race.bytes, wide.race.keys);
            if row.producer.name != AGGREGATED.name || !comparable {
                continue;
            }
            let records = results.median(row, |f| f.records);
            writeln!(
                page,
                "- Aggregated at most 1/20 of the records: 1/{:.0} with {} events in a call on {} \
                 shards, {}.",
                1.0 / records,
                row.call,
                results.race.shards,
                verdict(records <= 0.05),
            )?;
        }
    }
    writeln!(
        page,
        "\nOnly events of one call and one shard share a record: to be aggregated twentyfold a call has \
         to bring twenty events for each shard.\n"
    )
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn find(page: &mut String, plan: Plan, results: &consume::Results) -> std::fmt::Result {
    writeln!(page, "## {}\n", results.find.title)?;
    let (shards, events) = (consume::SHARDS, plan.events);
    writeln!(
        page,
        "{} events of {} B in {shards} shards, {} records for 1,000 events, read from the oldest on; \
         handlers note the event's number and nothing else. A shard gives 2 MiB and 5 reads a second, \
         which is {} events/s for all of them if they are read evenly. Events/s count from the \
         consumer's start, with its look for the shards and its leases, to its last event.\n",
        whole(events as f64),
        consume::BYTES,
        thousand(results.records),
        whole(f64::from(shards) * 2_097_152.0 / results.body),
    )?;
    let first = results.rows.first().map_or("", |(entry, _)| entry.name);
    writeln!(
        page,
        "| consumer | events/s | × {first} | first event after | requests per 1,000 events | CPU per \
         event | client | simulator |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
    for (entry, rounds) in &results.rows {
        let of = |value: fn(&consume::Figures) -> f64| median(rounds.iter().map(value).collect());
        let ratios =
            rounds.iter().zip(&results.rows[0].1).map(|(its, first)| its.events / first.events);
        writeln!(
            page,
            "| {} | {} | {:.2} | {} | {} | {:.1} µs | {:.0} % | {:.0} % |",
            entry.name,
            whole(of(|f| f.events)),
            median(ratios.collect()),
            duration(of(|f| f.first)),
            thousand(of(|f| f.requests)),
            1e6 * of(|f| f.client),
            100.0 * of(|f| f.client_share),
            100.0 * of(|f| f.simulator_share),
        )?;
    }
    for (entry, rounds) in &results.rows {
        let twice: u64 = rounds.iter().map(|figures| figures.twice).sum();
        if twice > 0 {
            writeln!(page, "\n{} handled {twice} events again.", entry.name)?;
        }
    }
    writeln!(page)
}

fn notes(
    page: &mut String,
    produced: &[produce::Results],
    consumed: &[consume::Results],
) -> std::fmt::Result {
    writeln!(page, "## How each was set up\n\nProducers:\n")?;
    let mut known = Vec::new();
    for (row, _) in produced.iter().flat_map(|results| &results.rows) {
        if !known.contains(&row.producer.name) {
            known.push(row.producer.name);
            writeln!(page, "- **{}**: {}", row.producer.name, row.producer.notes)?;
        }
    }
    writeln!(page, "\nConsumers:\n")?;
    known.clear();
    for (entry, _) in consumed.iter().flat_map(|results| &results.rows) {
        if !known.contains(&entry.name) {
            known.push(entry.name);
            writeln!(page, "- **{}**: {}", entry.name, entry.notes)?;
        }
    }
    Ok(())
}

/// What comes to each event, of a thousand.
fn thousand(each: f64) -> String {
    match 1_000.0 * each {
        of @ ..10.0 => format!("{of:.1}"),
        of if of >= 995.0 => whole(of),
        of => format!("{of:.0}"),
    }
}

impl produce::Results {
    fn median(&self, row: &Row, value: impl Fn(&produce::Figures) -> f64) -> f64 {
        median(self.rounds(row).iter().map(value).collect())
    }

    /// Of a row to the one of another producer, within a round, as machines have moods.
    fn ratio(
        &self,
        row: &Row,
        other: &str,
        value: impl Fn(&produce::Figures) -> f64,
    ) -> Option<f64> {
        let (_, others) = self.rows.iter().find(|(row, _)| row.producer.name == other)?;
        let pairs = self.rounds(row).iter().zip(others);
        Some(median(pairs.map(|(its, other)| value(its) / value(other)).collect()))
    }

    fn rounds(&self, row: &Row) -> &[produce::Figures] {
        let same = |other: &Row| (other.producer.name, other.call) == (row.producer.name, row.call);
        self.rows.iter().find(|(other, _)| same(other)).map_or(&[], |(_, rounds)| rounds)
    }
}
