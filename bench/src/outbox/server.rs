//! The PostgreSQL that all contestants share, and databases in it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// The server that `DATABASE_URL` names, or one that `cargo xtask postgres` started for us.
pub(crate) struct Server {
    url: Url,
    started: Option<Child>,
}

impl Server {
    pub(crate) async fn get() -> Result<Self> {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            let url = Url::parse(&url).context("DATABASE_URL is no URL")?;
            return Ok(Self { url, started: None });
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut child = Command::new(cargo)
            .args(["xtask", "postgres"])
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cargo cannot be run")?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut server = Self { url: Url::parse("postgres://localhost")?, started: Some(child) };
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some((_, url)) = line.split_once("DATABASE_URL=") {
                server.url = Url::parse(url)?;
                return Ok(server);
            }
        }
        bail!("no PostgreSQL could be started; set DATABASE_URL to use another")
    }

    /// What it calls itself.
    pub(crate) async fn version(&self) -> Result<String> {
        let mut connection = self.connect().await?;
        let version = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await;
        Ok(version?)
    }

    /// An empty database, and a server with nothing left to write.
    pub(crate) async fn database(&self) -> Result<Database> {
        let name = format!("bench_{:016x}", fastrand::u64(..));
        let mut connection = self.connect().await?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        connection.execute("checkpoint").await?;
        let mut url = self.url.clone();
        url.set_path(&name);
        Ok(Database { url: url.into(), name })
    }

    pub(crate) async fn remove(&self, database: Database) -> Result<()> {
        let drop = format!("drop database {} with (force)", database.name);
        self.connect().await?.execute(AssertSqlSafe(drop)).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<PgConnection> {
        let options = PgConnectOptions::from_url(&self.url)?;
        Ok(options.connect().await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As Ctrl-C does: it removes what it made.
        if let Some(id) = self.started.as_ref().and_then(Child::id) {
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM);
        }
    }
}

pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    /// A transaction that has read something and stays open, until the value is dropped.
    pub(crate) async fn snapshot(&self) -> Result<PgConnection> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute("begin isolation level repeatable read").await?;
        connection.execute("select count(*) from orders").await?;
        Ok(connection)
    }
}
