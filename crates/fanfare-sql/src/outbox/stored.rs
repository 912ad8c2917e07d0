//! How a message's destination and attributes, and what else it has, stand in a row.

use std::{borrow::Cow, time::Duration};

use fanfare_core::{Destination, Message};
use serde::{Deserialize, Serialize};

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

fn destination_from(text: &str) -> Result<Destination, SqlError> {
    match text.split_once(':') {
        Some(("topic", name)) => Ok(Destination::Topic(name.into())),
        Some(("queue", service)) => Ok(Destination::Queue(service.into())),
        _ => Err(corrupt("its destination is neither `topic:…` nor `queue:…`")),
    }
}

/// What stands in the column of the attributes of a message that is to be delayed; of any other its
/// attributes alone do.
#[derive(Serialize, Deserialize)]
struct Delayed<'a> {
    attributes: Cow<'a, [(String, String)]>,
    delay: Duration,
}

/// Name and value of each attribute, as JSON, and with them the delay if there is one.
pub(crate) fn attributes_text(message: &Message) -> String {
    let text = match message.delay {
        None => serde_json::to_string(&message.attributes),
        Some(delay) => {
            let attributes = Cow::Borrowed(&message.attributes[..]);
            serde_json::to_string(&Delayed { attributes, delay })
        }
    };
    // Strings and numbers: nothing in them can fail.
    text.unwrap_or_default()
}

/// A message from its columns.
pub(crate) fn message(
    (id, tag, key): (String, String, String),
    destination: &str,
    attributes: &str,
    body: String,
) -> Result<Message, SqlError> {
    let read = match attributes.starts_with('{') {
        false => serde_json::from_str(attributes).map(|attributes| (attributes, None)),
        true => serde_json::from_str(attributes)
            .map(|Delayed { attributes, delay }| (attributes.into_owned(), Some(delay))),
    };
    let (attributes, delay) = read.map_err(|_| corrupt("its attributes are no JSON pairs"))?;
    let mut message = Message::new(destination_from(destination)?, id, tag, key, attributes, body);
    message.delay = delay;
    Ok(message)
}

fn corrupt(problem: &str) -> SqlError {
    SqlError::Corrupt { table: "outbox", problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &Message) -> Message {
        let (destination, attributes) =
            (destination_text(&message.destination), attributes_text(message));
        let names = (message.id.clone(), message.tag.clone(), message.key.clone());
        super::message(names, &destination, &attributes, message.body.clone()).unwrap()
    }

    #[test]
    fn a_row_without_delay_has_pairs_and_one_with_delay_both() {
        let attributes = vec![("type".into(), "t.v1".into())];
        let queue = Destination::Queue("billing".into());
        let mut message = Message::new(queue, "id-1", "t.v1", "k", attributes, "{}");
        assert_eq!(attributes_text(&message), r#"[["type","t.v1"]]"#);
        assert_eq!(read(&message), message);
        message.delay = Some(Duration::from_millis(1_500));
        assert_eq!(
            attributes_text(&message),
            r#"{"attributes":[["type","t.v1"]],"delay":{"secs":1,"nanos":500000000}}"#
        );
        assert_eq!(read(&message), message);
    }

    #[test]
    fn a_row_that_is_neither_is_named_corrupt() {
        let names = || ("id-1".into(), "t.v1".into(), "k".into());
        for (destination, attributes) in [("queue:b", "{}"), ("queue:b", "[1]"), ("b", "[]")] {
            let read = super::message(names(), destination, attributes, "{}".into());
            assert!(matches!(read, Err(SqlError::Corrupt { table: "outbox", .. })));
        }
    }
}
