//! What Lambda invokes a function with that is mapped to a queue.

use anyhow::Result;
use fanfare::{EventType, seal_event};
use serde_json::{Value, json};

use crate::event::Placed;

/// Bytes of an event's data.
pub(crate) const BYTES: usize = 300;

/// Identifies a record in [`event`].
fn message_id(record: u64) -> String {
    format!("059f36b4-87a3-44ab-83d2-{record:012}")
}

/// The JSON of an event with so many records: all that Lambda says of messages which came through a
/// topic with raw delivery.
pub(crate) fn event(records: u64) -> Result<Vec<u8>> {
    let records: Result<Vec<Value>> = (0..records).map(record).collect();
    Ok(serde_json::to_vec(&json!({ "Records": records? }))?)
}

/// An event of ten records, the fourth of which nobody can handle, and the answer to it where the
/// dead-letter queue cannot be reached.
pub(crate) fn poisoned() -> Result<(Vec<u8>, Value)> {
    let mut records = (0..10).map(record).collect::<Result<Vec<Value>>>()?;
    records[3]["body"] = "no event".into();
    let failures = json!([{ "itemIdentifier": message_id(3) }]);
    let event = serde_json::to_vec(&json!({ "Records": records }))?;
    Ok((event, json!({ "batchItemFailures": failures })))
}

fn record(number: u64) -> Result<Value> {
    let message = seal_event("bench", &Placed::new(number, format!("order-{number:06}"), BYTES))?;
    Ok(json!({
        "messageId": message_id(number),
        // As long as SQS makes them.
        "receiptHandle": format!("AQEB{number:0>404}=="),
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1767225600000",
            "SenderId": "AIDAIT2UOQQY3AUEKVGXU",
            "ApproximateFirstReceiveTimestamp": "1767225600012",
        },
        "messageAttributes": {
            "type": {
                "stringValue": Placed::TAG,
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "String",
            },
        },
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "md5OfMessageAttributes": "f9db2a64bb4d6b2c6aae3a4b5b4cb9b4",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:bench-orders",
        "awsRegion": "us-east-1",
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_another_and_all_are_of_one_size() {
        let event: Value = serde_json::from_slice(&event(1_000).unwrap()).unwrap();
        let records = event["Records"].as_array().unwrap();
        let ids: std::collections::BTreeSet<_> =
            records.iter().map(|record| record["messageId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1_000);
        let sizes = records.iter().map(|record| record["receiptHandle"].as_str().unwrap().len());
        assert!(sizes.clone().all(|size| size == 410), "{:?}", sizes.collect::<Vec<_>>());
    }
}
