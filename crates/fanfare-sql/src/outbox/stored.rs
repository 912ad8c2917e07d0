//! How a message's destination and attributes stand in a row.

use fanfare_core::{Destination, Message};

use crate::SqlError;

/// The columns that an event keeps wherever it is moved to.
pub(crate) const COLUMNS: &str =
    "shard, id, recorded_at, event_id, tag, key, destination, attributes, body";

/// `topic:orders`, `queue:invoices`.
pub(crate) fn destination_text(destination: &Destination) -> String {
    match destination {
        Destination::Topic(name) => format!("topic:{name}"),
        Destination::Queue(service) => format!("queue:{service}"),
    }
}

/// A destination from its text.
pub(crate) fn destination_from(text: &str) -> Result<Destination, SqlError> {
    match text.split_once(':') {
        Some(("topic", name)) => Ok(Destination::Topic(name.into())),
        Some(("queue", service)) => Ok(Destination::Queue(service.into())),
        _ => Err(corrupt("its destination is neither `topic:…` nor `queue:…`")),
    }
}

/// Name and value of each attribute, as JSON.
pub(crate) fn attributes_text(message: &Message) -> String {
    // Pairs of strings: nothing in them can fail.
    serde_json::to_string(&message.attributes).unwrap_or_default()
}

/// Attributes from their text.
pub(crate) fn attributes_from(text: &str) -> Result<Vec<(String, String)>, SqlError> {
    serde_json::from_str(text).map_err(|_| corrupt("its attributes are no JSON pairs"))
}

fn corrupt(problem: &str) -> SqlError {
    SqlError::Corrupt { table: "outbox", problem: problem.into() }
}
