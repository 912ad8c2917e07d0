//! Provisioning, on the simulator: what is made, and that a second run leaves it alone.
#![allow(clippy::unwrap_used)]

mod support;

use fanfare_aws::{Aws, Change, ProvisionError, Provisioned, deprovision, provision, retire};
use fanfare_core::{Delivery, EventType, HandlerError, Router};
use fanfare_sim::{Fault, Sim};
use fanfare_topology::{Kind, Topology};
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
