//! From source to programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tools;
use crate::process::Process;
use crate::root;
use crate::step::cargo;

/// What functions on AWS run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Architecture {
    /// Graviton
    Arm64,
    /// Intel and AMD
    #[value(name = "x86_64", alias = "x86-64")]
    X86_64,
}

impl Architecture {
    fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }
}

/// The C library of Amazon Linux 2023.
const GLIBC: &str = "2.34";

/// Builds functions in the dev profile.
pub(super) fn for_this_machine(names: &[String]) -> Result<()> {
    run(select(&mut cargo(&["build"]), names))
}

/// Where the dev profile's program of a function is.
pub(super) fn program_for_this_machine(name: &str) -> PathBuf {
    root().join("target/debug").join(format!("lambda-{name}"))
}

/// Builds functions as small as they can be.
pub(super) fn for_aws(names: &[String], architecture: Architecture) -> Result<()> {
    let target = architecture.target();
    let tools = tools::Tools::installed(&root())?;
    tools::target(target)?;
    // The profile says it all: cargo lambda would have functions abort on a panic, and that is to be a
    // delivery that failed.
    let mut command = tools.cargo_lambda();
    command
        .args(["lambda", "build", "--disable-optimizations", "--profile", PROFILE])
        .args(["--no-default-features", "--features", "quiet"])
        .args(["--target", &format!("{target}.{GLIBC}")])
        .arg("--lambda-dir")
        .arg(built_for_aws())
        .current_dir(root());
    run(select(&mut command, names))
}

/// Where the program of a function for AWS is: cargo lambda moves it there.
pub(super) fn program_for_aws(name: &str) -> PathBuf {
    built_for_aws().join(format!("lambda-{name}")).join("bootstrap")
}

fn built_for_aws() -> PathBuf {
    root().join("target/cargo-lambda/built")
}

/// The profile in the workspace's Cargo.toml.
const PROFILE: &str = "lambda";

fn select<'a>(command: &'a mut Command, names: &[String]) -> &'a mut Command {
    command.args(["--package", "shop"]);
    for name in names {
        command.args(["--bin", &format!("lambda-{name}")]);
    }
    command
}

/// Runs a command to its end.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let name = Path::new(command.get_program()).to_owned();
    let process =
        Process::spawn(command).with_context(|| format!("{} cannot be run", name.display()))?;
    let status = process.wait(None)?;
    if !status.success() {
        bail!("{}: {status}", name.display());
    }
    Ok(())
}
