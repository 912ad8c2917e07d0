//! The services as functions, called with Lambda's events in this process: on PostgreSQL, with the
//! simulator as AWS.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};
use base64::{Engine, prelude::BASE64_STANDARD};
use fanfare::{
    aws::{self, Aws},
    lambda::{Context, Event, LambdaEvent, Task},
    sim::Sim,
};
use fanfare_testkit::postgres::{Postgres, TestDatabase};
use serde_json::{Value, json};
use shop::{
    database::Schemas,
    lambda::{Settings, consumer, migrations, relay},
    service::{SERVICES, Service},
    services::{
        delivery::Deliveries,
        orders::{OrderBook, OrderPlaced, Orders, Status},
        products::Stock,
    },
    topology::{OrdersOn, topology},
};
use sqlx::Postgres as Sqlx;
use tower::ServiceExt;

const SYSTEM: &str = "shop";

/// How long an invocation may take: far more than it needs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A shop that runs on functions alone.
struct Shop {
    _database: TestDatabase,
    home: Schemas,
    settings: Settings,
    sim: Sim,
    config: SdkConfig,
}

impl Shop {
    /// A shop with its tables and its place on AWS; none where there is no PostgreSQL.
    async fn new(orders_on: OrdersOn) -> Option<Self> {
        let database = Postgres::from_env().unwrap()?.database().await.unwrap();
        let settings = Settings {
            system: SYSTEM.into(),
            orders_on,
            account: "000000000000".into(),
            database: database.url().into(),
        };
        let home = Schemas::at(database.url(), SYSTEM, false).unwrap();
        let sim = Sim::new();
        let config = sim.sdk_config();
        let aws = Aws::new(&config, &settings.account).unwrap();
        aws::provision(&aws, &topology(SYSTEM, orders_on, &SERVICES)).await.unwrap();
        let shop = Shop { _database: database, home, settings, sim, config };
        for _ in 0..2 {
            let answer = invoke_task(migrations(&shop.settings)).await;
            assert_eq!(answer, json!({ "migrated": SERVICES }));
        }
        Some(shop)
    }

    async fn service(&self, name: &str) -> Service<Sqlx> {
        Service::open(&self.home, name).await.unwrap()
    }

    /// Places an order, and has the relay's function publish it.
    async fn place(&self, order_id: &str, product_id: &str, quantity: u32) {
        let Service { store, outbox, .. } = self.service("orders").await;
        let (order_id, product_id) = (order_id.into(), product_id.into());
        let order = OrderPlaced { order_id, product_id, quantity };
        OrderBook::new(store, outbox).place(&order).await.unwrap().unwrap();
        let answer = invoke_task(relay(&self.settings, &self.config, "orders").unwrap()).await;
        let placed_and_paid = json!({ "published": 2, "waiting": 0, "held": 0, "forgotten": 0 });
        assert_eq!(answer, placed_and_paid);
    }

    /// Invokes the function of a service; gives the identifiers that it reports as failed.
    async fn invoke(&self, service: &str, event: &Value) -> Vec<String> {
        let function = consumer(&self.settings, &self.config, service).unwrap();
        let event: Event = serde_json::from_value(event.clone()).unwrap();
        let response = function.oneshot(LambdaEvent::new(event, context())).await.unwrap();
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    /// What an event source mapping makes of the messages that are in a queue now.
    async fn event_of_queue(&self, service: &str) -> Value {
        let sqs = aws_sdk_sqs::Client::new(&self.config);
        let url = sqs.get_queue_url().queue_name(format!("{SYSTEM}-{service}")).send().await;
        let received = sqs
            .receive_message()
            .queue_url(url.unwrap().queue_url.unwrap())
            .max_number_of_messages(10)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .unwrap();
        let record = |message: aws_sdk_sqs::types::Message| {
            let system = message.attributes.unwrap_or_default();
            let system = system.iter().map(|(name, value)| (name.as_str().to_owned(), value));
            let attributes = message.message_attributes.unwrap_or_default();
            let attributes = attributes.iter().map(|(name, value)| (name, attribute(value)));
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": system.collect::<std::collections::BTreeMap<_, _>>(),
                "messageAttributes": attributes.collect::<std::collections::BTreeMap<_, _>>(),
                "md5OfBody": message.md5_of_body,
                "eventSource": "aws:sqs",
                "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{SYSTEM}-{service}"),
                "awsRegion": "us-east-1",
            })
        };
        let records: Vec<Value> =
            received.messages.unwrap_or_default().into_iter().map(record).collect();
        json!({ "Records": records })
    }

    /// What one makes of all records in the stream of orders.
    fn event_of_stream(&self) -> Value {
        let records = self.sim.stream_records("shop-orders").into_iter().map(|record| {
            let arrival = record.arrival.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            json!({
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": record.sequence_number,
                    "data": BASE64_STANDARD.encode(&record.data),
                    "approximateArrivalTimestamp": arrival.as_secs_f64(),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": format!("{}:{}", record.shard_id, record.sequence_number),
                "eventName": "aws:kinesis:record",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/shop-orders",
            })
        });
        json!({ "Records": records.collect::<Vec<_>>() })
    }

    /// How often the stock was reduced for an order, and by how much.
    async fn taken(&self, order_id: &str) -> (i64, i64) {
        let products = self.service("products").await;
        let mut stock = products.store.read().await.unwrap();
        stock.taken(order_id).await.unwrap()
    }

    /// How many events wait in the outbox of a service.
    async fn waiting(&self, service: &str) -> u64 {
        let backlog = self.service(service).await.outbox.backlog().await.unwrap();
        backlog.iter().map(|shard| shard.events).sum()
    }
}

fn attribute(value: &MessageAttributeValue) -> Value {
    json!({ "dataType": value.data_type, "stringValue": value.string_value })
}

fn context() -> Context {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut context = Context::default();
    context.deadline = u64::try_from((now + TIMEOUT).as_millis()).unwrap();
    context
}

async fn invoke_task(task: Task) -> Value {
    let event = serde_json::from_value(json!({})).unwrap();
    task.oneshot(LambdaEvent::new(event, context())).await.unwrap()
}

fn records(event: &Value) -> usize {
    event["Records"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_functions_effects_happen_once_though_its_event_comes_twice_and_what_follows_is_published()
 {
    let Some(shop) = Shop::new(OrdersOn::Sns).await else { return };
    shop.place("o-1", "mug", 3).await;
    for (service, recorded) in [("products", "StockReduced"), ("delivery", "DeliveryStarted")] {
        let event = shop.event_of_queue(service).await;
        assert_eq!(records(&event), 2);
        for _ in 0..2 {
            assert!(shop.invoke(service, &event).await.is_empty());
            assert_eq!(shop.waiting(service).await, 0, "{recorded} has not left the outbox");
        }
    }
    assert_eq!(shop.taken("o-1").await, (1, 3));
    let delivery = shop.service("delivery").await;
    assert_eq!(delivery.store.read().await.unwrap().of("o-1").await.unwrap(), 1);

    // What delivery recorded reached the queue of orders, and only once.
    let event = shop.event_of_queue("orders").await;
    assert_eq!(records(&event), 1);
    assert!(shop.invoke("orders", &event).await.is_empty());
    let orders = shop.service("orders").await;
    let status = orders.store.read().await.unwrap().status("o-1").await.unwrap();
    assert_eq!(status, Some(Status::OnItsWay { delivery_id: "d-1".into() }));
    // And what orders made of it is on its topic again.
    assert_eq!(records(&shop.event_of_queue("products").await), 1);
}

#[tokio::test]
async fn a_message_that_fails_is_reported_alone_and_one_that_is_rejected_is_parked() {
    let Some(shop) = Shop::new(OrdersOn::Sns).await else { return };
    shop.place("o-1", "mug", 1).await;
    shop.place("o-2", "kettle", 1).await;
    shop.place("o-3", "no such thing", 1).await;
    let event = shop.event_of_queue("products").await;
    assert_eq!(records(&event), 6);
    let failed = shop.invoke("products", &event).await;
    let is_the_kettle = |record: &&Value| {
        let body = record["body"].as_str().unwrap();
        body.contains("OrderPlaced") && body.contains("kettle")
    };
    let records = event["Records"].as_array().unwrap();
    let kettle = records.iter().find(is_the_kettle).unwrap();
    assert_eq!(failed, [kettle["messageId"].as_str().unwrap()]);
    assert_eq!(shop.taken("o-1").await, (1, 1));
    assert_eq!(shop.sim.queue_stats("shop-products-dlq").unwrap().visible, 1);

    // Received for the second time, it is counted.
    let mut again = kettle.clone();
    again["attributes"]["ApproximateReceiveCount"] = json!("2");
    assert!(shop.invoke("products", &json!({ "Records": [again] })).await.is_empty());
    assert_eq!(shop.taken("o-2").await, (1, 1));
}

#[tokio::test]
async fn a_function_reads_a_stream_as_it_reads_a_queue() {
    let Some(shop) = Shop::new(OrdersOn::Kinesis).await else { return };
    shop.place("o-1", "mug", 3).await;
    shop.place("o-2", "teapot", 1).await;
    let event = shop.event_of_stream();
    assert!(records(&event) > 0);
    for _ in 0..2 {
        for service in ["products", "delivery", "recommendation"] {
            assert!(shop.invoke(service, &event).await.is_empty());
            assert_eq!(shop.waiting(service).await, 0, "{service}");
        }
    }
    assert_eq!((shop.taken("o-1").await, shop.taken("o-2").await), ((1, 3), (1, 1)));
    let started = shop.event_of_queue("orders").await;
    assert_eq!(records(&started), 2, "each order has one delivery");
    assert!(shop.invoke("orders", &started).await.is_empty());
    assert_eq!(shop.waiting("orders").await, 0);
}

/// What the start of a function costs is paid with each cold start, and nobody may be there yet.
#[tokio::test]
async fn nobody_is_asked_before_the_first_event() {
    let sim = Sim::new();
    let settings = Settings {
        system: SYSTEM.into(),
        orders_on: OrdersOn::Sns,
        account: "000000000000".into(),
        database: "postgres://nobody@127.0.0.1:1/nowhere".into(),
    };
    for service in SERVICES {
        consumer(&settings, &sim.sdk_config(), service).unwrap();
        relay(&settings, &sim.sdk_config(), service).unwrap();
    }
    assert_eq!(sim.requests().total(), 0);
}
