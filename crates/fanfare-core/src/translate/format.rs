//! The formats of other systems.

mod cloud_events;
mod event_bridge;
mod jackson;
mod java_type;
mod mass_transit;
mod nservice_bus;
mod plain_json;

pub use cloud_events::CloudEvents;
pub use event_bridge::EventBridge;
pub use jackson::{JacksonArray, JacksonProperty};
pub use java_type::JavaType;
pub use mass_transit::MassTransit;
pub use nservice_bus::NServiceBus;
pub use plain_json::PlainJson;

use serde::Serialize;

use super::TranslateError;

/// A body of `format`.
fn json<T: Serialize>(format: &'static str, body: &T) -> Result<String, TranslateError> {
    serde_json::to_string(body)
        .map_err(|error| TranslateError::malformed(format, ".", error.to_string()))
}

/// A trace context as W3C writes it, if it is one: some headers hold other kinds too.
fn traceparent(text: String) -> Option<String> {
    let lengths = text.split('-').map(str::len);
    lengths.eq([2, 32, 16, 2]).then_some(text)
}
