//! Formatting, clippy and rustdoc, warnings refused: `cargo xtask lint`, and a part of
//! `cargo xtask test`.

use anyhow::Result;

use crate::step::{Steps, cargo};
use crate::summary::Tally;

pub(crate) fn run() -> Result<bool> {
    let mut lint = Steps::default();
    steps(&mut lint)?;
    Ok(lint.finish(false))
}

/// Quickest first.
pub(crate) fn steps(steps: &mut Steps) -> Result<()> {
    steps.run("formatting", &mut cargo(&["fmt", "--all", "--check"]), Tally::of_libtest)?;
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
    Ok(())
}
