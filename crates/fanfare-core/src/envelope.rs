//! CloudEvents 1.0 in structured JSON: the attributes around an event's data.

mod decode;
mod encode;

pub(crate) use decode::read_data;
pub use decode::{DecodeError, Opened};
pub(crate) use encode::encode;

use jiff::Timestamp;

use crate::{Context, EventType};

/// The CloudEvents attributes of one event. `source` and `id` together identify it for ever:
/// a redelivery, a redrive or a replay keeps both.
///
/// On the wire: `{"specversion":"1.0","id":…,"source":…,"type":…,"time":…,
/// "datacontenttype":"application/json","partitionkey":…,"correlationid":…,"causationid":…,
/// "traceparent":…,"tracestate":…,"hops":…,"data":{…}}`; what is absent is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Opaque id: a UUIDv7 for an event that starts a chain, a UUIDv8 derived from the handled
    /// event for one that a handler returns.
    pub id: String,
    /// Which service published it, a URI reference such as `orders`.
    pub source: String,
    /// The type tag, CloudEvents' `type`.
    pub tag: String,
    /// When it happened.
    pub time: Option<Timestamp>,
    /// What order is kept by, CloudEvents' `partitionkey`.
    pub key: Option<String>,
    /// What led to it.
    pub context: Context,
}

impl Envelope {
    /// An envelope with a new id and the present time, without a key and with no context.
    #[must_use]
    pub fn new(source: impl Into<String>, tag: impl Into<String>) -> Envelope {
        Envelope {
            id: uuid::Uuid::now_v7().to_string(),
            source: source.into(),
            tag: tag.into(),
            time: Some(Timestamp::now()),
            key: None,
            context: Context::default(),
        }
    }

    /// [`new`](Self::new) for an event of type `E`.
    #[must_use]
    pub fn of<E: EventType>(source: impl Into<String>) -> Envelope {
        Envelope::new(source, E::TAG)
    }
}
