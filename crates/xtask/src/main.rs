//! `cargo xtask …`: what people and continuous integration run.
//!
//! Contract: nothing that a command started outlives it, except what `localstack up` is asked to
//! leave running; a command that did not do its work exits non-zero and says in one line why.
#![allow(clippy::print_stdout)]

mod dynamodb;
mod http;
mod lambda;
mod lint;
mod localstack;
mod postgres;
mod process;
mod python;
mod simulator;
mod step;
mod summary;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tasks of the fanfare workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run lints and every test, those on LocalStack, PostgreSQL and DynamoDB among them; the last line says how many passed
    Test {
        /// Only the Rust tests whose name contains one of these, and no lints
        filter: Vec<String>,
    },
    /// Formatting, clippy and rustdoc over the workspace, warnings refused
    Lint,
    /// Build the shop's functions for AWS Lambda
    Lambda {
        #[command(subcommand)]
        action: LambdaAction,
    },
    /// Start, stop or look at a LocalStack of the workspace's own
    Localstack {
        #[command(subcommand)]
        action: LocalStackAction,
    },
    /// Run a PostgreSQL of the workspace's own until Ctrl-C; its data go with it
    Postgres,
}

#[derive(Subcommand)]
enum LambdaAction {
    /// Build functions: target/lambda/NAME/bootstrap, and target/lambda/NAME.zip
    ///
    /// Without --local they are for AWS: as small as they can be, by cargo lambda with zig as the linker,
    /// for Amazon Linux 2023 (provided.al2023). Both tools are installed into target/cargo-lambda the
    /// first time, and Rust's target by rustup. A zip of more than 3,000,000 bytes is an error. The same
    /// code makes the same zip.
    ///
    /// With --local they are for a LocalStack on this machine: by plain cargo, in the dev profile, without
    /// zips. Deployed from the bucket `hot-reload`, with the absolute path of target/lambda/NAME as the
    /// key, LocalStack runs what is there.
    Build(lambda::Build),
}

#[derive(Subcommand)]
enum LocalStackAction {
    /// Start it, by Docker where an engine answers, else as a Python process
    Up {
        /// The port on 127.0.0.1
        #[arg(long, default_value_t = localstack::DEFAULT_PORT)]
        port: u16,
    },
    /// Stop it
    Down,
    /// Say where it runs; exits 1 if it does not
    Status,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = process::watch_signals().and_then(|()| match arguments.task {
        Task::Test { filter } => test::run(&filter),
        Task::Lint => lint::run(),
        Task::Postgres => postgres::run(),
        Task::Lambda { action: LambdaAction::Build(build) } => lambda::build(&build),
        Task::Localstack { action } => match action {
            LocalStackAction::Up { port } => localstack::up(port),
            LocalStackAction::Down => localstack::down(),
            LocalStackAction::Status => localstack::status(),
        },
    });
    match outcome {
        Ok(_) if process::interrupted() => ExitCode::from(process::INTERRUPTED_EXIT_CODE),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            if process::interrupted() {
                ExitCode::from(process::INTERRUPTED_EXIT_CODE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The workspace's root, where every command runs.
fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.ancestors().nth(2).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
