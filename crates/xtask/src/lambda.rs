//! The shop's functions for AWS Lambda: built, and packed as Lambda takes them.

mod archive;
mod compile;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;

use self::archive::Effort;
use crate::root;

/// The functions, each the binary `lambda-…` of the package `shop`.
const FUNCTIONS: [&str; 6] =
    ["orders", "products", "delivery", "recommendation", "relay", "migrations"];

/// Bytes that a zip may have: what a cold start loads. Lambda itself takes 50 MB.
const LIMIT: u64 = 3_000_000;

/// What `cargo xtask lambda build` takes; its `--help` says what it does.
#[derive(clap::Args)]
pub(crate) struct Build {
    /// Which functions; all without names
    #[arg(value_parser = PossibleValuesParser::new(FUNCTIONS))]
    names: Vec<String>,

    /// For LocalStack on this machine, not for AWS
    #[arg(long)]
    local: bool,

    /// With --local: write zips too
    #[arg(long, requires = "local")]
    zip: bool,

    /// Of the functions on AWS
    #[arg(long, value_enum, default_value = "arm64", conflicts_with = "local")]
    architecture: compile::Architecture,
}

/// Builds functions; false if a zip is too big.
pub(crate) fn build(build: &Build) -> Result<bool> {
    let all = FUNCTIONS.map(String::from);
    let names = if build.names.is_empty() { &all[..] } else { &build.names };
    if build.local {
        compile::for_this_machine(names)?;
    } else {
        compile::for_aws(names, build.architecture)?;
    }
    let mut small = true;
    for name in names {
        let program = if build.local {
            compile::program_for_this_machine(name)
        } else {
            compile::program_for_aws(name)
        };
        let bootstrap = place_function(name, &program)?;
        if build.local && !build.zip {
            println!("{name:<14} {}", bootstrap.display());
            continue;
        }
        let zip = folder(name).with_extension("zip");
        let effort = if build.local { Effort::Fast } else { Effort::Best };
        let size = archive::write(&bootstrap, &zip, effort)?;
        println!("{name:<14} {size:>9} bytes  {}", zip.display());
        if !build.local && size > LIMIT {
            eprintln!("error: {} has {size} bytes, and may have {LIMIT}", zip.display());
            small = false;
        }
    }
    Ok(small)
}

/// Puts the functions where LocalStack runs them from that a build of all tests has made anyway.
pub(crate) fn place_tested() -> Result<()> {
    for name in FUNCTIONS {
        place_function(name, &compile::program_for_this_machine(name))?;
    }
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    root().join("target/lambda").join(name)
}

/// Puts the program of a function in its folder.
fn place_function(name: &str, program: &Path) -> Result<PathBuf> {
    let folder = folder(name);
    fs::create_dir_all(&folder)?;
    let bootstrap = folder.join("bootstrap");
    place(program, &bootstrap)?;
    Ok(bootstrap)
}

/// Puts a program where functions are run from, in one step: one that runs from there goes on with
/// what it was.
fn place(program: &Path, bootstrap: &Path) -> Result<()> {
    let new = bootstrap.with_extension("new");
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        bail!("{} cannot be removed: {error}", new.display());
    }
    // A link, because debug builds are big; between two file systems there is none.
    fs::hard_link(program, &new)
        .or_else(|_| fs::copy(program, &new).map(|_| ()))
        .with_context(|| format!("{} is not there, or cannot be copied", program.display()))?;
    fs::rename(&new, bootstrap)?;
    // Renaming a link to the file that is there already does nothing, and leaves the link.
    let _ = fs::remove_file(&new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{Parser, error::ErrorKind};

    use super::{Build, place};

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        build: Build,
    }

    #[test]
    fn a_function_that_is_none_is_refused_and_zips_are_asked_for_only_where_none_are_made() {
        let parse = |arguments: &[&str]| {
            let arguments = ["build"].iter().chain(arguments);
            Arguments::try_parse_from(arguments).map(|a| a.build).map_err(|e| e.kind())
        };
        assert_eq!(parse(&["invoices"]).err(), Some(ErrorKind::InvalidValue));
        assert_eq!(parse(&["--zip"]).err(), Some(ErrorKind::MissingRequiredArgument));
        let arm = ["--local", "--architecture", "x86-64"];
        assert_eq!(parse(&arm).err(), Some(ErrorKind::ArgumentConflict));
        let build = parse(&["--local", "--zip", "orders", "relay"]).unwrap();
        assert_eq!(build.names, ["orders", "relay"]);
    }

    #[test]
    fn a_program_takes_the_place_of_another_and_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let [program, bootstrap] = ["program", "bootstrap"].map(|name| folder.path().join(name));
        for content in ["first", "second"] {
            // As a linker does: a new file, not the old one changed.
            let _ = fs::remove_file(&program);
            fs::write(&program, content).unwrap();
            for _ in 0..2 {
                place(&program, &bootstrap).unwrap();
                assert_eq!(fs::read_to_string(&bootstrap).unwrap(), content);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
