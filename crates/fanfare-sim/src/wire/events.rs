//! Frames of an event stream, `application/vnd.amazon.eventstream`.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::json;

use crate::error::AwsError;

pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// What every stream begins with.
pub(crate) fn initial_response() -> Option<Bytes> {
    event("initial-response", b"{}".as_slice().into())
}

/// An event with its JSON. None if that is larger than a frame may be.
pub(crate) fn event(event_type: &'static str, json: Bytes) -> Option<Bytes> {
    frame([(":message-type", "event"), (":event-type", event_type)], json)
}

/// An error that ends the stream.
pub(crate) fn exception(error: &AwsError) -> Option<Bytes> {
    let json = json!({ "message": error.message }).to_string();
    let code = error.code.clone().into_owned();
    let headers = [(":message-type", "exception".to_owned()), (":exception-type", code)];
    frame(headers, json.into())
}

fn frame<V: Into<String>>(headers: [(&'static str, V); 2], json: Bytes) -> Option<Bytes> {
    let text = |value: String| HeaderValue::String(value.into());
    let message = Message::new(json)
        .add_header(Header::new(":content-type", text("application/json".to_owned())));
    let message = headers.into_iter().fold(message, |message, (name, value)| {
        message.add_header(Header::new(name, text(value.into())))
    });
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).ok()?;
    Some(bytes.into())
}
