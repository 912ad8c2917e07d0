//! Tokens for the next page of a list.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::errors;
use crate::clock::Now;
use crate::engine::limits::TOKEN_LIFETIME;
use crate::error::AwsError;

#[derive(Deserialize, Serialize)]
struct Token<T> {
    /// Milliseconds since 1970.
    created: u64,
    place: T,
}

/// The text that callers get.
pub(super) fn encode<T: Serialize>(place: T, now: Now) -> String {
    let token = Token { created: now.millis, place };
    // Numbers and texts: writing them cannot fail.
    aws_smithy_types::base64::encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// The place where the next page begins, unless the token is too old.
pub(super) fn decode<T: DeserializeOwned>(text: &str, now: Now) -> Result<T, AwsError> {
    let json = aws_smithy_types::base64::decode(text).ok();
    let token: Option<Token<T>> = json.and_then(|json| serde_json::from_slice(&json).ok());
    let token = token.ok_or_else(|| errors::invalid_argument("NextToken is invalid."))?;
    if now.millis.saturating_sub(token.created) > TOKEN_LIFETIME.as_millis() as u64 {
        return Err(AwsError::sender("ExpiredNextTokenException", "NextToken has expired."));
    }
    Ok(token.place)
}
