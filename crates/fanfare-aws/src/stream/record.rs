//! What is in a record of a stream, and how it becomes a delivery.

use std::sync::Arc;

use aws_sdk_kinesis::types::Record;
use aws_smithy_types::base64;
use bytes::Bytes;
use fanfare_core::{Attribute, Metadata, RawDelivery};
use fanfare_kpl::{Opened, UserRecord};
use jiff::Timestamp;

use super::{
    letters::{ENCODING, PROBLEM},
    shards::HashRange,
    window::{Begun, Position, Window},
};

/// What an event weighs beside its data: what is kept to know where it stands.
const OVERHEAD: usize = 256;

/// The data of one event.
#[derive(Debug, Clone)]
pub(super) struct Item {
    data: Bytes,
    arrival: Option<Timestamp>,
    /// Why it is no event, if that is known already.
    problem: Option<Arc<str>>,
}

/// Where reading has begun in the middle of a record, because an aggregate was handled in part.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    pub(super) sequence_number: String,
    /// The last of its events that was handled.
    pub(super) sub_sequence_number: u64,
}

/// Puts what is in a record into the window, and tells how many events that are.
///
/// Of an aggregate that fanfare made, what is not the shard's is left out: it was packed before a
/// split or a merge, and its producer sends it again to where it belongs. What others made is
/// handled wherever it is, as nobody knows whether they do.
pub(super) fn unpack(
    record: Record,
    range: Option<&HashRange>,
    resume: Option<&Resume>,
    window: &mut Window<Item>,
) -> usize {
    let arrival = record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok());
    let arrival = arrival.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let sequence_number: Arc<str> = record.sequence_number.into();
    let whole = Position {
        sequence_number: Arc::clone(&sequence_number),
        sub_sequence_number: None,
        is_last: true,
    };
    // A record without a key has no order with any other.
    let key = record.partition_key.map_or_else(|| Arc::clone(&sequence_number), Arc::from);
    let data = record.data.into_bytes();
    let mut push = |position: Position, key: &Arc<str>, data: Bytes, problem| {
        window.push(position, key, OVERHEAD + data.len(), Item { data, arrival, problem });
    };
    let aggregate = match fanfare_kpl::open(data.clone()) {
        Ok(Opened::Plain(data)) => {
            push(whole, &key, data, None);
            return 1;
        }
        Ok(Opened::Aggregate(aggregate)) => aggregate,
        Err(error) => {
            push(whole, &key, data, Some(Arc::from(error.to_string())));
            return 1;
        }
    };
    let handled = resume.filter(|resume| *resume.sequence_number == *sequence_number);
    let left = |event: &UserRecord| {
        handled.is_none_or(|resume| event.sub_sequence > resume.sub_sequence_number)
    };
    let ours = |event: &UserRecord| {
        !aggregate.marked || range.is_none_or(|range| range.contains(&event.hash_key))
    };
    let total = aggregate.records.len();
    let events: Vec<_> =
        aggregate.records.iter().filter(|event| left(event) && ours(event)).collect();
    if events.len() < total {
        tracing::debug!(%sequence_number, events = events.len(), total, "an aggregate in part");
    }
    for (place, event) in events.iter().enumerate() {
        let position = Position {
            sequence_number: Arc::clone(&sequence_number),
            sub_sequence_number: Some(event.sub_sequence),
            is_last: place + 1 == events.len(),
        };
        push(position, &event.partition_key, event.data.clone(), None);
    }
    if events.is_empty() {
        window.pass(whole);
    }
    events.len()
}

/// An event of `shard` as its handler's consumer takes it. Data that is no text goes as base64, with
/// an attribute that says so: nobody can read it as an event.
pub(super) fn delivery(shard: &str, begun: &Begun<Item>) -> RawDelivery {
    let Position { sequence_number, sub_sequence_number, .. } = &begun.position;
    let message_id = match sub_sequence_number {
        Some(sub) => format!("{shard}/{sequence_number}/{sub}"),
        None => format!("{shard}/{sequence_number}"),
    };
    let mut metadata = Metadata::new(message_id, begun.attempt).in_group(&*begun.key);
    metadata.sent_at = begun.item.arrival;
    match std::str::from_utf8(&begun.item.data) {
        Ok(text) if begun.item.problem.is_none() => RawDelivery::new(text, metadata),
        _ => {
            let mut delivery = RawDelivery::new(base64::encode(&begun.item.data), metadata);
            delivery.attributes.insert(ENCODING.into(), Attribute::text("base64"));
            if let Some(problem) = &begun.item.problem {
                delivery.attributes.insert(PROBLEM.into(), Attribute::text(&**problem));
            }
            delivery
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::{Blob, DateTime};
    use fanfare_kpl::{Aggregator, hash_key};
    use tokio::time::Instant;

    use super::*;
    use crate::{Hold, stream::window::Room};

    fn window() -> Window<Item> {
        Window::new(Hold::Key, Room { events: 100, bytes: 100_000 })
    }

    fn record(sequence_number: &str, data: impl Into<Vec<u8>>) -> Record {
        Record::builder()
            .sequence_number(sequence_number)
            .partition_key("outer")
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .data(Blob::new(data))
            .build()
            .unwrap()
    }

    fn aggregate(keys: &[&str], marked: bool) -> Record {
        let mut aggregator = Aggregator::new();
        if marked {
            aggregator = aggregator.marked();
        }
        for (i, key) in keys.iter().enumerate() {
            aggregator.add(key, None, format!("{i}").as_bytes());
        }
        record("49", aggregator.finish().unwrap().data)
    }

    /// Key, body, message id and whether it is the last, of all that is in the window.
    fn all(window: &mut Window<Item>) -> Vec<(String, String, String, bool)> {
        let mut begun = window.begin(Instant::now(), 100, 100);
        begun.sort_by_key(|begun| begun.ticket);
        let describe = |begun: &Begun<Item>| {
            let delivery = delivery("shardId-0", begun);
            let is_last = begun.position.is_last;
            (begun.key.to_string(), delivery.body, delivery.metadata.message_id, is_last)
        };
        begun.iter().map(describe).collect()
    }

    fn is(key: &str, body: &str, id: &str, is_last: bool) -> (String, String, String, bool) {
        (key.into(), body.into(), format!("shardId-0/{id}"), is_last)
    }

    #[test]
    fn a_plain_record_is_one_event() {
        let mut window = window();
        assert_eq!(unpack(record("7", "{}"), None, None, &mut window), 1);
        let begun = window.begin(Instant::now(), 1, 1).remove(0);
        let delivery = delivery("shardId-0", &begun);
        assert_eq!(delivery.metadata.message_id, "shardId-0/7");
        assert_eq!(delivery.metadata.group.as_deref(), Some("outer"));
        assert_eq!(delivery.metadata.sent_at.unwrap().as_millisecond(), 1_700_000_000_123);
        assert_eq!((&*delivery.body, delivery.attributes.len()), ("{}", 0));
    }

    #[test]
    fn an_aggregate_is_its_events_and_resumes_in_the_middle() {
        let mut whole = window();
        assert_eq!(unpack(aggregate(&["a", "b", "a"], true), None, None, &mut whole), 3);
        let expected =
            [is("a", "0", "49/0", false), is("b", "1", "49/1", false), is("a", "2", "49/2", true)];
        assert_eq!(all(&mut whole), expected);

        let mut rest = window();
        let resume = Resume { sequence_number: "49".into(), sub_sequence_number: 1 };
        unpack(aggregate(&["a", "b", "a"], true), None, Some(&resume), &mut rest);
        unpack(record("50", "x"), None, Some(&resume), &mut rest);
        assert_eq!(all(&mut rest), [is("a", "2", "49/2", true), is("outer", "x", "50", true)]);

        let mut nothing = window();
        let resume = Resume { sub_sequence_number: 2, ..resume };
        assert_eq!(unpack(aggregate(&["a", "b", "a"], true), None, Some(&resume), &mut nothing), 0);
        assert!(nothing.is_empty() && nothing.checkpoint().is_some());
    }

    #[test]
    fn what_is_not_the_shards_is_left_out_of_marked_aggregates_alone() {
        let range = hash_key("a")..=hash_key("a");
        for (marked, expected) in [
            (true, vec![is("a", "0", "49/0", false), is("a", "2", "49/2", true)]),
            (
                false,
                vec![
                    is("a", "0", "49/0", false),
                    is("b", "1", "49/1", false),
                    is("a", "2", "49/2", false),
                    is("b", "3", "49/3", true),
                ],
            ),
        ] {
            let mut window = window();
            unpack(aggregate(&["a", "b", "a", "b"], marked), Some(&range), None, &mut window);
            assert_eq!(all(&mut window), expected, "marked: {marked}");
        }
    }

    #[test]
    fn what_is_no_text_and_what_is_a_broken_aggregate_goes_as_base64() {
        let mut window = window();
        unpack(record("1", [0xFF, 0xFE]), None, None, &mut window);
        // The magic, two bytes that are no protocol buffer, and their MD5.
        let broken = hex::decode("f3899ac2ffffab2a0d28de6b77ffdd6c72afead099ab").unwrap();
        unpack(record("2", broken), None, None, &mut window);
        let begun = window.begin(Instant::now(), 9, 9);
        let deliveries: Vec<_> = begun.iter().map(|begun| delivery("shardId-0", begun)).collect();
        assert_eq!(deliveries[0].body, "//4=");
        for delivery in &deliveries {
            assert_eq!(delivery.attributes[ENCODING].as_str(), Some("base64"));
        }
        assert!(!deliveries[0].attributes.contains_key(PROBLEM));
        let problem = deliveries[1].attributes[PROBLEM].as_str().unwrap();
        assert!(problem.contains("aggregate cannot be decoded"), "{problem}");
    }
}
