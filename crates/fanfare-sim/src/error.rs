//! An error as AWS answers it, independent of the protocol that carries it.
//!
//! Engine functions return [`AwsError`]; `wire::json` and `wire::xml` are the only places that
//! know how one looks on the wire.

use std::borrow::Cow;

/// A refused request: status, code and text follow the service's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsError {
    pub(crate) status: u16,
    /// The code of the Query protocol, which SQS's JSON protocol repeats in a header.
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl AwsError {
    /// A fault of the caller: status 400.
    pub(crate) fn sender(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code: Cow::Borrowed(code), message: message.into() }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Whether the caller is to blame, which decides `Sender`/`Receiver` and `SenderFault`.
    pub(crate) fn is_sender_fault(&self) -> bool {
        self.status < 500
    }

    /// SQS: a parameter's value is refused.
    pub(crate) fn invalid_parameter_value(message: impl Into<String>) -> Self {
        Self::sender("InvalidParameterValue", message)
    }

    /// SQS: `Value … for parameter … is invalid. Reason: …`.
    pub(crate) fn invalid_value(
        value: impl std::fmt::Display,
        parameter: &str,
        reason: &str,
    ) -> Self {
        Self::invalid_parameter_value(format!(
            "Value {value} for parameter {parameter} is invalid. Reason: {reason}"
        ))
    }

    /// SQS: a required parameter is missing.
    pub(crate) fn missing_parameter(name: &str) -> Self {
        Self::sender("MissingParameter", format!("The request must contain the parameter {name}."))
    }

    /// SNS: `Invalid parameter: …`.
    pub(crate) fn invalid_parameter(what: impl std::fmt::Display) -> Self {
        Self::sender("InvalidParameter", format!("Invalid parameter: {what}"))
    }

    /// SNS: a topic, subscription or endpoint is missing.
    pub(crate) fn not_found(message: &str) -> Self {
        Self::sender("NotFound", message).with_status(404)
    }

    /// A batch's entry (or a call) that failed inside the service.
    pub(crate) fn internal() -> Self {
        Self::sender("InternalError", "We encountered an internal error. Please try again.")
            .with_status(500)
    }
}
