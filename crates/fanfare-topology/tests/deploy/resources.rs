//! Properties that every template has.

use std::collections::BTreeSet;

use fanfare_topology::deploy::Template;
use serde_json::{Value, json};

use super::system::{deployment, objects, of_kind, resources};

fn templates() -> [Template; 4] {
    let (plain, encrypted) = (deployment(), deployment().encrypted());
    [
        plain.cloudformation().unwrap(),
        plain.sam().unwrap(),
        encrypted.cloudformation().unwrap(),
        encrypted.sam().unwrap(),
    ]
}

#[test]
fn every_queue_has_a_dead_letter_queue_behind_it_and_a_policy() {
    for template in templates() {
        let queues = of_kind(&template, "AWS::SQS::Queue");
        let policies = of_kind(&template, "AWS::SQS::QueuePolicy");
        assert_eq!(queues.len(), 7);
        for (id, queue) in &queues {
            let target = &queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0];
            if id.contains("DeadLetter") {
                assert!(target.is_null(), "{id}");
            } else {
                let behind = &queues[target.as_str().unwrap()];
                assert_eq!(behind["FifoQueue"], queue["FifoQueue"], "{id}");
            }
            // Nothing but its own service sends to the one that is behind a stream.
            let guarded = policies.values().any(|p| p["Queues"] == json!([{ "Ref": id }]));
            assert_eq!(guarded, id != "CountsDeadLetterQueue", "{id}");
        }
    }
}

#[test]
fn topics_may_send_only_what_the_service_subscribed_to() {
    let [template, ..] = templates();
    let policies = of_kind(&template, "AWS::SQS::QueuePolicy");
    let sources = |id: &str| {
        let statement = &policies[id]["PolicyDocument"]["Statement"][0];
        statement["Condition"]["ArnEquals"]["aws:SourceArn"].clone()
    };
    assert_eq!(sources("BooksQueuePolicy"), json!([{ "Ref": "OrdersTopic" }]));
    assert_eq!(sources("BooksFifoQueuePolicy"), json!([{ "Ref": "PaymentsTopic" }]));
    assert_eq!(sources("BooksFifoDeadLetterQueuePolicy"), json!([{ "Ref": "PaymentsTopic" }]));
}

#[test]
fn every_subscription_is_raw_and_filtered_and_has_a_dead_letter_queue() {
    for template in templates() {
        let subscriptions = of_kind(&template, "AWS::SNS::Subscription");
        assert_eq!(subscriptions.len(), 3);
        for (id, subscription) in subscriptions {
            assert_eq!(subscription["RawMessageDelivery"], true, "{id}");
            assert!(subscription["FilterPolicy"]["type"][0]["prefix"].is_string(), "{id}");
            let queue = subscription["Endpoint"]["Fn::GetAtt"][0].as_str().unwrap();
            let behind = subscription["RedrivePolicy"]["deadLetterTargetArn"].clone();
            let queues = of_kind(&template, "AWS::SQS::Queue");
            assert_eq!(queues[queue]["RedrivePolicy"]["deadLetterTargetArn"], behind, "{id}");
        }
    }
}

#[test]
fn every_mapping_reports_failures_and_is_bounded() {
    for template in templates() {
        let mappings = of_kind(&template, "AWS::Lambda::EventSourceMapping");
        assert_eq!(mappings.len(), 5);
        for (id, mapping) in mappings {
            assert_eq!(
                mapping["FunctionResponseTypes"],
                json!(["ReportBatchItemFailures"]),
                "{id}"
            );
            let source = mapping["EventSourceArn"]["Fn::GetAtt"][0].as_str().unwrap();
            if source.ends_with("Stream") {
                assert!(mapping["MaximumRetryAttempts"].as_i64().unwrap() >= 0, "{id}");
                assert_eq!(mapping["MaximumRecordAgeInSeconds"], 43_200, "{id}");
                assert_eq!(mapping["BisectBatchOnFunctionError"], true, "{id}");
                assert_eq!(mapping["StartingPosition"], "TRIM_HORIZON", "{id}");
                let target = &mapping["DestinationConfig"]["OnFailure"]["Destination"];
                let target = target["Fn::GetAtt"][0].as_str().unwrap();
                assert!(target.ends_with("DeadLetterQueue") && !target.contains("Fifo"), "{id}");
            } else {
                assert!(mapping["ScalingConfig"]["MaximumConcurrency"].is_u64(), "{id}");
                assert!(mapping["DestinationConfig"].is_null(), "{id}: SQS mappings have none");
            }
        }
    }
}

#[test]
fn everything_that_is_referred_to_is_there_and_every_parameter_is_used() {
    const PSEUDO: [&str; 3] = ["AWS::AccountId", "AWS::NoValue", "AWS::Region"];
    for template in templates() {
        let value = template.value();
        let parameters = value["Parameters"].as_object().unwrap();
        let resources = resources(&template);
        let (mut used, mut conditions) = (BTreeSet::new(), BTreeSet::new());
        objects(value, &mut |map| {
            if let Some(Value::String(id)) = map.get("Ref") {
                let there = resources.contains_key(id) || PSEUDO.contains(&id.as_str());
                assert!(there || parameters.contains_key(id), "{id}");
                used.insert(id.clone());
            }
            if let Some(of) = map.get("Fn::GetAtt") {
                assert!(resources.contains_key(of[0].as_str().unwrap()), "{of}");
            }
            if let Some(Value::String(text)) = map.get("Fn::Sub") {
                let names = text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap());
                used.extend(names.map(String::from));
            }
            if let Some(condition) = map.get("Fn::If") {
                conditions.insert(condition[0].as_str().unwrap().to_string());
            }
        });
        for name in parameters.keys() {
            assert!(used.contains(name), "{name} is not used");
        }
        let declared = value["Conditions"].as_object().unwrap();
        assert!(declared.keys().eq(conditions.iter()), "{conditions:?}");
    }
}

#[test]
fn a_queue_waits_for_six_time_outs_of_its_function_and_a_minute_for_a_worker() {
    use std::time::Duration;

    use fanfare_topology::deploy::{Deployment, Function};

    let visibility = |deployment: &Deployment| {
        let template = deployment.cloudformation().unwrap();
        of_kind(&template, "AWS::SQS::Queue")["BooksQueue"]["VisibilityTimeout"].clone()
    };
    let tiny = Deployment::new(&super::system::tiny());
    assert_eq!(visibility(&tiny), 60);
    let function = Function::new("books").timeout(Duration::from_millis(19_100));
    let gathering = function.clone().batching_window(Duration::from_secs(7));
    assert_eq!(visibility(&tiny.clone().function("books", function)), 120);
    assert_eq!(visibility(&tiny.function("books", gathering)), 127);
}

#[test]
fn a_relay_is_started_every_minute() {
    for template in templates() {
        let rules = of_kind(&template, "AWS::Events::Rule");
        let rule = &rules["CountsRelayFunctionSchedule"];
        assert_eq!(rule["ScheduleExpression"], "rate(1 minute)");
        assert_eq!(rule["Targets"][0]["Arn"]["Fn::GetAtt"][0], "CountsRelayFunction");
        let permissions = of_kind(&template, "AWS::Lambda::Permission");
        let source = &permissions["CountsRelayFunctionPermission"]["SourceArn"];
        assert_eq!(source["Fn::GetAtt"][0], "CountsRelayFunctionSchedule");
    }
}

#[test]
fn every_queue_stream_and_relay_has_its_alarms() {
    let [template, ..] = templates();
    let alarms = of_kind(&template, "AWS::CloudWatch::Alarm");
    let mut names: Vec<_> = alarms.values().map(|a| a["AlarmName"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "shop-advice-dlq-not-empty",
            "shop-advice-iterator-age",
            "shop-advice-oldest-message",
            "shop-books-dlq-not-empty",
            "shop-books-dlq.fifo-not-empty",
            "shop-books-oldest-message",
            "shop-books.fifo-oldest-message",
            "shop-counts-dlq-not-empty",
            "shop-counts-iterator-age",
            "shop-counts-relay-errors",
            "shop-counts-relay-throttles",
        ]
    );
}

#[test]
fn only_functions_that_ask_get_the_database() {
    let [template, ..] = templates();
    for (id, function) in of_kind(&template, "AWS::Lambda::Function") {
        let url = &function["Environment"]["Variables"]["DATABASE_URL"];
        let asked = id.starts_with("Counts") || id.starts_with("Migrations");
        assert_eq!(!url.is_null(), asked, "{id}");
    }
    assert_eq!(template.value()["Parameters"]["DatabaseUrl"]["NoEcho"], true);
}
