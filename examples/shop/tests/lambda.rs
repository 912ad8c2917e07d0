//! The shop as functions on the real LocalStack, from a template to the last effect, with the command line
//! alone. A PostgreSQL keeps what the services know.
#![cfg(feature = "cli")]

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use fanfare_testkit::{
    localstack::LocalStack,
    postgres::{Postgres, TestDatabase},
};

/// The functions, by the names of their code.
const FUNCTIONS: [(&str, &str); 6] = [
    ("orders", env!("CARGO_BIN_EXE_lambda-orders")),
    ("products", env!("CARGO_BIN_EXE_lambda-products")),
    ("delivery", env!("CARGO_BIN_EXE_lambda-delivery")),
    ("recommendation", env!("CARGO_BIN_EXE_lambda-recommendation")),
    ("relay", env!("CARGO_BIN_EXE_lambda-relay")),
    ("migrations", env!("CARGO_BIN_EXE_lambda-migrations")),
];

/// A shop whose commands know where everything is.
struct Shop {
    orders_on: &'static str,
    system: String,
    localstack: LocalStack,
    database: TestDatabase,
}

impl Shop {
    /// None if something is missing that it needs.
    async fn new(orders_on: &'static str) -> Result<Option<Self>> {
        let (Some(localstack), Some(postgres)) = (LocalStack::from_env()?, Postgres::from_env()?)
        else {
            return Ok(None);
        };
        let database = postgres.database().await?;
        let system = format!("l{}-{orders_on}", std::process::id());
        Ok(Some(Shop { orders_on, system, localstack, database }))
    }

    /// What a command said.
    fn run(&self, command: &[&str]) -> Result<String> {
        let places = [
            ["--on", self.localstack.url()],
            ["--orders-on", self.orders_on],
            ["--system", &self.system],
            ["--database", self.database.url()],
        ];
        let output = Command::new(env!("CARGO_BIN_EXE_shop"))
            .args(places.concat())
            .args(command)
            .env_remove("AWS_ACCOUNT_ID")
            .env_remove("AWS_REGION")
            .output()?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(output.status.success(), "shop {command:?}: {text}");
        Ok(text)
    }

    fn deploy(&self, code: &Path) -> Result<String> {
        let code = code.to_str().context("a folder with a name in UTF-8")?;
        self.run(&["infra", "deploy", "--code", code])
    }
}

/// A folder with all functions, as `cargo xtask lambda build --local` makes it.
fn code(folder: &Path) -> Result<()> {
    for (name, program) in FUNCTIONS {
        fs::create_dir_all(folder.join(name))?;
        // A copy would be hundreds of megabytes.
        fs::hard_link(program, folder.join(name).join("bootstrap"))?;
    }
    Ok(())
}

async fn orders_are_on_their_way_and_a_new_release_goes_on(orders_on: &'static str) -> Result<()> {
    let Some(shop) = Shop::new(orders_on).await? else { return Ok(()) };
    // Where the programs are, so that they can be linked.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (first, second) = (folder.path().join("1"), folder.path().join("2"));
    code(&first)?;
    code(&second)?;

    ensure!(shop.deploy(&first)?.contains("created"));
    ensure!(shop.run(&["infra", "migrate"])?.contains("migrated"));
    // LocalStack's Kinesis repeats a record of the second in which its shard was made.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    shop.run(&["place", "--orders", "12", "--name", "first", "--wake"])?;
    shop.run(&["check", "--orders", "12", "--name", "first", "--within", "150"])?;

    ensure!(shop.deploy(&second)?.contains("changed"));
    fs::remove_dir_all(&first)?;
    // The first twelve again, which are not placed anew, and twelve more.
    shop.run(&["place", "--orders", "24", "--name", "first", "--wake"])?;
    shop.run(&["check", "--orders", "24", "--name", "first", "--within", "150"])?;
    ensure!(shop.run(&["infra", "delete"])?.contains("is gone"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_from_queues_are_on_their_way_and_a_new_release_goes_on() -> Result<()> {
    orders_are_on_their_way_and_a_new_release_goes_on("sns").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_from_a_stream_are_on_their_way_and_a_new_release_goes_on() -> Result<()> {
    orders_are_on_their_way_and_a_new_release_goes_on("kinesis").await
}
