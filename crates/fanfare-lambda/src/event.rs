//! Lambda's events, as far as they are used.
//!
//! One record type has what the records of all sources have, as they share no name with different
//! meaning: so an event is read in one pass, whichever it is.

use std::{fmt, marker::PhantomData};

use fanfare_core::{Attribute, Attributes};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// An event of Lambda's: records of a queue, a stream or a topic. Read from its JSON.
#[derive(Clone, Deserialize)]
pub struct Event {
    /// None if it is an event of another kind.
    #[serde(rename = "Records")]
    pub(crate) records: Option<Vec<Record>>,
    // What those of other kinds may say of where they come from.
    #[serde(rename = "eventSource")]
    event_source: Option<Value>,
    source: Option<Value>,
}

impl Event {
    /// Where it says that it comes from, if it has no records.
    pub(crate) fn source(&self) -> Option<&str> {
        let source = self.event_source.as_ref().or(self.source.as_ref());
        source.and_then(Value::as_str)
    }
}

/// Without its content: payloads stay out of logs.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.as_ref().map(Vec::len);
        f.debug_struct("Event").field("records", &records).finish_non_exhaustive()
    }
}

/// A record of any source: what those of streams and topics say is boxed, as queues bring the most
/// records. AWS leaves out fields, or sets them to null.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    #[serde(alias = "EventSource")]
    pub(crate) event_source: Option<String>,

    // A message of a queue.
    pub(crate) message_id: Option<String>,
    pub(crate) receipt_handle: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) attributes: Option<SqsAttributes>,
    #[serde(default, deserialize_with = "attributes::<SqsAttribute, _>")]
    pub(crate) message_attributes: Attributes,
    #[serde(rename = "eventSourceARN")]
    pub(crate) event_source_arn: Option<String>,

    // A record of a stream.
    #[serde(rename = "eventID")]
    pub(crate) event_id: Option<String>,
    pub(crate) kinesis: Option<Box<KinesisRecord>>,

    // A message of a topic.
    #[serde(rename = "Sns")]
    pub(crate) sns: Option<Box<SnsMessage>>,
}

/// What SQS says of a message.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SqsAttributes {
    pub(crate) approximate_receive_count: Option<String>,
    pub(crate) sent_timestamp: Option<String>,
    pub(crate) message_group_id: Option<String>,
    #[serde(rename = "AWSTraceHeader")]
    pub(crate) trace_header: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SqsAttribute {
    pub(crate) data_type: Option<String>,
    pub(crate) string_value: Option<String>,
    /// In base64.
    pub(crate) binary_value: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KinesisRecord {
    pub(crate) sequence_number: Option<String>,
    pub(crate) partition_key: Option<String>,
    /// In base64.
    pub(crate) data: Option<String>,
    /// Seconds since 1970: a number from Lambda, a text from `aws_lambda_events`.
    pub(crate) approximate_arrival_timestamp: Option<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SnsMessage {
    pub(crate) message_id: Option<String>,
    pub(crate) topic_arn: Option<String>,
    pub(crate) message: Option<String>,
    #[serde(default, deserialize_with = "attributes::<SnsAttribute, _>")]
    pub(crate) message_attributes: Attributes,
    pub(crate) timestamp: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SnsAttribute {
    #[serde(rename = "Type")]
    pub(crate) data_type: Option<String>,
    /// In base64 if its type is `Binary`.
    pub(crate) value: Option<String>,
}

/// Message attributes, straight into what they are passed on as; none where there is a null.
fn attributes<'de, A, D>(json: D) -> Result<Attributes, D::Error>
where
    A: Deserialize<'de> + Into<Attribute>,
    D: Deserializer<'de>,
{
    struct Each<A>(PhantomData<A>);

    impl<'de, A: Deserialize<'de> + Into<Attribute>> Visitor<'de> for Each<A> {
        type Value = Attributes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("message attributes by name")
        }

        fn visit_unit<E>(self) -> Result<Attributes, E> {
            Ok(Attributes::new())
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Attributes, M::Error> {
            let mut attributes = Attributes::new();
            while let Some((name, attribute)) = map.next_entry::<String, A>()? {
                attributes.insert(name, attribute.into());
            }
            Ok(attributes)
        }
    }

    json.deserialize_any(Each(PhantomData::<A>))
}
