//! `cargo xtask lint`: clippy and rustdoc, warnings refused.

use anyhow::Result;

use crate::step::{Steps, cargo};
use crate::summary::Tally;

pub(crate) fn run() -> Result<bool> {
    let mut steps = Steps::default();
    steps.run(
        "clippy",
        &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        Tally::of_libtest,
    )?;
    steps.run(
        "rustdoc",
        cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"),
        Tally::of_libtest,
    )?;
    Ok(steps.finish(false))
}
