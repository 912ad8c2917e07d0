//! Where the shop runs: the simulator, LocalStack, another server, or AWS.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use fanfare::{aws::Aws, sim::Sim};
use tokio::{net::TcpStream, time::timeout};

/// What `--on` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    Simulator,
    Localstack,
    Url(String),
    Aws,
}

impl FromStr for Ground {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "simulator" => Ok(Ground::Simulator),
            "localstack" => Ok(Ground::Localstack),
            "aws" => Ok(Ground::Aws),
            url if authority(url).is_some() => Ok(Ground::Url(url.trim_end_matches('/').into())),
            _ => {
                Err("use `simulator`, `localstack`, `aws`, or a URL such as http://127.0.0.1:4566"
                    .into())
            }
        }
    }
}

/// As `--on` takes it.
impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ground::Simulator => "simulator",
            Ground::Localstack => "localstack",
            Ground::Url(url) => url,
            Ground::Aws => "aws",
        })
    }
}

impl Ground {
    /// Whether it is gone when this process ends.
    pub fn is_ephemeral(&self) -> bool {
        *self == Ground::Simulator
    }

    /// A connection that is known to lead somewhere.
    pub async fn connect(
        &self,
        account: Option<&str>,
        region: Option<&str>,
    ) -> anyhow::Result<Aws> {
        let (config, account) = self.config(account, region).await?;
        Ok(Aws::new(&config, &account)?)
    }

    /// What any client of AWS needs, known to lead somewhere, and the account.
    pub async fn config(
        &self,
        account: Option<&str>,
        region: Option<&str>,
    ) -> anyhow::Result<(SdkConfig, String)> {
        let region = region.map(|region| Region::new(region.to_string()));
        let (config, account) = match self {
            Ground::Simulator => (Sim::new().sdk_config(), LOCAL_ACCOUNT),
            Ground::Localstack => {
                let url = std::env::var("FANFARE_LOCALSTACK_URL");
                let url = url.unwrap_or_else(|_| "http://127.0.0.1:4566".into());
                let hint = "start LocalStack with: cargo xtask localstack up";
                (local(&url, region, hint).await?, account.unwrap_or(LOCAL_ACCOUNT))
            }
            Ground::Url(url) => {
                let hint = "is a server of SNS, SQS and Kinesis running there?";
                (local(url, region, hint).await?, account.unwrap_or(LOCAL_ACCOUNT))
            }
            Ground::Aws => {
                let loader = aws_config::defaults(BehaviorVersion::latest());
                let loader = match region {
                    Some(region) => loader.region(region),
                    None => loader,
                };
                let account =
                    account.context("AWS needs your account id: --account or AWS_ACCOUNT_ID")?;
                (loader.load().await, account)
            }
        };
        Ok((config, account.into()))
    }
}

/// The account of emulators and of the simulator.
const LOCAL_ACCOUNT: &str = "000000000000";

async fn local(url: &str, region: Option<Region>, hint: &str) -> anyhow::Result<SdkConfig> {
    let Some(authority) = authority(url) else {
        bail!("`{url}` is no URL of the form http://host:port")
    };
    let reached = timeout(Duration::from_secs(3), TcpStream::connect(&authority)).await;
    match reached {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => bail!("cannot reach {url}: {error}; {hint}"),
        Err(_) => bail!("cannot reach {url}: no answer in 3 seconds; {hint}"),
    }
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .credentials_provider(Credentials::from_keys("test", "test", None))
        .region(region.unwrap_or(Region::from_static("us-east-1")));
    Ok(loader.load().await)
}

/// `host:port` of a URL.
fn authority(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty())?;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { authority.into() } else { format!("{authority}:{default_port}") })
}
