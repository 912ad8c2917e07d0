//! The wire: which service a request is for and who sends it, and how answers are written.

mod body;
pub(crate) mod events;
mod http_client;
mod json;
mod json11;
mod query;
mod server;
mod xml;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::error::AwsError;

pub use body::Body;
pub(crate) use http_client::http_client;
pub(crate) use query::parse as parse_query;
pub(crate) use server::serve;
pub(crate) use xml::Xml;

/// Who a caller is whose access key is no account number.
pub(crate) const DEFAULT_ACCOUNT: &str = "000000000000";
/// The region of [`crate::Sim::sdk_config`].
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

/// What comes before the action in a request's `X-Amz-Target`.
const SQS_TARGET: &str = "AmazonSQS.";
const KINESIS_TARGET: &str = "Kinesis_20131202.";

/// A simulated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Kinesis,
    Sns,
    Sqs,
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kinesis => "kinesis",
            Self::Sns => "sns",
            Self::Sqs => "sqs",
        }
    }
}

/// Who calls, and under which address the simulator was reached.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) account: String,
    pub(crate) region: String,
    /// `http://host:port`, for queue URLs.
    pub(crate) base_url: String,
}

/// What an operation knows beside its parameters.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) caller: Caller,
    /// The batch entry that a fault picked.
    pub(crate) fail_entry: Option<usize>,
    /// A fault lets this call's receipt handles or shard iterator count as expired.
    pub(crate) expired: bool,
}

/// A request, as far as it can be understood without knowing the action.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) action: String,
    pub(crate) caller: Caller,
    pub(crate) body: Bytes,
}

/// How a request is spoken, hence how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.0, as SQS speaks it.
    Json,
    /// AWS JSON 1.1, as Kinesis speaks it.
    Json11,
    /// The Query protocol: forms in, XML out.
    Query,
}

impl Protocol {
    pub(crate) fn error(self, error: &AwsError, request_id: &str) -> Response<Bytes> {
        match self {
            Self::Json => json::error(error, request_id),
            Self::Json11 => json11::error(error, request_id),
            Self::Query => xml::error(error, request_id),
        }
    }
}

impl Call {
    pub(crate) fn answer(
        &self,
        outcome: Result<Body, AwsError>,
        request_id: &str,
    ) -> Response<Body> {
        let whole = match outcome.map(Body::into_whole) {
            Ok(Err(body)) => return respond(200, events::CONTENT_TYPE, body, Some(request_id)),
            Ok(Ok(whole)) => Ok(whole),
            Err(error) => Err(error),
        };
        let response = match (self.service, whole) {
            (Service::Kinesis, Ok(body)) => json11::success(body, request_id),
            (Service::Kinesis, Err(error)) => Protocol::Json11.error(&error, request_id),
            (Service::Sqs, Ok(body)) => json::success(body, request_id),
            (Service::Sqs, Err(error)) => Protocol::Json.error(&error, request_id),
            (Service::Sns, Ok(result)) => xml::success(&self.action, &result, request_id),
            (Service::Sns, Err(error)) => Protocol::Query.error(&error, request_id),
        };
        response.map(Body::from)
    }
}

/// Takes a request apart.
pub(crate) fn read(request: Request<Bytes>) -> Result<Call, (Protocol, AwsError)> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let target = header("x-amz-target").map(str::to_owned);
    let protocol = match &target {
        Some(target) if target.starts_with(KINESIS_TARGET) => Protocol::Json11,
        Some(_) => Protocol::Json,
        None => Protocol::Query,
    };
    let fail = |error| (protocol, error);
    let scope = header(AUTHORIZATION.as_str()).map(Scope::parse).ok_or_else(|| {
        fail(
            AwsError::sender(
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            )
            .with_status(403),
        )
    })?;
    let scope = scope.ok_or_else(|| {
        fail(AwsError::sender(
            "IncompleteSignature",
            "Authorization header requires a 'Credential' parameter of an access key, a date, a \
             region, a service and 'aws4_request'.",
        ))
    })?;
    let caller = Caller {
        account: scope.account,
        region: scope.region,
        base_url: format!("{}://{}", request.uri().scheme_str().unwrap_or("http"), host(&request)),
    };
    let (service, action, body) = match target {
        Some(target) => {
            let sqs = target.strip_prefix(SQS_TARGET).map(|action| (Service::Sqs, action));
            let kinesis = || Some((Service::Kinesis, target.strip_prefix(KINESIS_TARGET)?));
            let (service, action) = sqs.or_else(kinesis).ok_or_else(|| {
                fail(AwsError::sender(
                    "UnknownOperationException",
                    format!("{target} is not simulated: only SQS and Kinesis speak JSON here"),
                ))
            })?;
            (service, action.to_owned(), request.into_body())
        }
        None => {
            // A form in the body, or a query string.
            let query = request.uri().query().unwrap_or_default().to_owned();
            let body = request.into_body();
            let form = if body.is_empty() { Bytes::from(query) } else { body };
            if scope.service != "sns" {
                return Err(fail(AwsError::sender(
                    "InvalidAction",
                    format!(
                        "{} is not simulated in the Query protocol: SQS speaks AWS JSON 1.0, SNS \
                         speaks Query, Kinesis AWS JSON 1.1, other services are not simulated",
                        scope.service
                    ),
                )));
            }
            let mut pairs = form_urlencoded::parse(&form);
            let action = pairs.find(|(key, _)| key == "Action").map(|(_, value)| value);
            let action = action.ok_or_else(|| {
                fail(AwsError::sender("MissingAction", "The request does not name an action."))
            })?;
            (Service::Sns, action.into_owned(), form.clone())
        }
    };
    Ok(Call { service, action, caller, body })
}

pub(crate) fn is_health_probe(request: &Request<Bytes>) -> bool {
    request.method() == Method::GET
        && ["/health", "/_localstack/health"].contains(&request.uri().path())
}

pub(crate) fn health() -> Response<Bytes> {
    const BODY: &str = concat!(
        r#"{"services":{"kinesis":"running","sns":"running","sqs":"running"},"edition":"fanfare-sim","version":""#,
        env!("CARGO_PKG_VERSION"),
        r#""}"#
    );
    respond(200, "application/json", Bytes::from(BODY), None)
}

/// The credential scope of a signature.
struct Scope {
    account: String,
    region: String,
    service: String,
}

impl Scope {
    fn parse(authorization: &str) -> Option<Self> {
        let credential = authorization
            .strip_prefix("AWS4-HMAC-SHA256")?
            .split(',')
            .find_map(|part| part.trim().strip_prefix("Credential="))?;
        // The access key comes first and may itself contain slashes.
        let mut parts = credential.rsplitn(5, '/');
        let (_terminator, service, region) = (parts.next()?, parts.next()?, parts.next()?);
        let (_date, key) = (parts.next()?, parts.next()?);
        let is_account = key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit());
        Some(Self {
            account: if is_account { key } else { DEFAULT_ACCOUNT }.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

fn host(request: &Request<Bytes>) -> String {
    let header = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    header.or(authority).unwrap_or("sim.localhost").to_owned()
}

/// Builds an answer.
fn respond<B>(
    status: u16,
    content_type: &'static str,
    body: B,
    request_id: Option<&str>,
) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
