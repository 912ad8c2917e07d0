//! `cargo xtask lint`: clippy and rustdoc, warnings refused.

use anyhow::Result;

use crate::step::{Steps, cargo};

pub(crate) fn run() -> Result<bool> {
    let mut steps = Steps::default();
    steps.run(
        "clippy",
        &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
    )?;
    steps.run(
        "rustdoc",
        cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    Ok(steps.finish(false))
}
