//! What envelopes cost: runs the benchmark in `codec/`, and reads what criterion wrote of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

/// What is measured, as the benchmark names it.
pub(crate) const GROUPS: [&str; 4] = ["decode 300", "decode 3000", "encode 300", "encode 3000"];

/// The contestants, as the benchmark names them.
pub(crate) const CONTESTANTS: [&str; 4] = ["known", "fanfare", "tagged", "typetag"];

/// Events that the benchmark takes at a time, one of each type.
const EVENTS: f64 = 20.0;

/// A group, and what each contestant came to, round by round: seconds for an event.
pub(crate) struct Results {
    pub(crate) group: &'static str,
    pub(crate) rows: Vec<(&'static str, Vec<f64>)>,
}

/// What criterion writes of a benchmark.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// In nanoseconds.
    point_estimate: f64,
}

pub(crate) async fn run(hasty: bool) -> Result<Vec<Results>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let home = std::env::temp_dir().join(format!("fanfare-codec-{}", std::process::id()));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "--package", "fanfare-bench-codec", "--manifest-path"]);
    command.arg(manifest).arg("--");
    if hasty {
        command.args([
            "--warm-up-time",
            "0.02",
            "--measurement-time",
            "0.05",
            "--sample-size",
            "10",
        ]);
    }
    eprintln!("Codec");
    let command = command.env("CRITERION_HOME", &home).stdout(Stdio::null()).kill_on_drop(true);
    let status = command.status().await.context("cargo cannot be started")?;
    ensure!(status.success(), "the benchmark `codec` failed");
    let results = GROUPS.into_iter().map(|group| read(&home, group)).collect();
    std::fs::remove_dir_all(&home)?;
    results
}

fn read(home: &Path, group: &'static str) -> Result<Results> {
    let row = |contestant| {
        let directory: PathBuf = home.join(group).join(contestant);
        let rounds = std::fs::read_dir(&directory)?.count();
        let round = |round: usize| {
            let file = directory.join(round.to_string()).join("new/estimates.json");
            let estimates: Estimates = serde_json::from_slice(&std::fs::read(file)?)?;
            anyhow::Ok(estimates.median.point_estimate / EVENTS / 1e9)
        };
        let figures = (0..rounds).map(round).collect::<Result<_>>()?;
        anyhow::Ok((contestant, figures))
    };
    let rows = CONTESTANTS.into_iter().map(row).collect::<Result<_>>();
    Ok(Results { group, rows: rows.with_context(|| format!("what criterion wrote of {group}"))? })
}
