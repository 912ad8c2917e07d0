//! The connection: clients, account and Region.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::{
    BehaviorVersion, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use fanfare_topology::{Bindings, Kind};
use jiff::Timestamp;

use crate::{Queue, Stream};

/// How long one request may take; a request that takes longer is taken as failed and tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a call of provisioning, where a server may be slow with its first answers.
const PROVISIONING_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that a receive waits for a message.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
pub(crate) const LONG_POLL: Duration = Duration::from_secs(20);

/// An account in a Region, with clients for SNS, SQS and Kinesis. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fanfare_aws::Aws;
///
/// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
/// let aws = Aws::new(&config, "123456789012")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Aws {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SdkConfig,
    clients: Clients,
    account: String,
    region: String,
    endpoint: Option<String>,
    requests: Requests,
}

/// Each is made when it is first wanted: a function that starts anew with every load has those that it
/// uses, and no others.
#[derive(Debug)]
struct Clients {
    config: SdkConfig,
    requests: Requests,
    kinesis: OnceLock<aws_sdk_kinesis::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
    sqs: OnceLock<aws_sdk_sqs::Client>,
    polling: OnceLock<aws_sdk_sqs::Client>,
}

impl Clients {
    fn new(
        config: &SdkConfig,
        timeout: Duration,
        retries: &RetryConfig,
        requests: &Requests,
    ) -> Self {
        Clients {
            config: tuned(config, timeout, retries),
            requests: requests.clone(),
            kinesis: OnceLock::new(),
            sns: OnceLock::new(),
            sqs: OnceLock::new(),
            polling: OnceLock::new(),
        }
    }

    fn kinesis(&self) -> &aws_sdk_kinesis::Client {
        self.kinesis.get_or_init(|| {
            let config = aws_sdk_kinesis::config::Builder::from(&self.config);
            aws_sdk_kinesis::Client::from_conf(config.interceptor(self.requests.clone()).build())
        })
    }

    fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns.get_or_init(|| {
            let config = aws_sdk_sns::config::Builder::from(&self.config);
            aws_sdk_sns::Client::from_conf(config.interceptor(self.requests.clone()).build())
        })
    }

    fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.sqs.get_or_init(|| {
            let config = aws_sdk_sqs::config::Builder::from(&self.config);
            aws_sdk_sqs::Client::from_conf(config.interceptor(self.requests.clone()).build())
        })
    }

    /// For long polls: it waits longer before it gives a request up.
    fn polling(&self) -> &aws_sdk_sqs::Client {
        self.polling.get_or_init(|| {
            let usual =
                self.config.timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
            let timeout = LONG_POLL + usual.unwrap_or_default();
            let timeout = TimeoutConfig::builder().operation_attempt_timeout(timeout).build();
            let config = aws_sdk_sqs::config::Builder::from(&self.config).timeout_config(timeout);
            aws_sdk_sqs::Client::from_conf(config.interceptor(self.requests.clone()).build())
        })
    }
}

/// `config` with time-outs and retries that are fanfare's.
fn tuned(config: &SdkConfig, timeout: Duration, retries: &RetryConfig) -> SdkConfig {
    config
        .to_builder()
        .behavior_version(config.behavior_version().unwrap_or(BehaviorVersion::latest()))
        .retry_config(retries.clone())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(timeout).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// Counts what goes out.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<AtomicU64>);

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "fanfare::Requests"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The configuration lacks something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No Region is set.
    #[error("no AWS Region is set: set AWS_REGION, or the Region in the SDK's configuration")]
    NoRegion,
    /// The account id is not one.
    #[error("`{0}` is no AWS account id: 12 digits, needed to compute ARNs without asking AWS")]
    BadAccount(String),
}

impl Aws {
    /// Clients made from `config`, whose credentials, HTTP client and endpoint they keep;
    /// retries and time-outs are fanfare's. No request is made.
    ///
    /// # Errors
    /// [`ConfigError`] if the Region is missing or `account` is not an account id.
    pub fn new(config: &SdkConfig, account: &str) -> Result<Self, ConfigError> {
        let region = config.region().ok_or(ConfigError::NoRegion)?.to_string();
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ConfigError::BadAccount(account.into()));
        }
        let requests = Requests::default();
        let clients = Clients::new(config, REQUEST_TIMEOUT, &RetryConfig::disabled(), &requests);
        let endpoint = config.endpoint_url().map(|url| url.trim_end_matches('/').into());
        let (config, account) = (config.clone(), account.into());
        Ok(Aws { inner: Arc::new(Inner { config, clients, account, region, endpoint, requests }) })
    }

    /// The same for provisioning: single calls, which the SDK may well retry by itself.
    pub(crate) fn for_provisioning(&self) -> Self {
        let Inner { config, account, region, endpoint, requests, .. } = &*self.inner;
        let retries = RetryConfig::standard();
        Aws {
            inner: Arc::new(Inner {
                config: config.clone(),
                clients: Clients::new(config, PROVISIONING_TIMEOUT, &retries, requests),
                account: account.clone(),
                region: region.clone(),
                endpoint: endpoint.clone(),
                requests: requests.clone(),
            }),
        }
    }

    /// The queue of `service` that takes events of `kind`, for a [`Worker`](crate::Worker).
    #[must_use]
    pub fn queue(&self, bindings: &Bindings, service: &str, kind: Kind) -> Queue {
        Queue::new(self.clone(), bindings, service, kind)
    }

    /// The stream that carries `topic`, as `service` reads it, for a
    /// [`StreamWorker`](crate::StreamWorker).
    #[must_use]
    pub fn stream(&self, bindings: &Bindings, service: &str, topic: &str) -> Stream {
        Stream::new(self.clone(), bindings, service, topic)
    }

    /// The function that publishes the outbox of `service`, to be woken after a commit. With the
    /// feature `lambda`, which the crate `fanfare` calls `relay-function`.
    #[cfg(feature = "lambda")]
    #[must_use]
    pub fn relay_function(&self, bindings: &Bindings, service: &str) -> crate::RelayFunction {
        crate::RelayFunction::new(self, bindings.relay_function_name(service))
    }

    /// The claim check in the system's own bucket, which
    /// [`Deployment::claim_check`](fanfare_topology::deploy::Deployment::claim_check) makes. With the feature
    /// `s3`.
    #[cfg(feature = "s3")]
    #[must_use]
    pub fn claim_check(&self, bindings: &Bindings) -> crate::S3ClaimCheck {
        let Inner { account, region, .. } = &*self.inner;
        crate::S3ClaimCheck::new(self, bindings.payloads_bucket_name(account, region))
    }

    /// How many requests have been sent to AWS, by this value and its clones: what AWS bills.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.inner.requests.0.load(Ordering::Relaxed)
    }

    /// The time of day, by the clock of the SDK's configuration.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.inner.config.time_source().unwrap_or_default().now();
        Timestamp::try_from(now).unwrap_or_else(|_| Timestamp::now())
    }

    /// A client for DynamoDB, made when somebody wants one.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let Clients { config, requests, .. } = &self.inner.clients;
        let config = aws_sdk_dynamodb::config::Builder::from(config);
        aws_sdk_dynamodb::Client::from_conf(config.interceptor(requests.clone()).build())
    }

    /// A client for Lambda, likewise.
    #[cfg(feature = "lambda")]
    pub(crate) fn lambda(&self) -> aws_sdk_lambda::Client {
        let Clients { config, requests, .. } = &self.inner.clients;
        let config = aws_sdk_lambda::config::Builder::from(config);
        aws_sdk_lambda::Client::from_conf(config.interceptor(requests.clone()).build())
    }

    /// A client for S3, likewise. Its requests' time-outs depend on what they carry: who sends them has
    /// them.
    #[cfg(feature = "s3")]
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};

        let Clients { config, requests, .. } = &self.inner.clients;
        let untimed = TimeoutConfig::builder().disable_operation_attempt_timeout().build();
        let config = aws_sdk_s3::config::Builder::from(config)
            .timeout_config(untimed)
            // Other servers than AWS need not have names for buckets.
            .force_path_style(self.inner.endpoint.is_some())
            // Whatever the environment says.
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenSupported)
            .interceptor(requests.clone());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    pub(crate) fn kinesis(&self) -> &aws_sdk_kinesis::Client {
        self.inner.clients.kinesis()
    }

    pub(crate) fn sns(&self) -> &aws_sdk_sns::Client {
        self.inner.clients.sns()
    }

    pub(crate) fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.inner.clients.sqs()
    }

    pub(crate) fn polling(&self) -> &aws_sdk_sqs::Client {
        self.inner.clients.polling()
    }

    pub(crate) fn topic_arn(&self, name: &str) -> String {
        self.arn("sns", name)
    }

    pub(crate) fn queue_arn(&self, name: &str) -> String {
        self.arn("sqs", name)
    }

    pub(crate) fn stream_arn(&self, name: &str) -> String {
        self.arn("kinesis", &format!("stream/{name}"))
    }

    pub(crate) fn queue_url(&self, name: &str) -> String {
        let Inner { account, region, endpoint, .. } = &*self.inner;
        match endpoint {
            Some(endpoint) => format!("{endpoint}/{account}/{name}"),
            None => format!("https://sqs.{region}.{}/{account}/{name}", self.partition().1),
        }
    }

    fn arn(&self, service: &str, name: &str) -> String {
        let Inner { account, region, .. } = &*self.inner;
        format!("arn:{}:{service}:{region}:{account}:{name}", self.partition().0)
    }

    /// The partition of the Region, and its domain.
    fn partition(&self) -> (&'static str, &'static str) {
        match self.inner.region.split('-').next() {
            Some("cn") => ("aws-cn", "amazonaws.com.cn"),
            _ if self.inner.region.starts_with("us-gov-") => ("aws-us-gov", "amazonaws.com"),
            _ => ("aws", "amazonaws.com"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::Region;

    fn config(region: &'static str) -> SdkConfig {
        SdkConfig::builder().region(Region::new(region)).build()
    }

    #[test]
    fn names_become_arns_and_urls_without_a_request() {
        let aws = Aws::new(&config("eu-central-1"), "123456789012").unwrap();
        assert_eq!(
            aws.topic_arn("shop-orders"),
            "arn:aws:sns:eu-central-1:123456789012:shop-orders"
        );
        assert_eq!(
            aws.stream_arn("shop-orders"),
            "arn:aws:kinesis:eu-central-1:123456789012:stream/shop-orders"
        );
        assert_eq!(
            aws.queue_url("shop-products"),
            "https://sqs.eu-central-1.amazonaws.com/123456789012/shop-products"
        );
        let china = Aws::new(&config("cn-north-1"), "123456789012").unwrap();
        assert_eq!(china.queue_arn("q"), "arn:aws-cn:sqs:cn-north-1:123456789012:q");
        assert_eq!(china.queue_url("q"), "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q");
        let config =
            config("us-east-1").to_builder().endpoint_url("http://127.0.0.1:4566/").build();
        let local = Aws::new(&config, "000000000000").unwrap();
        assert_eq!(local.queue_url("q"), "http://127.0.0.1:4566/000000000000/q");
    }

    #[test]
    fn what_the_configuration_lacks_is_named() {
        assert_eq!(
            Aws::new(&SdkConfig::builder().build(), "123456789012").unwrap_err(),
            ConfigError::NoRegion
        );
        for bad in ["", "12345", "12345678901a", "1234567890123"] {
            let error = Aws::new(&config("us-east-1"), bad).unwrap_err();
            assert_eq!(error, ConfigError::BadAccount(bad.into()));
        }
    }
}
