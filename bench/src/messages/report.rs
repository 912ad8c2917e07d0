//! The tables, as Markdown, medians of the rounds.

use std::fmt::Write;

use crate::figures::{median, whole};
use crate::machine::Machine;
use crate::messages::client::Figures;
use crate::messages::{Plan, codec, consume, consumers, publish, publishers};

/// Rows of a table: a name, and its figures round by round.
type Rows<'a> = Vec<(&'static str, &'a [Figures])>;

pub(crate) fn page(
    machine: &Machine,
    plan: Plan,
    published: &[publish::Results],
    consumed: &[consume::Results],
    coded: &[codec::Results],
) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    writeln!(page, "# Benchmarks: SNS and SQS\n")?;
    writeln!(page, "    cargo run --release --manifest-path bench/Cargo.toml -- messages\n")?;
    writeln!(
        page,
        "wrote this page: {} cores ({}). Each contestant has a process of its own with one thread, and so \
         has the simulator of SNS and SQS: where a table gives the client a share of 100 %, its own work \
         is what is measured; where it gives that to the simulator, messages/s are the simulator's, and \
         processor time is what tells contestants apart. Plain HTTP on one machine: neither TLS nor a \
         network's latency is measured, nor what AWS would take for its part. Everyone's clients are \
         the AWS SDK's of the same versions and made from the same configuration. Medians of {} rounds, \
         contestants in turn, every time with a new process and a new simulator. Ratios are of the same \
         round; they travel from machine to machine, absolute figures do not.\n",
        machine.cores, machine.processor, plan.rounds,
    )?;
    machine.write_quietness(&mut page)?;
    writeln!(
        page,
        "Other pages: [outboxes](benchmarks-outbox.md), [Kinesis](benchmarks-kinesis.md), [Lambda \
         functions](benchmarks-functions.md).\n"
    )?;
    writeln!(
        page,
        "Requests are those that the simulator got, for 1,000 messages. Processor time is the client's \
         for a message, the SDK's and the kernel's part in it included. Memory is the most that the \
         client's process has had.\n"
    )?;
    for results in published {
        writeln!(page, "## Publishing events of {} B\n", results.bytes)?;
        writeln!(
            page,
            "To a topic with one subscription, a queue. CloudEvents that were sealed before, {} B with their \
             envelope and an attribute for their type: everyone publishes the same bytes, and none is \
             charged for making them. Everyone has at most 40 events in requests at a time. After each \
             round the queue has as many messages as were accepted.\n",
            results.body,
        )?;
        table(&mut page, &results.rows(), publishers::ONES.name)?;
    }
    for results in consumed {
        writeln!(page, "## Consuming with handlers of {} ms\n", results.takes.as_millis())?;
        writeln!(
            page,
            "{} events of {} B wait in the queue, {}. Everyone reads the event from its envelope, has at \
             most {} in handlers at a time, and is measured from its start to the last event; requests and \
             processor time count until it has stopped. After each round the queue is empty.\n",
            whole(results.events as f64),
            consume::BYTES,
            if results.takes.is_zero() {
                "and handlers note the event's number and nothing else"
            } else {
                "and handlers wait before they note the event's number"
            },
            consumers::AT_ONCE,
        )?;
        table(&mut page, &results.rows(), consumers::BATCHES.name)?;
    }
    codec(&mut page, coded)?;
    bars(&mut page, published, consumed, coded)?;
    notes(&mut page, published, consumed)?;
    Ok(page)
}

fn table(page: &mut String, rows: &Rows<'_>, first: &str) -> std::fmt::Result {
    writeln!(
        page,
        "| | messages/s | × {first} | CPU per message | × {first} | requests per 1,000 | memory | client | \
         simulator |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for (name, rounds) in rows {
        let of = |value: fn(&Figures) -> f64| median(rounds.iter().map(value).collect());
        let times =
            |value| ratio(rows, name, first, value).map_or("–".into(), |r| format!("{r:.2}"));
        writeln!(
            page,
            "| {name} | {} | {} | {:.1} µs | {} | {:.0} | {:.0} MiB | {:.0} % | {:.0} % |",
            whole(of(messages)),
            times(messages),
            1e6 * of(processor),
            times(processor),
            1e3 * of(|f| f.requests),
            of(|f| f.done.memory as f64) / 1_048_576.0,
            100.0 * of(|f| f.done.share),
            100.0 * of(|f| f.simulator_share),
        )?;
    }
    for (name, rounds) in rows {
        let twice: u64 = rounds.iter().map(|figures| figures.done.twice).sum();
        if twice > 0 {
            writeln!(page, "\n{name} handled {twice} events again.")?;
        }
    }
    writeln!(page)
}

fn messages(figures: &Figures) -> f64 {
    figures.done.per_second
}

fn processor(figures: &Figures) -> f64 {
    figures.done.processor
}

/// Of a row to another, within a round, as machines have moods.
fn ratio(rows: &Rows<'_>, of: &str, to: &str, value: fn(&Figures) -> f64) -> Option<f64> {
    let find = |name| rows.iter().find(|(other, _)| *other == name).map(|(_, rounds)| *rounds);
    let pairs = find(of)?.iter().zip(find(to)?);
    Some(median(pairs.map(|(its, other)| value(its) / value(other)).collect()))
}

fn codec(page: &mut String, coded: &[codec::Results]) -> std::fmt::Result {
    if coded.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Envelopes\n")?;
    writeln!(
        page,
        "Events of twenty types, of 300 B and of 3,000 B of data beside the envelope's 350 or so, written \
         and read by tag, measured by criterion (`cargo bench --manifest-path bench/Cargo.toml --package fanfare-bench-codec`), in \
         rounds with the contestants in turn. *known* is the floor: serde_json's derived code for an \
         envelope whose type is known beforehand, which has the attributes that fanfare's `Envelope` has, \
         owned strings and the time as a `jiff::Timestamp`. *tagged* is an enum of twenty such envelopes \
         with `#[serde(tag = \"type\")]`, *typetag* a `Box<dyn Trait>` of them. fanfare opens the body, \
         looks the tag up in a table of twenty and reads the data as the handler's type, as a consumer \
         does. Everyone reads the same bytes. In writing, each event is new: its id and the time are \
         made, and fanfare's is a `Message`, with its attributes, key and destination.\n"
    )?;
    writeln!(
        page,
        "| time for an event, and times the floor's | {} |",
        codec::CONTESTANTS.join(" | ")
    )?;
    writeln!(page, "|---|{}", "--:|".repeat(codec::CONTESTANTS.len()))?;
    for results in coded {
        let cells = codec::CONTESTANTS.map(|name| {
            let times = results.ratio(name, "known");
            format!("{:.2} µs, {times:.2}", 1e6 * median(results.rounds(name).to_vec()))
        });
        writeln!(page, "| {} B | {} |", results.group, cells.join(" | "))?;
    }
    writeln!(page)
}

/// What was promised, and what came of it.
fn bars(
    page: &mut String,
    published: &[publish::Results],
    consumed: &[consume::Results],
    coded: &[codec::Results],
) -> std::fmt::Result {
    writeln!(page, "## Bars\n")?;
    let direct = publishers::DIRECT.name;
    for results in published {
        let rows = results.rows();
        let ours = rows.iter().map(|(name, _)| *name).filter(|name| name.starts_with(direct));
        for name in ours {
            let to = |other, value| ratio(&rows, name, other, value);
            if let Some(times) = to(publishers::ONES.name, messages) {
                let (bytes, met) = (results.bytes, verdict(times >= 4.0));
                writeln!(
                    page,
                    "- {name}, {bytes} B: at least 4 times Publish: {times:.1} times, {met}."
                )?;
            }
            let batches = publishers::BATCHES.name;
            if let Some((times, cost)) = to(batches, messages).zip(to(batches, processor)) {
                writeln!(
                    page,
                    "- {name}, {} B: within 10 % of {batches}: {:.0} % of its messages/s, {}, for {:.0} % of \
                     its processor time.",
                    results.bytes,
                    100.0 * times,
                    verdict(times >= 0.9),
                    100.0 * cost,
                )?;
            }
        }
    }
    let idle = consumed.iter().find(|results| results.takes.is_zero());
    if let Some(results) = idle {
        let (rows, fanfare) = (results.rows(), consumers::FANFARE.name);
        for (peer, _) in &rows {
            let theirs = ["omniqueue", "ruststream"].iter().any(|name| peer.starts_with(name));
            if let Some(times) = ratio(&rows, fanfare, peer, messages).filter(|_| theirs) {
                let met = verdict(times >= 4.0);
                writeln!(page, "- Consuming, at least 4 times {peer}: {times:.1} times, {met}.")?;
            }
        }
        let best = consumers::BATCHES.name;
        let cost = ratio(&rows, fanfare, best, processor);
        if let Some((cost, times)) = cost.zip(ratio(&rows, fanfare, best, messages)) {
            writeln!(
                page,
                "- Consuming, within 10 % of the processor time of {best}: {:.0} % of it, {}, with {:.0} % \
                 of its messages/s.",
                100.0 * cost,
                verdict(cost <= 1.1),
                100.0 * times,
            )?;
        }
    }
    let requests = |rows: &Rows<'_>, name| {
        let (_, rounds) = rows.iter().find(|(other, _)| *other == name)?;
        Some(median(rounds.iter().map(|figures| figures.requests).collect()))
    };
    let publish = published.first().and_then(|results| requests(&results.rows(), direct));
    let consume = idle.and_then(|results| requests(&results.rows(), consumers::FANFARE.name));
    if let Some((publish, consume)) = publish.zip(consume) {
        let all = publish + consume;
        writeln!(
            page,
            "- At most 0.31 requests to publish, receive and delete a message: {all:.3}, {}.",
            verdict(all <= 0.31)
        )?;
    }
    for results in coded.iter().filter(|results| results.group.starts_with("decode")) {
        let floor = results.ratio("fanfare", "known");
        let [tagged, typetag] = ["tagged", "typetag"].map(|peer| results.ratio(peer, "fanfare"));
        writeln!(
            page,
            "- To {} B at most 1.05 times the floor: {floor:.2}, {}; at least 1.6 times faster than tagged: \
             {tagged:.2}, {}; and 3 times faster than typetag: {typetag:.2}, {}.",
            results.group,
            verdict(floor <= 1.05),
            verdict(tagged >= 1.6),
            verdict(typetag >= 3.0),
        )?;
    }
    writeln!(page)
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn notes(
    page: &mut String,
    published: &[publish::Results],
    consumed: &[consume::Results],
) -> std::fmt::Result {
    writeln!(page, "## How each was set up\n\nPublishers:\n")?;
    for (entry, _) in published.first().map_or(&[][..], |results| &results.rows) {
        let (callers, call) = (entry.callers, entry.call);
        let tasks = if callers == 1 { "One task".into() } else { format!("{callers} tasks") };
        let events = if call == 1 { "one event".into() } else { format!("{call} events") };
        writeln!(page, "- **{}**: {} {tasks}, {events} by a call.", entry.name, entry.notes)?;
    }
    writeln!(page, "\nConsumers:\n")?;
    for (entry, _) in consumed.first().map_or(&[][..], |results| &results.rows) {
        writeln!(page, "- **{}**: {}", entry.name, entry.notes)?;
    }
    Ok(())
}

impl publish::Results {
    fn rows(&self) -> Rows<'_> {
        self.rows.iter().map(|(entry, rounds)| (entry.name, &**rounds)).collect()
    }
}

impl consume::Results {
    fn rows(&self) -> Rows<'_> {
        self.rows.iter().map(|(entry, rounds)| (entry.name, &**rounds)).collect()
    }
}

impl codec::Results {
    fn rounds(&self, name: &str) -> &[f64] {
        self.rows.iter().find(|(other, _)| *other == name).map_or(&[], |(_, rounds)| rounds)
    }

    fn ratio(&self, of: &str, to: &str) -> f64 {
        let pairs = self.rounds(of).iter().zip(self.rounds(to));
        median(pairs.map(|(its, other)| its / other).collect())
    }
}
