//! Kinesis's errors, with its texts.

use std::fmt::Display;

use super::shard;
use super::stream::Stream;
use crate::error::AwsError;

/// A parameter breaks what the service's model says of it; `value` as AWS prints it.
pub(super) fn constraint(value: impl Display, member: &str, must: impl Display) -> AwsError {
    let message = format!(
        "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: \
         Member must {must}"
    );
    AwsError::sender("ValidationException", message)
}

pub(super) fn missing(member: &str) -> AwsError {
    constraint("null", member, "not be null")
}

pub(super) fn invalid_argument(message: impl Into<String>) -> AwsError {
    AwsError::sender("InvalidArgumentException", message)
}

pub(super) fn not_found(message: impl Into<String>) -> AwsError {
    AwsError::sender("ResourceNotFoundException", message)
}

pub(super) fn in_use(message: impl Into<String>) -> AwsError {
    AwsError::sender("ResourceInUseException", message)
}

pub(super) fn limit_exceeded(message: impl Into<String>) -> AwsError {
    AwsError::sender("LimitExceededException", message)
}

pub(super) fn stream_not_found(name: &str, account: &str) -> AwsError {
    not_found(format!("Stream {name} under account {account} not found."))
}

pub(super) fn not_active(stream: &Stream) -> AwsError {
    let Stream { name, account, .. } = stream;
    let status = stream.status();
    in_use(format!("Stream {name} under account {account} not ACTIVE, instead in state {status}"))
}

/// For calls that reshard.
pub(super) fn no_such_shard(stream: &Stream, id: &str) -> AwsError {
    let Stream { name, account, .. } = stream;
    not_found(format!("Could not find shard {id} in stream {name} under account {account}."))
}

/// For calls that read.
pub(super) fn shard_does_not_exist(stream: &Stream, number: u32) -> AwsError {
    let (Stream { name, account, .. }, id) = (stream, shard::id(number));
    not_found(format!("Shard {id} in stream {name} under account {account} does not exist"))
}

/// A shard is used faster than it may be.
pub(super) fn rate_exceeded(stream: &str, account: &str, number: u32) -> AwsError {
    let id = shard::id(number);
    let message =
        format!("Rate exceeded for shard {id} in stream {stream} under account {account}.");
    AwsError::sender("ProvisionedThroughputExceededException", message)
}

/// A parameter has too few or too many characters.
pub(super) fn check_length(
    value: &str,
    member: &str,
    range: std::ops::RangeInclusive<usize>,
) -> Result<(), AwsError> {
    let length = value.chars().count();
    if length < *range.start() {
        let must = format!("have length greater than or equal to {}", range.start());
        return Err(constraint(format_args!("'{value}'"), member, must));
    }
    if length > *range.end() {
        let must = format!("have length less than or equal to {}", range.end());
        return Err(constraint(format_args!("'{value}'"), member, must));
    }
    Ok(())
}

/// A number is out of its range.
pub(super) fn check_range(
    value: i64,
    member: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<(), AwsError> {
    if value < *range.start() {
        let must = format!("have value greater than or equal to {}", range.start());
        return Err(constraint(format_args!("'{value}'"), member, must));
    }
    if value > *range.end() {
        let must = format!("have value less than or equal to {}", range.end());
        return Err(constraint(format_args!("'{value}'"), member, must));
    }
    Ok(())
}

/// The name of a stream, consumer or shard: `[a-zA-Z0-9_.-]+`, 1 to 128 of them.
pub(super) fn check_name(value: &str, member: &str) -> Result<(), AwsError> {
    check_length(value, member, 1..=crate::engine::limits::MAX_STREAM_NAME)?;
    if value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Ok(());
    }
    let must = "satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
    Err(constraint(format_args!("'{value}'"), member, must))
}

/// A hash key: `0|([1-9]\d{0,38})`.
pub(super) fn check_hash_key(value: &str, member: &str) -> Result<(), AwsError> {
    if is_decimal(value, 39) {
        return Ok(());
    }
    let must = r"satisfy regular expression pattern: 0|([1-9]\d{0,38})";
    Err(constraint(format_args!("'{value}'"), member, must))
}

/// A sequence number: `0|([1-9]\d{0,128})`.
pub(super) fn check_sequence_number(value: &str, member: &str) -> Result<(), AwsError> {
    if is_decimal(value, 129) {
        return Ok(());
    }
    let must = r"satisfy regular expression pattern: 0|([1-9]\d{0,128})";
    Err(constraint(format_args!("'{value}'"), member, must))
}

fn is_decimal(text: &str, digits: usize) -> bool {
    text == "0"
        || (1..=digits).contains(&text.len())
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit())
}
