//! What AWS's own types write is what is read.

use std::collections::BTreeMap;

use aws_lambda_events::{kinesis::KinesisEvent, sns::SnsEvent, sqs::SqsEvent};
use fanfare_core::{Attribute, DeadLetter, DeadLetterError, DeadLetters, RawDelivery};
use fanfare_lambda::any;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::world::{World, base64, event, failures, invoke, message, notification, order};

/// Keeps the deliveries themselves.
#[derive(Clone, Default)]
struct Kept(std::sync::Arc<std::sync::Mutex<Vec<RawDelivery>>>);

impl DeadLetters for Kept {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        self.0.lock().unwrap().push(letter.delivery.clone());
        Ok(())
    }
}

/// What becomes of an event that none of handlers can read, read through AWS's type.
async fn through<T: Serialize + DeserializeOwned>(event: Value) -> Vec<RawDelivery> {
    let oracle: T = serde_json::from_value(event).unwrap();
    let kept = Kept::default();
    let function = any(World::default().consumer()).dead_letters(kept.clone());
    let response = invoke(&function, serde_json::to_value(oracle).unwrap()).await.unwrap();
    assert_eq!(response, failures(&[]));
    std::mem::take(&mut *kept.0.lock().unwrap())
}

fn attributes() -> BTreeMap<String, Attribute> {
    let text = |data_type: &str, value: &str| Attribute::Text {
        data_type: data_type.into(),
        value: value.into(),
    };
    let binary = Attribute::Binary { data_type: "Binary.png".into(), value: vec![0, 255] };
    let all = [
        ("text", text("String", "x")),
        ("number", text("Number.int", "7")),
        ("list", text("String.Array", r#"["a","b"]"#)),
        ("bytes", binary),
    ];
    all.map(|(name, attribute)| (name.into(), attribute)).into()
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_queue_with_all_shapes_of_attributes() {
    let mut came = message("m-1");
    came["body"] = "no event".into();
    came["messageAttributes"] = json!({
        "text": { "stringValue": "x", "stringListValues": [], "binaryListValues": [], "dataType": "String" },
        "number": { "stringValue": "7", "stringListValues": [], "binaryListValues": [], "dataType": "Number.int" },
        "list": { "stringValue": r#"["a","b"]"#, "dataType": "String.Array" },
        "bytes": { "binaryValue": base64(&[0, 255]), "stringListValues": [], "binaryListValues": [], "dataType": "Binary.png" },
    });
    let delivery = through::<SqsEvent>(event([came])).await.remove(0);
    assert_eq!((&*delivery.body, &*delivery.metadata.message_id), ("no event", "m-1"));
    assert_eq!(delivery.attributes, attributes());
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_topic_with_all_shapes_of_attributes() {
    let mut came = notification("m-1");
    let rest = json!({
        "Message": "no event",
        "SignatureVersion": "1", "Signature": "x", "SigningCertUrl": "x", "UnsubscribeUrl": "x",
        "MessageAttributes": {
            "text": { "Type": "String", "Value": "x" },
            "number": { "Type": "Number.int", "Value": "7" },
            "list": { "Type": "String.Array", "Value": r#"["a","b"]"# },
            "bytes": { "Type": "Binary.png", "Value": base64(&[0, 255]) },
        },
    });
    came["Sns"].as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let delivery = through::<SnsEvent>(event([came])).await.remove(0);
    assert_eq!((&*delivery.body, &*delivery.metadata.message_id), ("no event", "m-1"));
    assert_eq!(delivery.metadata.sent_at.unwrap().as_millisecond(), 1_700_000_000_123);
    assert_eq!(delivery.attributes, attributes());
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_stream() {
    let mut came = order("7", "k", "a");
    came["kinesis"]["data"] = base64(b"no event").into();
    let delivery = through::<KinesisEvent>(event([came])).await.remove(0);
    let metadata = &delivery.metadata;
    assert_eq!((&*delivery.body, &*metadata.message_id), ("no event", "shardId-000000000006/7"));
    assert_eq!(metadata.group.as_deref(), Some("k"));
    assert_eq!(metadata.sent_at.unwrap().as_millisecond(), 1_700_000_000_123);
}
