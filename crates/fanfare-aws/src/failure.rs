//! What an error of AWS means for us.

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::{metadata::ProvideErrorMetadata, operation::BuildError};

/// A failed request, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// The service's error code, or what broke on the way.
    pub(crate) code: String,
    /// What the service said.
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Time-outs, throttling, broken connections, server errors: it may work later.
    Transient,
    /// The topic, queue or stream is not there.
    NotFound,
    /// The credentials do not allow it.
    Denied,
    /// The request itself is refused: it will never work.
    Refused,
}

impl Failure {
    pub(crate) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                let (code, message) = (service.err().code(), service.err().message());
                let class = code.map_or(by_status(status), |code| by_code(code, status));
                let code = code.map_or_else(|| format!("HTTP {status}"), String::from);
                Failure { class, code, message: message.unwrap_or_default().into() }
            }
            SdkError::TimeoutError(_) => Failure::transient("no answer in time", ""),
            // Credentials that cannot be had now may be had later.
            other => Failure::transient("no usable answer", &causes(other)),
        }
    }

    /// What came on an event stream instead of an event.
    pub(crate) fn of_event<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("no code");
                Failure::of_entry(code, service.err().message(), false)
            }
            other => Failure::transient("the event stream broke", &causes(other)),
        }
    }

    /// The failure of one entry of a batch.
    pub(crate) fn of_entry(code: &str, message: Option<&str>, sender_fault: bool) -> Self {
        let status = if sender_fault { 400 } else { 500 };
        let message = message.unwrap_or_default().into();
        Failure { class: by_code(code, status), code: code.into(), message }
    }

    /// The SDK could not make a request of it.
    pub(crate) fn unbuildable(error: BuildError) -> Self {
        let (code, message) = ("InvalidParameter".into(), error.to_string());
        Failure { class: Class::Refused, code, message }
    }

    pub(crate) fn transient(code: &str, message: &str) -> Self {
        Failure { class: Class::Transient, code: code.into(), message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.message.is_empty() {
            true => f.write_str(&self.code),
            false => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

/// What an error and its causes say, outermost first.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn by_code(code: &str, status: u16) -> Class {
    // SQS answers with a namespace, SNS without: AWS.SimpleQueueService.NonExistentQueue.
    let short = code.rsplit(['.', '#']).next().unwrap_or(code);
    match short {
        "NotFound"
        | "NotFoundException"
        | "NonExistentQueue"
        | "QueueDoesNotExist"
        | "ResourceNotFoundException"
        | "NoSuchBucket"
        | "NoSuchKey" => Class::NotFound,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "NotAuthorized"
        | "KMSAccessDenied"
        | "KmsAccessDenied"
        | "KMSAccessDeniedException" => Class::Denied,
        // New credentials come with the next request.
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Class::Transient,
        "OverLimit"
        | "RequestThrottled"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "ResourceInUseException"
        | "ResourceConflictException"
        | "SlowDown"
        // What arrived is not what was sent.
        | "BadDigest"
        | "IncompleteBody"
        | "PriorRequestNotComplete"
        | "InternalError"
        | "InternalFailure"
        | "InternalFailureException"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "QueueDeletedRecently" => Class::Transient,
        _ if short.contains("Throttl") => Class::Transient,
        _ => by_status(status),
    }
}

fn by_status(status: u16) -> Class {
    match status {
        403 | 401 => Class::Denied,
        408 | 429 | 500.. => Class::Transient,
        _ => Class::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_can_be_done() {
        let cases = [
            ("ThrottlingException", 400, Class::Transient),
            ("Throttling", 400, Class::Transient),
            ("KMSThrottlingException", 400, Class::Transient),
            ("ProvisionedThroughputExceededException", 400, Class::Transient),
            ("com.amazonaws.sqs#OverLimit", 403, Class::Transient),
            ("ProvisionedThroughputExceededException", 400, Class::Transient),
            ("ExpiredToken", 403, Class::Transient),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Class::NotFound),
            ("QueueDoesNotExist", 400, Class::NotFound),
            ("NotFound", 404, Class::NotFound),
            ("NoSuchKey", 404, Class::NotFound),
            ("BadDigest", 400, Class::Transient),
            ("AuthorizationError", 403, Class::Denied),
            ("InvalidClientTokenId", 403, Class::Denied),
            ("InvalidParameter", 400, Class::Refused),
            ("SomethingNew", 503, Class::Transient),
            ("SomethingNew", 400, Class::Refused),
        ];
        for (code, status, class) in cases {
            assert_eq!(by_code(code, status), class, "{code} {status}");
        }
    }
}
