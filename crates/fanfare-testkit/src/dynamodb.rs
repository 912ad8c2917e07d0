//! The DynamoDB, or a server like it, that tests run against: found by its URL in the environment,
//! never started here.
//!
//! A test that needs it begins with
//!
//! ```no_run
//! # use fanfare_testkit::dynamodb::{DynamoDb, DynamoDbError};
//! # fn test() -> Result<(), DynamoDbError> {
//! let Some(dynamodb) = DynamoDb::from_env()? else { return Ok(()) };
//! let config = dynamodb.sdk_config();
//! # Ok(())
//! # }
//! ```
//!
//! and is skipped, saying what is missing, where there is none. `cargo xtask test` provides one.

use aws_config::SdkConfig;

use crate::localstack::{self, REQUIRE_VARIABLE};

/// Holds the server's URL, `http://127.0.0.1:8000`.
pub const URL_VARIABLE: &str = "FANFARE_DYNAMODB_URL";

/// A test needs DynamoDB and there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DynamoDbError {
    /// No URL is set, and skipping is not allowed.
    #[error("DynamoDB is needed: run `cargo xtask test`, or set FANFARE_DYNAMODB_URL")]
    Missing,
}

/// A DynamoDB to test against.
#[derive(Clone, Debug)]
pub struct DynamoDb {
    url: String,
}

impl DynamoDb {
    /// The server that the environment names in [`URL_VARIABLE`]; `None`, after saying so on standard
    /// error, if it names none.
    ///
    /// # Errors
    /// [`DynamoDbError::Missing`] if it names none and [`REQUIRE_VARIABLE`] is set.
    pub fn from_env() -> Result<Option<Self>, DynamoDbError> {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => Ok(Some(Self { url })),
            Err(_) if std::env::var_os(REQUIRE_VARIABLE).is_some() => Err(DynamoDbError::Missing),
            Err(_) => {
                eprintln!("skipped: {}", DynamoDbError::Missing);
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
        localstack::sdk_config(&self.url)
    }
}
