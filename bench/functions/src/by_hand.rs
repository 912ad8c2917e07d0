//! A consumer as one writes it by hand: each record is decoded alone, what failed is reported, and what
//! can never be handled goes to the dead-letter queue with its reason.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::MessageAttributeValue;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;

const TAG: &str = "bench.orders.OrderPlaced.v1";

/// A CloudEvent with an order in it.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    tag: String,
    data: Placed,
}

#[derive(Deserialize)]
struct Placed {
    event: u64,
    key: String,
    padding: String,
}

enum Failure {
    Retry,
    Reject(String),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let dead_letters = std::env::var("DEAD_LETTERS").unwrap_or_default();
    let handler = |event: LambdaEvent<SqsEvent>| consume(&sqs, &dead_letters, event);
    lambda_runtime::run(service_fn(handler)).await
}

async fn consume(
    sqs: &aws_sdk_sqs::Client,
    dead_letters: &str,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    for record in event.payload.records {
        let result = match handle(&record).await {
            Err(Failure::Reject(reason)) => reject(sqs, dead_letters, &record, &reason).await,
            other => other,
        };
        if result.is_err() {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = record.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    Ok(response)
}

async fn handle(record: &SqsMessage) -> Result<(), Failure> {
    let body = record.body.as_deref().unwrap_or_default();
    let envelope: Envelope =
        serde_json::from_str(body).map_err(|error| Failure::Reject(error.to_string()))?;
    if envelope.tag != TAG {
        return Err(Failure::Reject(format!("{} is unknown", envelope.tag)));
    }
    place(&envelope.id, envelope.data).await.map_err(|()| Failure::Retry)
}

/// What is measured is what is around it.
async fn place(id: &str, order: Placed) -> Result<(), ()> {
    std::hint::black_box((id, order.event, order.key, order.padding));
    Ok(())
}

async fn reject(
    sqs: &aws_sdk_sqs::Client,
    dead_letters: &str,
    record: &SqsMessage,
    reason: &str,
) -> Result<(), Failure> {
    let reason = MessageAttributeValue::builder().data_type("String").string_value(reason).build();
    sqs.send_message()
        .queue_url(dead_letters)
        .message_body(record.body.as_deref().unwrap_or_default())
        .message_attributes("reason", reason.map_err(|_| Failure::Retry)?)
        .send()
        .await
        .map_err(|_| Failure::Retry)?;
    Ok(())
}
