//! The command line of the shop.

use std::process::ExitCode;

use clap::Parser;
use shop::cli::{self, Arguments};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Arguments::parse()).await
}
