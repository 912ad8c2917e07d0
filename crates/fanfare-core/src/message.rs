//! An event encoded for the wire, and where it goes.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::PAYLOAD_SIZE_ATTRIBUTE;

/// Name of the message attribute that carries the type tag; filter policies match on it.
pub const TYPE_ATTRIBUTE: &str = "type";

/// Where a message goes. Names are logical: an adapter turns them into ARNs and URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Destination {
    /// To everyone who subscribed to this topic.
    Topic(String),
    /// To this one service, point to point.
    Queue(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Topic(name) => write!(f, "topic `{name}`"),
            Destination::Queue(service) => write!(f, "the queue of `{service}`"),
        }
    }
}

/// One encoded event on its way out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Where it goes.
    pub destination: Destination,
    /// The event's id: deduplication id on FIFO topics.
    pub id: String,
    /// The type tag.
    pub tag: String,
    /// What order is kept by: message group on FIFO topics.
    pub key: String,
    /// Message attributes, name and value, the type tag as [`TYPE_ATTRIBUTE`] among them.
    pub attributes: Vec<(String, String)>,
    /// The envelope with its data, structured JSON; or where that is, if it is
    /// [`offloaded`](Self::offloaded).
    pub body: String,
    /// For how long its receiver does not see it, counted from its acceptance; none: at once. See
    /// [`Task::after`](crate::Task::after).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Bytes of the payload, where it is kept elsewhere and the body is a
    /// [`Pointer`](crate::Pointer) to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offloaded: Option<u64>,
}

impl Message {
    /// A message of an event that was sealed before, from where it was stored.
    #[must_use]
    pub fn new(
        destination: Destination,
        id: impl Into<String>,
        tag: impl Into<String>,
        key: impl Into<String>,
        attributes: Vec<(String, String)>,
        body: impl Into<String>,
    ) -> Self {
        let (id, tag, key, body) = (id.into(), tag.into(), key.into(), body.into());
        Message { destination, id, tag, key, attributes, body, delay: None, offloaded: None }
    }

    /// What it weighs, in bytes, as SNS and SQS count: its body, and each attribute's name, data type and
    /// value, that of an offloaded payload's size among them.
    #[must_use]
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, value)| name.len() + "String".len() + value.len());
        let offloaded = self.offloaded.map_or(0, |bytes| {
            PAYLOAD_SIZE_ATTRIBUTE.len() + "Number".len() + bytes.to_string().len()
        });
        self.body.len() + attributes.sum::<usize>() + offloaded
    }
}

/// Without body and attributes: payloads stay out of logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("destination", &self.destination)
            .field("id", &self.id)
            .field("tag", &self.tag)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
