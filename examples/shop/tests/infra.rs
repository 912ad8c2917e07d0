//! The shop's templates: as they are checked in, and on LocalStack.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use std::{path::Path, process::Command};

use fanfare::{
    aws::{Aws, deprovision, provision},
    topology::{
        Kind, Topology,
        deploy::{Deployment, QueueSettings},
    },
};
use fanfare_testkit::localstack::{ACCOUNT, LocalStack};
use shop::{
    infra::{EXPORT, FUNCTIONS, Put, Stack, deployment, files},
    service::SERVICES,
    topology::{OrdersOn, topology},
};

#[test]
fn the_templates_that_are_checked_in_are_those_of_the_topology() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra");
    for file in files().unwrap() {
        let there = std::fs::read_to_string(folder.join(file.name)).unwrap_or_default();
        assert!(there == file.text, "infra/{} is not up to date: run `{EXPORT}`", file.name);
    }
}

#[test]
fn templates_are_exported_to_any_folder_and_linted() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("new");
    shop(&["infra", "export", "--to", to.to_str().unwrap()]);
    for file in files().unwrap() {
        assert!(std::fs::read_to_string(to.join(file.name)).unwrap() == file.text, "{}", file.name);
    }
    let text = shop(&["--orders-on", "kinesis", "infra", "lint"]);
    assert!(text.contains("nothing is wrong"), "{text}");
}

/// What a function's role lets it publish.
fn publishes(template: &serde_json::Value, role: &str) -> Vec<serde_json::Value> {
    let policy = &template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"];
    let statements = policy["Statement"].as_array().unwrap().iter();
    let publishing = |statement: &&serde_json::Value| {
        let actions = statement["Action"].to_string();
        actions.contains("sns:Publish") || actions.contains("kinesis:PutRecord")
    };
    statements.filter(publishing).cloned().collect()
}

#[test]
fn who_records_events_may_publish_what_its_relay_may() {
    for orders in [OrdersOn::Sns, OrdersOn::Kinesis] {
        let template = deployment("shop", orders).cloudformation().unwrap();
        for service in ["Orders", "Products", "Delivery"] {
            let of_relay = publishes(template.value(), &format!("{service}RelayFunctionRole"));
            let of_consumer = publishes(template.value(), &format!("{service}FunctionRole"));
            assert!(!of_relay.is_empty());
            assert_eq!(of_relay, of_consumer, "{service}");
        }
        assert!(publishes(template.value(), "RecommendationFunctionRole").is_empty());
    }
}

#[test]
fn nothing_is_wrong_with_the_shop() {
    for orders in [OrdersOn::Sns, OrdersOn::Kinesis] {
        assert_eq!(deployment("shop", orders).lint(), []);
        assert_eq!(deployment("shop", orders).encrypted().lint(), []);
    }
}

fn unique(what: &str) -> String {
    format!("infra-{what}-{}", std::process::id())
}

/// What carries the messages of these services, without functions.
async fn put(stack: &Stack, topology: &Topology) -> Put {
    let deployment = Deployment::new(topology);
    stack.put(&deployment.cloudformation().unwrap(), &[]).await.unwrap()
}

/// The template and provisioning agree if the one finds nothing to do after the other.
async fn as_provisioned(localstack: &LocalStack, topology: &Topology) {
    let aws = Aws::new(&localstack.sdk_config(), ACCOUNT).unwrap();
    let report = provision(&aws, topology).await.unwrap();
    assert_eq!(report.changes, [], "{report}");
    assert!(report.unchanged > 0);
}

async fn nothing_is_left(localstack: &LocalStack, system: &str) {
    let queues = localstack.sqs().list_queues().queue_name_prefix(system).send().await.unwrap();
    assert_eq!(queues.queue_urls(), [] as [String; 0]);
    let topics = localstack.sns().list_topics().into_paginator().items().send();
    let topics: Vec<_> = topics.try_collect().await.unwrap();
    let left =
        topics.iter().filter_map(|topic| topic.topic_arn()).filter(|arn| arn.contains(system));
    assert_eq!(left.collect::<Vec<_>>(), [] as [&str; 0]);
}

async fn is_created_changed_and_deleted(orders: OrdersOn) {
    let Some(localstack) = LocalStack::from_env().unwrap() else { return };
    let system = unique(&orders.to_string());
    let stack = Stack::new(&localstack.sdk_config(), &system);

    let before = topology(&system, orders, &SERVICES[..3]);
    assert_eq!(put(&stack, &before).await, Put::Created);
    as_provisioned(&localstack, &before).await;
    assert_eq!(put(&stack, &before).await, Put::Unchanged);

    // A service more, and a topic.
    let after = topology(&system, orders, &SERVICES).topic("returns", Kind::Fifo);
    assert_eq!(put(&stack, &after).await, Put::Changed);
    as_provisioned(&localstack, &after).await;

    // And fewer: not one that came by a change, because LocalStack 4.9 leaves those behind when it
    // deletes the stack.
    let fewer = topology(&system, orders, &SERVICES[..2]);
    assert_eq!(put(&stack, &fewer).await, Put::Changed);
    as_provisioned(&localstack, &fewer).await;

    stack.delete().await.unwrap();
    nothing_is_left(&localstack, &system).await;
    stack.delete().await.unwrap();
}

#[tokio::test]
async fn a_stack_of_topics_and_queues_is_created_changed_and_deleted() {
    is_created_changed_and_deleted(OrdersOn::Sns).await;
}

#[tokio::test]
async fn a_stack_with_a_stream_is_created_changed_and_deleted() {
    is_created_changed_and_deleted(OrdersOn::Kinesis).await;
}

/// What a person sees.
fn shop(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(arguments).env_remove("AWS_ACCOUNT_ID").env_remove("AWS_REGION");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn all_services_are_deployed_as_functions_changed_and_removed() {
    let Some(localstack) = LocalStack::from_env().unwrap() else { return };
    let (system, code) = (unique("functions"), tempfile::tempdir().unwrap());
    // Nothing is sent to them: what they would do does not matter.
    for name in FUNCTIONS {
        std::fs::create_dir(code.path().join(name)).unwrap();
        std::fs::write(code.path().join(name).join("bootstrap"), "#!/bin/sh\nexit 1\n").unwrap();
    }
    let on = ["--on", localstack.url(), "--system", &system];
    let deploy = |database: &str| {
        let code = code.path().to_str().unwrap();
        let infra = ["--database", database, "infra", "deploy", "--code", code];
        shop(&[&on[..], &infra].concat())
    };
    let first = deploy("postgres://one@127.0.0.1/shop");
    assert!(first.contains("created"), "{first}");
    let topology = topology(&system, OrdersOn::Sns, &SERVICES);
    as_provisioned(&localstack, &topology).await;
    let again = deploy("postgres://one@127.0.0.1/shop");
    assert!(again.contains("is as it should be"), "{again}");
    let other = deploy("postgres://two@127.0.0.1/shop");
    assert!(other.contains("changed"), "{other}");
    as_provisioned(&localstack, &topology).await;
    let gone = shop(&[&on[..], &["infra", "delete"]].concat());
    assert!(gone.contains("is gone"), "{gone}");
    nothing_is_left(&localstack, &system).await;
}

#[tokio::test]
async fn a_stack_that_fails_says_what_failed_and_why() {
    let Some(localstack) = LocalStack::from_env().unwrap() else { return };
    let system = unique("taken");
    let there = Stack::new(&localstack.sdk_config(), &format!("{system}-before"));
    let stack = Stack::new(&localstack.sdk_config(), &system);
    let topology = topology(&system, OrdersOn::Sns, &["products"]);
    assert_eq!(put(&there, &topology).await, Put::Created);

    // The queue's name is taken, by one with other settings.
    let settings = QueueSettings::new().max_receives(7);
    let template = Deployment::new(&topology).queues("products", settings);
    let template = template.cloudformation().unwrap();
    let error = stack.put(&template, &[]).await.unwrap_err().to_string();
    assert!(error.contains("\n- ProductsQueue: "), "{error}");
    let again = stack.put(&template, &[]).await.unwrap_err().to_string();
    assert!(again.contains("delete it first"), "{again}");

    // LocalStack cannot delete what it had not come to.
    let _ = stack.delete().await;
    there.delete().await.unwrap();
    let aws = Aws::new(&localstack.sdk_config(), ACCOUNT).unwrap();
    deprovision(&aws, &topology).await.unwrap();
}
