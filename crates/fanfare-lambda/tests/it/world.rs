//! A service in memory, and events for it as Lambda writes them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use fanfare_core::{
    Consumer, Context as Cause, DeadLetter, DeadLetterError, DeadLetters, Delivery, Event,
    EventType, HandlerError, IntoEvents, Message, PublishReport, Publisher, Router,
};
use fanfare_lambda::{Context, Function, InvocationError, LambdaEvent, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

/// An order; what happens when it is handled is told by the name.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
pub(crate) struct OrderPlaced {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.delivery.Shipped.v1", topic = "deliveries", key = order_id)]
pub(crate) struct Shipped {
    pub(crate) order_id: String,
}

/// What handlers saw, and ports took.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    begun: Vec<String>,
    done: Vec<String>,
    metadata: Vec<fanfare_core::Metadata>,
    published: Vec<Message>,
    letters: Vec<(String, String)>,
}

impl World {
    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// The orders whose handlers began, in order.
    pub(crate) fn begun(&self) -> Vec<String> {
        self.seen(|seen| seen.begun.clone())
    }

    /// The orders whose handlers succeeded, in order.
    pub(crate) fn done(&self) -> Vec<String> {
        self.seen(|seen| seen.done.clone())
    }

    pub(crate) fn metadata(&self) -> Vec<fanfare_core::Metadata> {
        self.seen(|seen| seen.metadata.clone())
    }

    pub(crate) fn published(&self) -> Vec<Message> {
        self.seen(|seen| seen.published.clone())
    }

    /// Message id and reason of each dead letter.
    pub(crate) fn letters(&self) -> Vec<(String, String)> {
        self.seen(|seen| seen.letters.clone())
    }

    pub(crate) fn consumer(&self) -> Consumer {
        let consumer = Router::new("delivery").on(ship).with_state(self.clone());
        consumer.publisher(self.clone())
    }
}

impl Publisher for World {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.seen(|seen| seen.published.extend_from_slice(batch));
        PublishReport::new(vec![Ok(()); batch.len()])
    }
}

impl DeadLetters for World {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        let put = (letter.delivery.metadata.message_id.clone(), letter.reason.to_string());
        self.seen(|seen| seen.letters.push(put));
        Ok(())
    }
}

async fn ship(world: World, order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
    let id = order.event.order_id;
    world.seen(|seen| {
        seen.begun.push(id.clone());
        seen.metadata.push(order.metadata);
    });
    let (what, number) = id.split_once('-').unwrap_or((&id, "0"));
    match what {
        "fail" => return Err(HandlerError::retry("no driver")),
        "later" => {
            let after = Duration::from_secs(number.parse().unwrap());
            return Err(HandlerError::retry_after(after, "no driver"));
        }
        "reject" => return Err(HandlerError::reject("no address")),
        "panic" => panic!("no road"),
        "slow" => tokio::time::sleep(Duration::from_millis(number.parse().unwrap())).await,
        "stuck" => std::future::pending().await,
        _ => {}
    }
    world.seen(|seen| seen.done.push(id.clone()));
    Ok(Shipped { order_id: id })
}

/// An order in its envelope.
pub(crate) fn placed(order_id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{order_id}-id"), "source": "orders",
        "type": OrderPlaced::TAG, "data": { "order_id": order_id },
    })
}

pub(crate) fn event(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

/// A message of a standard queue, whose id is that of the order.
pub(crate) fn message(order_id: &str) -> Value {
    json!({
        "messageId": order_id,
        "receiptHandle": format!("{order_id}-receipt"),
        "body": placed(order_id).to_string(),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1700000000123",
            "SenderId": "AIDA",
            "ApproximateFirstReceiveTimestamp": "1700000000124",
        },
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:shop-delivery",
        "awsRegion": "us-east-1",
    })
}

/// A message of a FIFO queue.
pub(crate) fn grouped(group: &str, order_id: &str) -> Value {
    let mut message = message(order_id);
    message["attributes"]["MessageGroupId"] = group.into();
    message["eventSourceARN"] = "arn:aws:sqs:us-east-1:000000000000:shop-delivery.fifo".into();
    message
}

/// A record of a stream with this data.
pub(crate) fn record(sequence_number: &str, key: &str, data: &[u8]) -> Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": sequence_number,
            "data": base64(data),
            "approximateArrivalTimestamp": 1_700_000_000.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-000000000006:{sequence_number}"),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/lambda",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/shop-orders",
    })
}

/// A record with an order.
pub(crate) fn order(sequence_number: &str, key: &str, order_id: &str) -> Value {
    record(sequence_number, key, placed(order_id).to_string().as_bytes())
}

/// A message of a topic.
pub(crate) fn notification(order_id: &str) -> Value {
    json!({
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": "arn:aws:sns:us-east-1:000000000000:shop-orders:1",
        "Sns": {
            "Type": "Notification",
            "MessageId": order_id,
            "TopicArn": "arn:aws:sns:us-east-1:000000000000:shop-orders",
            "Subject": null,
            "Message": placed(order_id).to_string(),
            "Timestamp": "2023-11-14T22:13:20.123Z",
            "MessageAttributes": {},
        },
    })
}

pub(crate) fn base64(data: &[u8]) -> String {
    let mut oracle = aws_lambda_events::encodings::Base64Data::default();
    oracle.extend_from_slice(data);
    serde_json::to_value(oracle).unwrap().as_str().unwrap().into()
}

/// An invocation that has so much time.
pub(crate) fn context(time: Duration) -> Context {
    let end = SystemTime::now() + time;
    let mut context = Context::default();
    context.request_id = "request-1".into();
    let deadline = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    context.deadline = u64::try_from(deadline).unwrap();
    context
}

/// Calls a function as the runtime does, with a minute of time.
pub(crate) async fn invoke<S: Source>(
    function: &Function<S>,
    event: Value,
) -> Result<Value, InvocationError> {
    invoke_in(function, event, context(Duration::from_secs(60))).await
}

pub(crate) async fn invoke_in<S: Source>(
    function: &Function<S>,
    event: Value,
    context: Context,
) -> Result<Value, InvocationError> {
    // As text: so is what Lambda sends.
    let event = serde_json::from_str(&event.to_string()).unwrap();
    let response = function.clone().oneshot(LambdaEvent::new(event, context)).await?;
    Ok(serde_json::to_value(response).unwrap())
}

/// The response that reports these.
pub(crate) fn failures(identifiers: &[&str]) -> Value {
    let failures: Vec<_> = identifiers.iter().map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": failures })
}

/// The context in force in a handler of what follows.
pub(crate) fn cause(message: &Message) -> Cause {
    fanfare_core::Opened::open(&message.body).unwrap().envelope().context.clone()
}
