//! One command of a longer task: its output streams through, its tests are counted.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::process::Process;
use crate::summary::Tally;

/// A cargo command in the workspace's root, by the cargo that runs this one.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::root());
    command
}

/// What a line of output adds to the tally.
pub(crate) type Count = fn(&str) -> Tally;

/// The steps of a task: what failed, and how many tests there were.
#[derive(Default)]
pub(crate) struct Steps {
    tally: Tally,
    failed: Vec<String>,
}

impl Steps {
    /// Runs a step; false if it failed, which is said at once and again at the end.
    ///
    /// # Errors
    /// Only if the whole task has to stop because it was interrupted.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command, count: Count) -> Result<bool> {
        println!("\n== {name}");
        let outcome = run(command, count);
        crate::process::check_interrupted()?;
        Ok(self.record(name, outcome).is_some())
    }

    /// Counts what a step came to; the value of one that did not fail.
    pub(crate) fn record<T>(&mut self, name: &str, outcome: Result<(T, Tally)>) -> Option<T> {
        let (value, error) = match outcome {
            Ok((value, tally)) => {
                self.tally += tally;
                let error = (tally.failed > 0).then(|| anyhow!("{} failed", tally.failed));
                (Some(value), error)
            }
            Err(error) => {
                // A step that ends without a failed test is itself what failed.
                self.tally.failed += 1;
                (None, Some(error))
            }
        };
        let Some(error) = error else { return value };
        eprintln!("error: {name}: {error:#}");
        self.failed.push(name.to_owned());
        None
    }

    /// Says what failed; prints the summary line, the last of all, if tests were counted.
    pub(crate) fn finish(self, summary: bool) -> bool {
        if !self.failed.is_empty() {
            println!("\nfailed: {}", self.failed.join("; "));
        }
        if summary {
            println!("{}", self.tally);
        }
        self.failed.is_empty()
    }
}

/// Runs a command to its end, copying its standard output through.
///
/// # Errors
/// It cannot be run, or it failed without a failed test that would say so.
fn run(command: &mut Command, count: Count) -> Result<((), Tally)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut process = Process::spawn(command.stdout(Stdio::piped()))
        .with_context(|| format!("{program} cannot be run"))?;
    let output = process.child().stdout.take();
    let counter =
        thread::spawn(move || output.map_or_else(Tally::default, |output| copy(output, count)));
    let status = process.wait(None)?;
    let tally = counter.join().unwrap_or_default();
    if status.success() || tally.failed > 0 {
        return Ok(((), tally));
    }
    Err(anyhow!("{status}"))
}

/// Copies to standard output, line by line as they come, and adds up the summaries among them.
fn copy(output: impl Read, count: Count) -> Tally {
    let mut tally = Tally::default();
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let mut stdout = std::io::stdout().lock();
        // With nobody left to read, the tests still run to their end.
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
        tally += count(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    tally
}
