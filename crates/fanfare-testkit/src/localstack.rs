//! The LocalStack that tests run against: found by its URL in the environment, never started here.
//!
//! A test that needs it begins with
//!
//! ```no_run
//! # use fanfare_testkit::localstack::{LocalStack, LocalStackError};
//! # fn test() -> Result<(), LocalStackError> {
//! let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
//! let sqs = localstack.sqs();
//! # Ok(())
//! # }
//! ```
//!
//! and is skipped, saying what is missing, where there is none. `cargo xtask test` provides one.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Holds LocalStack's URL, `http://127.0.0.1:4566`.
pub const URL_VARIABLE: &str = "FANFARE_LOCALSTACK_URL";

/// Set to anything: a test whose need is missing fails instead of being skipped.
pub const REQUIRE_VARIABLE: &str = "FANFARE_REQUIRE";

/// The Region that the tests use.
pub const REGION: &str = "us-east-1";

/// The account of LocalStack's customary credentials, `test` and `test`.
pub const ACCOUNT: &str = "000000000000";

/// LocalStack answers within milliseconds, but not while a whole test suite is upon it.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// A test needs LocalStack and there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalStackError {
    /// No URL is set, and skipping is not allowed.
    #[error("LocalStack is needed: run `cargo xtask test`, or set FANFARE_LOCALSTACK_URL")]
    Missing,
}

/// A LocalStack to test against.
#[derive(Clone, Debug)]
pub struct LocalStack {
    url: String,
}

impl LocalStack {
    /// The LocalStack that the environment names in [`URL_VARIABLE`]; `None`, after saying so on
    /// standard error, if it names none.
    ///
    /// # Errors
    /// [`LocalStackError::Missing`] if it names none and [`REQUIRE_VARIABLE`] is set.
    pub fn from_env() -> Result<Option<Self>, LocalStackError> {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => Ok(Some(Self { url })),
            Err(_) if std::env::var_os(REQUIRE_VARIABLE).is_some() => Err(LocalStackError::Missing),
            Err(_) => {
                eprintln!("skipped: {}", LocalStackError::Missing);
                Ok(None)
            }
        }
    }

    /// The endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A configuration for any AWS SDK client: static credentials, nothing from the environment,
    /// no retries.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.url)
    }

    /// An SNS client.
    #[must_use]
    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.sdk_config())
    }

    /// An SQS client.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }
}

/// For a server on this machine that asks for no secret.
pub(crate) fn sdk_config(url: &str) -> SdkConfig {
    let credentials = Credentials::from_keys("test", "test", None);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}
