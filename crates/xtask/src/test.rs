//! `cargo xtask test`: lints, every Rust test, on LocalStack, PostgreSQL and DynamoDB too, then the
//! templates, another language's client against the simulator and LocalStack, and the executor's own
//! tests. A step that fails does not keep the later ones from running.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::simulator::Simulator;
use crate::step::{Steps, cargo};
use crate::summary::Tally;
use crate::{dynamodb, http, lambda, lint, localstack, postgres, process, python, root};

/// Where the tests look for LocalStack.
const LOCALSTACK_VARIABLE: &str = "FANFARE_LOCALSTACK_URL";

/// Where they look for PostgreSQL.
const POSTGRES_VARIABLE: &str = "DATABASE_URL";

/// Where they look for DynamoDB.
const DYNAMODB_VARIABLE: &str = "FANFARE_DYNAMODB_URL";

/// Where they look for a Python that has other clients' packages.
const PYTHON_VARIABLE: &str = "FANFARE_PYTHON";

/// Where tests that need a server of their own, to crash it, find this program.
const XTASK_VARIABLE: &str = "FANFARE_XTASK";

/// With it, a test whose need is missing fails instead of being skipped.
const REQUIRE_VARIABLE: &str = "FANFARE_REQUIRE";

/// Tests at a time, unless the caller says otherwise: those on LocalStack wait most of their time.
const THREADS: (&str, &str) = ("RUST_TEST_THREADS", "16");

/// Run as `python boto3_check.py ENDPOINT`; prints a line per check, `ok …` or `FAILED …`.
const CLIENT_CHECK: &str = "tests/clients/boto3_check.py";

/// The templates that are checked in; a warning is a failure.
const TEMPLATES: &str = "infra/*.json";

/// Runs all; with a filter only the Rust tests whose names contain one of its words.
pub(crate) fn run(filter: &[String]) -> Result<bool> {
    let mut steps = Steps::default();
    if filter.is_empty() {
        lint::steps(&mut steps)?;
    }
    // Before the servers start: they would only sit there while everything compiles.
    let build = &mut cargo(&["test", "--workspace", "--all-targets", "--no-run"]);
    if steps.run("build", build, Tally::of_libtest)? {
        // What tests deploy on it.
        steps.record("functions", lambda::place_tested().map(with_no_tests));
        let localstack = steps.record("LocalStack", localstack().map(with_no_tests));
        process::check_interrupted()?;
        let url = localstack.as_ref().map(|localstack| &*localstack.url);
        let python = python::environment(&root()).map(with_no_tests);
        let python = steps.record("Python environment", python);
        process::check_interrupted()?;
        rust(&mut steps, filter, url, python.as_deref())?;
        if filter.is_empty() {
            clients(&mut steps, url, python.as_deref())?;
        }
    }
    Ok(steps.finish(true))
}

fn rust(
    steps: &mut Steps,
    filter: &[String],
    localstack: Option<&str>,
    python: Option<&Path>,
) -> Result<()> {
    // Ended with the Rust tests, which alone need them.
    let postgres = steps.record("PostgreSQL", postgres().map(with_no_tests));
    process::check_interrupted()?;
    let dynamodb = steps.record("DynamoDB", dynamodb().map(with_no_tests));
    process::check_interrupted()?;
    for (name, arguments) in [
        ("tests", &["test", "--workspace", "--all-targets", "--no-fail-fast"][..]),
        ("documentation tests", &["test", "--workspace", "--doc", "--no-fail-fast"]),
    ] {
        let mut command = cargo(arguments);
        command
            .env(REQUIRE_VARIABLE, "1")
            .envs(std::env::current_exe().map(|program| (XTASK_VARIABLE, program)))
            .envs(localstack.map(|url| (LOCALSTACK_VARIABLE, url)))
            .envs(postgres.as_ref().map(|postgres| (POSTGRES_VARIABLE, &postgres.url)))
            .envs(dynamodb.as_ref().map(|dynamodb| (DYNAMODB_VARIABLE, &dynamodb.url)))
            .envs(python.map(|python| (PYTHON_VARIABLE, python)));
        if std::env::var_os(THREADS.0).is_none() {
            command.env(THREADS.0, THREADS.1);
        }
        steps.run(name, command.arg("--").args(filter), Tally::of_libtest)?;
    }
    Ok(())
}

fn clients(steps: &mut Steps, localstack: Option<&str>, python: Option<&Path>) -> Result<()> {
    let root = root();
    let Some(python) = python.filter(|_| root.join(CLIENT_CHECK).exists()) else { return Ok(()) };
    let mut lint = Command::new(python);
    lint.arg(python.with_file_name("cfn-lint")).arg(TEMPLATES).current_dir(&root);
    steps.run("cfn-lint", &mut lint, |_| Tally::default())?;
    let check = |steps: &mut Steps, on: &str, url: &str| {
        let mut command = Command::new(python);
        command.arg(CLIENT_CHECK).arg(url).current_dir(&root);
        steps.run(&format!("boto3 on {on}"), &mut command, Tally::of_client)
    };
    let simulator = Simulator::start().map(with_no_tests);
    process::check_interrupted()?;
    if let Some(simulator) = steps.record("simulator", simulator) {
        check(steps, "the simulator", &simulator.url())?;
    }
    if let Some(url) = localstack {
        check(steps, "LocalStack", url)?;
    }
    executor(steps, python, localstack)
}

/// The tests of the package that runs LocalStack's functions without Docker.
fn executor(steps: &mut Steps, python: &Path, localstack: Option<&str>) -> Result<()> {
    let mut command = Command::new(python);
    command
        .args(["-m", "tests"])
        .current_dir(root().join(python::EXECUTOR))
        .envs(localstack.map(|url| (LOCALSTACK_VARIABLE, url)));
    steps.run("LocalStack's executor", &mut command, Tally::of_client)?;
    Ok(())
}

/// A server to test against; one that was started here ends with this value.
struct Needed<S> {
    url: String,
    _server: Option<S>,
}

fn localstack() -> Result<Needed<localstack::Server>> {
    if let Some(url) = given(LOCALSTACK_VARIABLE, &["http://", "https://"])? {
        return Ok(Needed { url, _server: None });
    }
    println!("\n== LocalStack");
    let server = localstack::Server::start(http::free_port()?)?;
    println!("{}", server.description());
    Ok(Needed { url: server.url(), _server: Some(server) })
}

fn postgres() -> Result<Needed<postgres::Server>> {
    if let Some(url) = given(POSTGRES_VARIABLE, &["postgres://", "postgresql://"])? {
        return Ok(Needed { url, _server: None });
    }
    println!("\n== PostgreSQL");
    let server = postgres::Server::start(http::free_port()?)?;
    println!("{}", server.description());
    Ok(Needed { url: server.url(), _server: Some(server) })
}

fn dynamodb() -> Result<Needed<dynamodb::Server>> {
    if let Some(url) = given(DYNAMODB_VARIABLE, &["http://", "https://"])? {
        return Ok(Needed { url, _server: None });
    }
    println!("\n== DynamoDB");
    let server = dynamodb::Server::start(http::free_port()?)?;
    println!("{}", server.description());
    Ok(Needed { url: server.url(), _server: Some(server) })
}

/// The URL of the caller's own server. Never printed: it may hold a password.
fn given(variable: &str, beginnings: &[&str]) -> Result<Option<String>> {
    let Ok(url) = std::env::var(variable) else { return Ok(None) };
    if !beginnings.iter().any(|beginning| url.starts_with(beginning)) {
        bail!("{variable} is set, but does not begin with {}", beginnings.join(" or "));
    }
    Ok(Some(url))
}

fn with_no_tests<T>(value: T) -> (T, Tally) {
    (value, Tally::default())
}
