//! The shop as functions, and what they need on AWS: written down as templates, checked, and deployed.

mod deployment;
mod files;
mod stack;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use fanfare::topology::deploy::Deployment;

use crate::{
    ground::Ground,
    journal::{note, say},
};

pub use deployment::{FUNCTIONS, deployment};
pub use files::{EXPORT, File, files};
pub use stack::{Put, Stack};

/// What `shop infra` does.
#[derive(Subcommand)]
pub enum Infra {
    /// Write the templates for CloudFormation and SAM
    Export {
        /// The folder
        #[arg(long, default_value = "infra")]
        to: PathBuf,
    },
    /// Look for what AWS would refuse, or punish later
    Lint,
    /// Create the shop's stack on LocalStack, or change it to what the topology says now
    Deploy(Deploy),
    /// Remove the stack, with all messages in it
    Delete,
}

/// What it takes to deploy to LocalStack.
#[derive(Args)]
pub struct Deploy {
    /// The folder that `cargo xtask lambda build` writes to
    #[arg(long, default_value = "target/lambda")]
    code: PathBuf,
}

/// Where the stack is, and what it is called.
pub(crate) struct Site<'a> {
    pub(crate) on: &'a Ground,
    pub(crate) account: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    pub(crate) system: &'a str,
    pub(crate) database: Option<&'a str>,
}

impl Infra {
    /// Does it, for this deployment of the shop.
    pub(crate) async fn run(&self, deployment: &Deployment, site: &Site<'_>) -> anyhow::Result<()> {
        match self {
            Infra::Export { to } => {
                for File { name, text } in files()? {
                    let path = to.join(name);
                    std::fs::create_dir_all(to)?;
                    std::fs::write(&path, text)
                        .with_context(|| format!("{} cannot be written", path.display()))?;
                    note(format_args!("{}", path.display()));
                }
                Ok(())
            }
            Infra::Lint => {
                let findings = deployment.lint();
                findings.iter().for_each(|finding| note(format_args!("{finding}")));
                match findings.len() {
                    0 => told("nothing is wrong with it"),
                    found => bail!("{found} findings"),
                }
            }
            Infra::Deploy(deploy) => {
                let code = functions_in(&deploy.code)?;
                let database = site
                    .database
                    .context("functions keep their state in PostgreSQL: --database postgres://…")?;
                let stack = stack(site).await?;
                let template = deployment.cloudformation()?;
                let put = stack.put(&template, &parameters(&code, database)).await?;
                told(match put {
                    Put::Created => "created",
                    Put::Changed => "changed",
                    Put::Unchanged => "is as it should be",
                })
            }
            Infra::Delete => {
                stack(site).await?.delete().await?;
                told("is gone")
            }
        }
    }
}

fn told(what: impl Display) -> anyhow::Result<()> {
    say("infra", what);
    Ok(())
}

async fn stack(site: &Site<'_>) -> anyhow::Result<Stack> {
    match site.on {
        Ground::Simulator => bail!("the simulator runs no functions: name LocalStack with --on"),
        Ground::Aws => bail!("deploy to AWS with `sam` or `aws`, as infra/README.md says"),
        Ground::Localstack | Ground::Url(_) => {}
    }
    let (config, _) = site.on.config(site.account, site.region).await?;
    Ok(Stack::new(&config, site.system))
}

/// What the template asks for, on LocalStack: it runs a folder as it is if the bucket is called so.
fn parameters(code: &Path, database: &str) -> Vec<(&'static str, String)> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    vec![
        ("Architecture", architecture.into()),
        ("CodeBucket", "hot-reload".into()),
        ("CodePrefix", format!("{}/", code.display())),
        // An empty one would be the default to LocalStack.
        ("CodeSuffix", "/".into()),
        ("DatabaseUrl", database.into()),
    ]
}

/// The folder by its absolute path, with all functions in it.
fn functions_in(folder: &Path) -> anyhow::Result<PathBuf> {
    for name in FUNCTIONS {
        let bootstrap = folder.join(name).join("bootstrap");
        if !bootstrap.is_file() {
            bail!("{} is missing: cargo xtask lambda build", bootstrap.display());
        }
    }
    Ok(folder.canonicalize()?)
}
