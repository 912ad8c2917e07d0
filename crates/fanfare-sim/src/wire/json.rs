//! AWS JSON 1.0 answers, with the header by which SQS keeps the Query protocol's error codes.

use bytes::Bytes;
use http::{HeaderValue, Response};
use serde_json::json;

use super::respond;
use crate::error::AwsError;

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

pub(super) fn success(body: Bytes, request_id: &str) -> Response<Bytes> {
    respond(200, CONTENT_TYPE, body, Some(request_id))
}

pub(super) fn error(error: &AwsError, request_id: &str) -> Response<Bytes> {
    let body = json!({ "__type": error_type(&error.code), "message": error.message }).to_string();
    let mut response = respond(error.status, CONTENT_TYPE, Bytes::from(body), Some(request_id));
    let blame = if error.is_sender_fault() { "Sender" } else { "Receiver" };
    if let Ok(value) = HeaderValue::from_str(&format!("{};{blame}", error.code)) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

/// The JSON protocol's name for a code of the Query protocol.
fn error_type(code: &str) -> String {
    const COMMON: &str = "com.amazon.coral.service#";
    const SQS: &str = "com.amazonaws.sqs#";
    match code {
        "AWS.SimpleQueueService.NonExistentQueue" => format!("{SQS}QueueDoesNotExist"),
        "QueueAlreadyExists" => format!("{SQS}QueueNameExists"),
        "InvalidParameterValue" => format!("{COMMON}InvalidParameterValueException"),
        "MissingParameter" => format!("{COMMON}MissingRequiredParameterException"),
        "AccessDenied" => format!("{COMMON}AccessDeniedException"),
        "MissingAuthenticationToken" => format!("{COMMON}MissingAuthenticationTokenException"),
        "IncompleteSignature" => format!("{COMMON}IncompleteSignatureException"),
        "InvalidAction" | "UnknownOperationException" => {
            format!("{COMMON}UnknownOperationException")
        }
        "SerializationException" => format!("{COMMON}SerializationException"),
        "InternalError" => format!("{COMMON}InternalFailure"),
        _ => format!("{SQS}{}", code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)),
    }
}
