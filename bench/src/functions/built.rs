//! Functions as they are deployed.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::functions::contestant::Contestant;

/// A function that was built.
pub(crate) struct Built {
    pub(crate) program: PathBuf,
    pub(crate) size: Size,
}

/// What it weighs, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) binary: usize,
    pub(crate) zip: usize,
}

/// Builds all functions with the profile `lambda`, as far as they are not up to date.
pub(crate) fn build(contestants: &[Contestant]) -> Result<Vec<Built>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--profile", "lambda", "--package", "fanfare-bench-functions"])
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "the functions cannot be built");
    let artifacts: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice).collect();
    let built = contestants.iter().map(|contestant| {
        let its = |artifact: &&Value| artifact["target"]["name"] == contestant.program;
        let program = artifacts.iter().filter(its).find_map(|its| its["executable"].as_str());
        let program = PathBuf::from(program.context("cargo did not say what it has built")?);
        let size = size(&program).with_context(|| program.display().to_string())?;
        Ok(Built { program, size })
    });
    built.collect()
}

/// Packed as `cargo xtask lambda build` packs functions.
fn size(program: &Path) -> Result<Size> {
    let binary = std::fs::read(program)?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9));
    zip.start_file("bootstrap", options)?;
    zip.write_all(&binary)?;
    Ok(Size { binary: binary.len(), zip: zip.finish()?.into_inner().len() })
}
