//! Records of a stream.

use bytes::Bytes;
use fanfare_core::{Attribute, Metadata, RawDelivery};
use fanfare_kpl::Opened;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    base64,
    error::InvocationError,
    event::Record,
    source::{Batch, identifier},
};

/// Says `base64` where the body is not the data itself.
const ENCODING: &str = "dead-letter-encoding";

/// Says why the data is no event.
const PROBLEM: &str = "dead-letter-problem";

pub(crate) fn read(place: usize, record: Record, batch: &mut Batch) -> Result<(), InvocationError> {
    const FIELD: &str = "kinesis.sequenceNumber";
    let missing = InvocationError::NoIdentifier { record: place, field: FIELD };
    let came = record.kinesis.ok_or(missing)?;
    let sequence_number = identifier(place, FIELD, came.sequence_number)?;
    let event_id = record.event_id.unwrap_or_default();
    let shard = event_id.split_once(':').map_or("", |(shard, _)| shard);
    let message_id = format!("{shard}/{sequence_number}");
    // A record without a key has no order with any other.
    let key = came.partition_key.unwrap_or_else(|| sequence_number.clone());
    let sent_at = came.approximate_arrival_timestamp.and_then(timestamp);
    let mut push = |message_id: String, key: &str, content: Content<'_>| {
        // Lambda does not say how often it has tried: the batch counts.
        let mut metadata = Metadata::new(message_id, 1).in_group(key);
        metadata.sent_at = sent_at;
        batch.deliveries.push(content.delivery(metadata));
        batch.identifiers.push(sequence_number.clone());
        batch.receipts.push(None);
    };
    let text = came.data.unwrap_or_default();
    let Some(data) = base64::decode(&text) else {
        let problem = "the record's data is not base64".into();
        push(message_id, &key, Content::Broken { base64: text, problem });
        return Ok(());
    };
    match fanfare_kpl::open(Bytes::from(data)) {
        Ok(Opened::Plain(data)) => push(message_id, &key, Content::Data(&data)),
        Ok(Opened::Aggregate(aggregate)) => {
            for record in &aggregate.records {
                let message_id = format!("{message_id}/{}", record.sub_sequence);
                push(message_id, &record.partition_key, Content::Data(&record.data));
            }
        }
        Err(error) => {
            let problem = error.to_string();
            push(message_id, &key, Content::Broken { base64: text, problem });
        }
    }
    Ok(())
}

/// Milliseconds are as exact as Kinesis is.
fn timestamp(seconds: Value) -> Option<Timestamp> {
    let seconds = seconds.as_f64().or_else(|| seconds.as_str()?.parse().ok())?;
    #[expect(clippy::cast_possible_truncation, reason = "out of range is no time for jiff either")]
    Timestamp::from_millisecond((seconds * 1_000.0).round() as i64).ok()
}

/// What a delivery is of.
enum Content<'a> {
    Data(&'a [u8]),
    /// No event, as is known already.
    Broken {
        base64: String,
        problem: String,
    },
}

impl Content<'_> {
    /// Data that is no text goes as base64, with an attribute that says so: nobody can read it as an
    /// event.
    fn delivery(self, metadata: Metadata) -> RawDelivery {
        let (body, problem) = match self {
            Content::Data(data) => match std::str::from_utf8(data) {
                Ok(text) => return RawDelivery::new(text, metadata),
                Err(_) => (base64::encode(data), None),
            },
            Content::Broken { base64, problem } => (base64, Some(problem)),
        };
        let mut delivery = RawDelivery::new(body, metadata);
        delivery.attributes.insert(ENCODING.into(), Attribute::text("base64"));
        if let Some(problem) = problem {
            delivery.attributes.insert(PROBLEM.into(), Attribute::text(problem));
        }
        delivery
    }
}

/// The lowest of sequence numbers.
pub(crate) fn lowest<'a>(numbers: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    numbers.min_by_key(|number| order(number))
}

/// Sequence numbers are ordered by this: decimal numbers without leading zeroes, too long for an integer.
pub(crate) fn order(number: &str) -> (usize, &str) {
    (number.len(), number)
}
