//! Provisioning, on the simulator: what is made, and that a second run leaves it alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use fanfare_aws::{Aws, Change, ProvisionError, Provisioned, deprovision, provision, retire};
use fanfare_core::{Delivery, EventType, HandlerError, Router};
use fanfare_sim::{Fault, Sim};
use fanfare_topology::{Kind, Kinesis, Topology};
use serde::Deserialize;
use support::{ACCOUNT, OrderPlaced};

#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderCancelled.v1", topic = "orders")]
struct OrderCancelled {}

#[derive(EventType, Deserialize)]
#[event(type = "shop.payments.Paid.v1", topic = "payments")]
struct Paid {}

async fn on<E>(_: Delivery<E>) -> Result<(), HandlerError> {
    Ok(())
}

fn shop(kind: Kind, delivery: Router) -> Topology {
    let products: Router = Router::new("products").on(on::<OrderPlaced>);
    Topology::new("shop")
        .topic("orders", kind)
        .topic("payments", kind)
        .service(&products)
        .service(&delivery)
}

fn placed() -> Router {
    Router::new("delivery").on(on::<OrderPlaced>)
}

async fn run(sim: &Sim, topology: &Topology) -> Provisioned {
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    provision(&aws, topology).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_makes_what_is_missing_and_says_so() {
    let report = run(&Sim::new(), &shop(Kind::Standard, placed())).await;
    insta::assert_snapshot!(report, @r"
    created topic shop-orders
    created topic shop-payments
    created queue shop-delivery-dlq
    created queue shop-delivery
    created queue shop-products-dlq
    created queue shop-products
    created subscription of shop-delivery to shop-orders
    created subscription of shop-products to shop-orders
    8 changes, 0 resources as they should be
    ");
}

#[tokio::test(start_paused = true)]
async fn a_second_run_changes_nothing() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let (sim, topology) = (Sim::new(), shop(kind, placed()));
        run(&sim, &topology).await;
        let second = run(&sim, &topology).await;
        assert_eq!((second.changes, second.unchanged), (vec![], 8), "{kind:?}");
        for changing in
            ["CreateQueue", "SetQueueAttributes", "SetSubscriptionAttributes", "Subscribe"]
        {
            let first =
                if changing.starts_with("Set") { 0 } else { 4.min(sim.requests().count(changing)) };
            assert_eq!(sim.requests().count(changing), first, "{changing}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_handler_came_or_went_only_the_filter_policy_changes() {
    let sim = Sim::new();
    run(&sim, &shop(Kind::Standard, placed())).await;
    for router in [placed().on(on::<OrderCancelled>), placed()] {
        let report = run(&sim, &shop(Kind::Standard, router)).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(report, @r"
            updated FilterPolicy of subscription of shop-delivery to shop-orders
            1 changes, 7 resources as they should be
            ");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_is_let_in_and_a_forgotten_one_unsubscribed() {
    let sim = Sim::new();
    run(&sim, &shop(Kind::Standard, placed())).await;
    let report = run(&sim, &shop(Kind::Standard, placed().on(on::<Paid>))).await;
    insta::assert_snapshot!(report, @r"
    updated Policy of queue shop-delivery-dlq
    updated Policy of queue shop-delivery
    created subscription of shop-delivery to shop-payments
    3 changes, 6 resources as they should be
    ");
    let report = run(&sim, &shop(Kind::Standard, placed())).await;
    assert!(report.changes.contains(&Change::Removed {
        resource: "subscription of shop-delivery to shop-payments".into()
    }));
}

#[tokio::test(start_paused = true)]
async fn what_it_makes_is_raw_filtered_restricted_and_has_dead_letter_queues() {
    let sim = Sim::new();
    run(&sim, &shop(Kind::Fifo, placed())).await;
    let (sns, sqs) =
        (aws_sdk_sns::Client::new(&sim.sdk_config()), aws_sdk_sqs::Client::new(&sim.sdk_config()));
    let arn = |service: &str, name: &str| format!("arn:aws:{service}:us-east-1:{ACCOUNT}:{name}");
    let topic = arn("sns", "shop-orders.fifo");
    let subscriptions = sns.list_subscriptions_by_topic().topic_arn(&topic).send().await.unwrap();
    for subscription in subscriptions.subscriptions() {
        let subscription = subscription.subscription_arn().unwrap();
        let answer = sns.get_subscription_attributes().subscription_arn(subscription).send().await;
        let answer = answer.unwrap();
        let attributes = answer.attributes().unwrap();
        assert_eq!(attributes["RawMessageDelivery"], "true");
        assert!(attributes["FilterPolicy"].contains("shop.orders.OrderPlaced."));
        assert!(attributes["RedrivePolicy"].contains("-dlq.fifo"));
    }
    let url = format!("http://sim.localhost/{ACCOUNT}/shop-delivery.fifo");
    let request = sqs.get_queue_attributes().queue_url(url).attribute_names("All".into());
    let answer = request.send().await.unwrap();
    let text = |name: &str| answer.attributes().unwrap()[&name.into()].clone();
    assert!(text("RedrivePolicy").contains(&arn("sqs", "shop-delivery-dlq.fifo")));
    let policy: serde_json::Value = serde_json::from_str(&text("Policy")).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Condition"]["ArnEquals"]["aws:SourceArn"], serde_json::json!([topic]));
    assert_eq!(statement["Principal"]["Service"], "sns.amazonaws.com");
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_is_named_and_a_later_run_goes_on_from_there() {
    let (sim, topology) = (Sim::new(), shop(Kind::Standard, placed()));
    let denied =
        Fault::Refuse { status: 403, code: "AccessDenied".into(), message: "not you".into() };
    sim.inject("CreateQueue", denied);
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    let error = provision(&aws, &topology).await.unwrap_err();
    assert_eq!(error.to_string(), "creating queue shop-delivery-dlq failed: AccessDenied: not you");
    assert!(matches!(error, ProvisionError::Aws { retryable: false, .. }));
    assert_eq!(run(&sim, &topology).await.unchanged, 2, "the topics");
}

#[tokio::test(start_paused = true)]
async fn credentials_of_another_account_are_noticed() {
    let aws = Aws::new(&Sim::new().sdk_config(), "123456789012").unwrap();
    let error = provision(&aws, &shop(Kind::Standard, placed())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "arn:aws:sns:us-east-1:000000000000:shop-orders was created where \
         arn:aws:sns:us-east-1:123456789012:shop-orders was meant: give the account and Region \
         that the credentials belong to"
    );
}

#[tokio::test(start_paused = true)]
async fn throttling_and_broken_connections_are_survived() {
    let (sim, topology) = (Sim::new(), shop(Kind::Standard, placed()));
    for fault in [Fault::Throttle, Fault::BreakConnection] {
        sim.inject("CreateQueue", fault.clone());
        sim.inject("Subscribe", fault);
    }
    assert_eq!(run(&sim, &topology).await.changes.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_can_be_removed_again() {
    let (sim, topology) = (Sim::new(), shop(Kind::Standard, placed()));
    run(&sim, &topology).await;
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    let removed = deprovision(&aws, &topology).await.unwrap();
    assert_eq!(removed.changes.len(), 6, "{removed}");
    assert!(deprovision(&aws, &topology).await.unwrap().changes.is_empty(), "nothing is left");
    assert!(sim.queue_stats("shop-delivery").is_none());
    let early = provision(&aws, &topology).await.unwrap_err();
    assert!(early.is_retryable(), "SQS wants a minute between delete and create: {early}");
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    assert_eq!(
        run(&sim, &topology).await.changes.len(),
        6,
        "the topics were made by the early run"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_leaves_takes_what_is_its_own_and_nothing_else() {
    let (sim, topology) = (Sim::new(), shop(Kind::Standard, placed()));
    run(&sim, &topology).await;
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    let retired = retire(&aws, &topology, "delivery").await.unwrap();
    insta::assert_snapshot!(retired, @r"
    removed subscription of shop-delivery to shop-orders
    removed queue shop-delivery
    removed queue shop-delivery-dlq
    3 changes, 0 resources as they should be
    ");
    let again = retire(&aws, &topology, "delivery").await.unwrap();
    assert!(again.changes.is_empty(), "{again}");
    let products: Router = Router::new("products").on(on::<OrderPlaced>);
    let rest = Topology::new("shop")
        .topic("orders", Kind::Standard)
        .topic("payments", Kind::Standard)
        .service(&products);
    assert!(run(&sim, &rest).await.changes.is_empty(), "the others are as they were");
}

/// Products reads orders from their stream, delivery too, and has a queue for payments besides.
fn streamed(orders: Kinesis) -> Topology {
    let products: Router = Router::new("products").on(on::<OrderPlaced>);
    let delivery: Router = Router::new("delivery").on(on::<OrderPlaced>).on(on::<Paid>);
    Topology::new("shop")
        .topic("orders", orders)
        .topic("payments", Kind::Standard)
        .service(&products)
        .service(&delivery)
}

async fn described(sim: &Sim) -> (String, i32, i32) {
    let kinesis = aws_sdk_kinesis::Client::new(&sim.sdk_config());
    let answer = kinesis.describe_stream_summary().stream_name("shop-orders").send().await.unwrap();
    let summary = answer.stream_description_summary.unwrap();
    let mode = summary.stream_mode_details.unwrap().stream_mode;
    assert_eq!(summary.stream_status.as_str(), "ACTIVE");
    (mode.to_string(), summary.open_shard_count, summary.retention_period_hours)
}

#[tokio::test(start_paused = true)]
async fn a_topic_on_kinesis_gets_its_stream_and_its_readers_dead_letter_queues() {
    let sim = Sim::new();
    let topology = streamed(Kinesis::shards(3).retention_hours(48));
    insta::assert_snapshot!(run(&sim, &topology).await, @r"
    created topic shop-payments
    created stream shop-orders
    created queue shop-delivery-dlq
    created queue shop-delivery
    created queue shop-products-dlq
    created subscription of shop-delivery to shop-payments
    6 changes, 0 resources as they should be
    ");
    assert_eq!(described(&sim).await, ("PROVISIONED".into(), 3, 48), "and active");
    let second = run(&sim, &topology).await;
    assert_eq!((second.changes, second.unchanged), (vec![], 6));
    assert_eq!(sim.requests().count("CreateStream"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_demand_is_one() {
    let sim = Sim::new();
    run(&sim, &streamed(Kinesis::on_demand())).await;
    let (mode, _, retention) = described(&sim).await;
    assert_eq!((mode.as_str(), retention), ("ON_DEMAND", 24));
    assert!(run(&sim, &streamed(Kinesis::on_demand())).await.changes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_retention_is_set_longer_and_shorter() {
    let sim = Sim::new();
    run(&sim, &streamed(Kinesis::shards(1))).await;
    for hours in [72, 24] {
        let report = run(&sim, &streamed(Kinesis::shards(1).retention_hours(hours))).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(report, @r"
            updated RetentionPeriodHours of stream shop-orders
            1 changes, 5 resources as they should be
            ");
        }
        let (_, _, retention) = described(&sim).await;
        assert_eq!(retention, i32::try_from(hours).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn another_mode_is_set_and_shards_are_left_to_whoever_operates_the_stream() {
    let sim = Sim::new();
    run(&sim, &streamed(Kinesis::shards(2))).await;
    assert!(run(&sim, &streamed(Kinesis::shards(4))).await.changes.is_empty());
    assert_eq!(described(&sim).await.1, 2);
    for (settings, mode) in
        [(Kinesis::on_demand(), "ON_DEMAND"), (Kinesis::shards(4), "PROVISIONED")]
    {
        let report = run(&sim, &streamed(settings)).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(report, @r"
            updated StreamMode of stream shop-orders
            1 changes, 5 resources as they should be
            ");
        }
        assert_eq!(described(&sim).await.0, mode);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_another_account_is_noticed() {
    let aws = Aws::new(&Sim::new().sdk_config(), "123456789012").unwrap();
    let products: Router = Router::new("products").on(on::<OrderPlaced>);
    let topology = Topology::new("shop").topic("orders", Kinesis::shards(1)).service(&products);
    let error = provision(&aws, &topology).await.unwrap_err();
    let expected = "arn:aws:kinesis:us-east-1:123456789012:stream/shop-orders".to_string();
    let actual = "arn:aws:kinesis:us-east-1:000000000000:stream/shop-orders".to_string();
    assert_eq!(error, ProvisionError::OtherAccount { expected, actual });
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_with_its_system_and_comes_again() {
    let (sim, topology) = (Sim::new(), streamed(Kinesis::shards(1)));
    run(&sim, &topology).await;
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    let removed = deprovision(&aws, &topology).await.unwrap();
    insta::assert_snapshot!(removed, @r"
    removed topic shop-payments
    removed stream shop-orders
    removed queue shop-delivery
    removed queue shop-delivery-dlq
    removed queue shop-products-dlq
    5 changes, 0 resources as they should be
    ");
    // It is still being deleted when this begins, which waits for the end of that.
    let only_stream = Topology::new("shop").topic("orders", Kinesis::shards(2));
    assert_eq!(run(&sim, &only_stream).await.changes.len(), 1);
    assert_eq!(described(&sim).await.1, 2);
    deprovision(&aws, &only_stream).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(deprovision(&aws, &topology).await.unwrap().changes.is_empty(), "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_takes_its_dead_letter_queue_and_leaves_the_stream() {
    let (sim, topology) = (Sim::new(), streamed(Kinesis::shards(1)));
    run(&sim, &topology).await;
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    insta::assert_snapshot!(retire(&aws, &topology, "products").await.unwrap(), @r"
    removed queue shop-products-dlq
    1 changes, 0 resources as they should be
    ");
    insta::assert_snapshot!(retire(&aws, &topology, "delivery").await.unwrap(), @r"
    removed subscription of shop-delivery to shop-payments
    removed queue shop-delivery
    removed queue shop-delivery-dlq
    3 changes, 0 resources as they should be
    ");
    assert_eq!(described(&sim).await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_moves_to_kinesis_leaves_its_queues_with_what_is_in_them() {
    let sim = Sim::new();
    let products: Router = Router::new("products").on(on::<OrderPlaced>);
    let on = |orders: fanfare_topology::Binding| {
        Topology::new("shop").topic("orders", orders).service(&products)
    };
    run(&sim, &on(Kind::Standard.into())).await;
    insta::assert_snapshot!(run(&sim, &on(Kinesis::shards(1).into())).await, @r"
    created stream shop-orders
    1 changes, 1 resources as they should be
    ");
    assert!(sim.queue_stats("shop-products").is_some());
    // And back again: its dead-letter queue is the same all the time.
    insta::assert_snapshot!(run(&sim, &on(Kind::Standard.into())).await, @"0 changes, 4 resources as they should be");
}

/// The simulator with a stream that has been set to spread its records over its shards, which is not
/// simulated, until that is undone.
#[derive(Debug)]
struct Spread {
    sim: SharedHttpConnector,
    undone: Arc<AtomicBool>,
}

impl HttpConnector for Spread {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let action = request.headers().get("x-amz-target").unwrap_or_default().to_string();
        if action.ends_with(".UpdateStreamRecordDistributionStrategy") {
            let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
            assert!(
                body.contains(r#""RecordDistributionStrategy":"USER_PARTITION_KEY""#),
                "{body}"
            );
            self.undone.store(true, Ordering::Relaxed);
            let answer = HttpResponse::new(200.try_into().unwrap(), SdkBody::empty());
            return HttpConnectorFuture::ready(Ok(answer));
        }
        let answer = self.sim.call(request);
        let spread =
            action.ends_with(".DescribeStreamSummary") && !self.undone.load(Ordering::Relaxed);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            if spread {
                let body = String::from_utf8(answer.body().bytes().unwrap().to_vec()).unwrap();
                let spread = r#""RecordDistributionStrategy":"AUTO","StreamName""#;
                *answer.body_mut() = SdkBody::from(body.replace(r#""StreamName""#, spread));
            }
            Ok(answer)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_set_to_spread_its_records_goes_by_their_keys_again() {
    let (sim, topology) = (Sim::new(), streamed(Kinesis::on_demand()));
    run(&sim, &topology).await;
    let (simulated, undone) = (sim.http_client(), Arc::default());
    let client = http_client_fn(move |settings, components| {
        let (sim, undone) = (simulated.http_connector(settings, components), Arc::clone(&undone));
        SharedHttpConnector::new(Spread { sim, undone })
    });
    let config = sim.sdk_config().to_builder().http_client(client).build();
    let aws = Aws::new(&config, ACCOUNT).unwrap();
    insta::assert_snapshot!(provision(&aws, &topology).await.unwrap(), @r"
    updated RecordDistributionStrategy of stream shop-orders
    1 changes, 5 resources as they should be
    ");
    assert!(provision(&aws, &topology).await.unwrap().changes.is_empty());
}
