//! What functions may do, and may not.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_topology::deploy::{Function, Template};
use serde_json::Value;

use super::system::{deployment, objects, of_kind};

/// For each role: actions, with the ids of what they are allowed on.
pub(crate) fn rights(template: &Template) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let roles = of_kind(template, "AWS::IAM::Role").into_iter();
    let rights = roles.map(|(id, role)| {
        let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let statements = &role["Policies"][0]["PolicyDocument"]["Statement"];
        for statement in statements.as_array().unwrap() {
            let list = |value: &Value| value.as_array().cloned().unwrap_or(vec![value.clone()]);
            let on = list(&statement["Resource"]).into_iter().map(|on| {
                let id = on["Fn::GetAtt"].get(0).or(on.get("Ref")).or(on.get("Fn::Sub"));
                id.and_then(Value::as_str).unwrap().to_string()
            });
            let on: BTreeSet<_> = on.collect();
            for action in list(&statement["Action"]) {
                allowed.entry(action.as_str().unwrap().into()).or_default().extend(on.clone());
            }
        }
        (id, allowed)
    });
    rights.collect()
}

pub(crate) fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_string()).collect()
}

#[test]
fn a_role_touches_no_queue_or_stream_of_another_service() {
    let rights = rights(&deployment().cloudformation().unwrap());
    let books = &rights["BooksFunctionRole"];
    assert_eq!(books["sqs:ReceiveMessage"], set(&["BooksQueue", "BooksFifoQueue"]));
    assert_eq!(
        books["sqs:SendMessage"],
        set(&["BooksDeadLetterQueue", "BooksFifoDeadLetterQueue"])
    );
    assert!(!books.contains_key("kinesis:GetRecords"));
    let counts = &rights["CountsFunctionRole"];
    assert!(!counts.contains_key("sqs:ReceiveMessage"));
    assert_eq!(counts["sqs:SendMessage"], set(&["CountsDeadLetterQueue"]));
    assert_eq!(counts["kinesis:GetRecords"], set(&["ClicksStream"]));
    for (role, allowed) in &rights {
        let service = ["Books", "Advice", "Counts", "Migrations"];
        let service = service.iter().find(|service| role.starts_with(*service)).unwrap();
        for (action, on) in allowed.iter().filter(|(action, _)| action.starts_with("sqs:")) {
            // The receiver of the relay's tasks is its own choice.
            let foreign = on.iter().filter(|on| !on.starts_with(service));
            let foreign: Vec<_> = foreign.collect();
            let told = role == "CountsRelayFunctionRole" && action == "sqs:SendMessage";
            assert_eq!(foreign, if told { vec!["BooksQueue"] } else { vec![] }, "{role} {action}");
        }
    }
}

#[test]
fn who_has_a_relay_may_wake_it_and_publishes_nothing_itself() {
    let rights = rights(&deployment().cloudformation().unwrap());
    let (counts, relay) = (&rights["CountsFunctionRole"], &rights["CountsRelayFunctionRole"]);
    assert_eq!(counts["lambda:InvokeFunction"], set(&["CountsRelayFunction"]));
    assert!(!counts.contains_key("sns:Publish") && !counts.contains_key("kinesis:PutRecords"));
    assert_eq!(relay["sns:Publish"], set(&["InvoicesTopic"]));
    assert_eq!(relay["kinesis:PutRecords"], set(&["ClicksStream"]));
    assert!(!relay.contains_key("lambda:InvokeFunction"));
}

#[test]
fn who_drains_its_outbox_itself_may_do_what_its_relay_may() {
    let counts = Function::new("counts").drains_outbox();
    let rights = rights(&deployment().function("counts", counts).cloudformation().unwrap());
    let (counts, relay) = (&rights["CountsFunctionRole"], &rights["CountsRelayFunctionRole"]);
    assert_eq!(counts["sns:Publish"], relay["sns:Publish"]);
    assert_eq!(counts["kinesis:PutRecords"], relay["kinesis:PutRecords"]);
    assert_eq!(counts["sqs:SendMessage"], set(&["BooksQueue", "CountsDeadLetterQueue"]));
    assert!(!counts.contains_key("lambda:InvokeFunction"));
}

#[test]
fn who_has_no_relay_publishes_just_what_its_handlers_return() {
    let rights = rights(&deployment().cloudformation().unwrap());
    assert_eq!(rights["BooksFunctionRole"]["sns:Publish"], set(&["InvoicesTopic"]));
    assert!(!rights["AdviceFunctionRole"].contains_key("sns:Publish"));
    assert!(!rights["AdviceFunctionRole"].contains_key("lambda:InvokeFunction"));
}

#[test]
fn only_who_asks_has_the_idempotency_table() {
    let template = deployment().cloudformation().unwrap();
    for (role, allowed) in rights(&template) {
        let has = allowed.contains_key("dynamodb:PutItem");
        assert_eq!(has, role == "BooksFunctionRole", "{role}");
    }
    let table = &of_kind(&template, "AWS::DynamoDB::Table")["IdempotencyTable"];
    assert_eq!(table["TableName"], "shop-idempotency");
    assert_eq!(table["TimeToLiveSpecification"]["AttributeName"], "expires_at");
}

#[test]
fn nothing_is_allowed_on_everything_but_a_keys_policy_which_means_the_key() {
    for template in [deployment(), deployment().encrypted()].map(|d| d.cloudformation().unwrap()) {
        for (id, resource) in super::system::resources(&template) {
            objects(&resource, &mut |map| {
                let all = |name| map.get(name).is_some_and(|value| value == "*");
                assert!(!all("Resource") || id == "MessagesKey", "{id}");
                assert!(!all("Action") && !all("Principal"), "{id}");
            });
        }
    }
}
