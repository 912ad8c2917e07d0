//! What builds for AWS takes: cargo lambda and zig, a linker and C compiler for any target, in
//! `target/cargo-lambda/venv`, as both are on PyPI; and Rust's standard library for the target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::compile::run;
use crate::python;

const REQUIREMENTS: [&str; 2] = ["cargo-lambda==1.9.2", "ziglang==0.17.1"];

pub(super) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// The tools; installs them if they are not there, half a gigabyte.
    pub(super) fn installed(root: &Path) -> Result<Self> {
        let venv = root.join("target/cargo-lambda/venv");
        let bin = venv.join("bin");
        // Written last, so that a half-made environment is never taken for a whole one.
        let marker = venv.join("installed-requirements.txt");
        let wanted = REQUIREMENTS.join("\n");
        if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(Self { bin });
        }
        println!("Installing cargo lambda and zig into target/cargo-lambda (once)");
        run(Command::new(python::find()?).args(["-m", "venv", "--clear"]).arg(&venv))?;
        run(Command::new(bin.join("python"))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(REQUIREMENTS))?;
        fs::write(marker, wanted)?;
        Ok(Self { bin })
    }

    /// A command of cargo lambda, which finds zig by itself.
    pub(super) fn cargo_lambda(&self) -> Command {
        let mut command = Command::new(self.bin.join("cargo-lambda"));
        let others = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&others));
        if let Ok(path) = std::env::join_paths(paths) {
            command.env("PATH", path);
        }
        command
    }
}

/// Has rustup install Rust's standard library for `target`, unless it is there.
pub(super) fn target(target: &str) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("rustc cannot be run")?;
    if Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir() {
        return Ok(());
    }
    if run(Command::new("rustup").args(["target", "add", target])).is_err() {
        bail!("Rust's standard library for {target} is missing, and rustup does not install it");
    }
    Ok(())
}
