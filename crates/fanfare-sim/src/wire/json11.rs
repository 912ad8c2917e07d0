//! AWS JSON 1.1 answers, as Kinesis gives them.

use bytes::Bytes;
use http::Response;
use serde_json::json;

use super::respond;
use crate::error::AwsError;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

pub(super) fn success(body: Bytes, request_id: &str) -> Response<Bytes> {
    respond(200, CONTENT_TYPE, body, Some(request_id))
}

pub(super) fn error(error: &AwsError, request_id: &str) -> Response<Bytes> {
    let body = json!({ "__type": error.code, "message": error.message }).to_string();
    respond(error.status, CONTENT_TYPE, Bytes::from(body), Some(request_id))
}
