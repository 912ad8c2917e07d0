//! The way to AWS from within Lambda.

use anyhow::Context;
use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// The SDK's configuration from what Lambda sets: `AWS_REGION` and credentials, and on LocalStack
/// `AWS_ENDPOINT_URL`. Read by hand, because the SDK's own search goes through files, servers and
/// roles that no function has, and makes it bigger and its start slower. Nothing is asked of AWS.
///
/// # Errors
/// `AWS_REGION` is not set: this does not run in Lambda.
pub fn sdk_config() -> anyhow::Result<SdkConfig> {
    let region = std::env::var("AWS_REGION").context("AWS_REGION is not set: Lambda sets it")?;
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https());
    config.set_endpoint_url(std::env::var("AWS_ENDPOINT_URL").ok());
    Ok(config.build())
}
