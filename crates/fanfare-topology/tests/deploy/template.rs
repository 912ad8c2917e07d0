//! Whole templates.

use fanfare_topology::deploy::{Deployment, Function};
use serde_json::Value;

use super::system::{deployment, tiny};

#[test]
fn a_tiny_system_in_full() {
    let deployment = Deployment::new(&tiny()).function("books", Function::new("books"));
    insta::assert_snapshot!(deployment.cloudformation().unwrap());
}

#[test]
fn services_that_are_workers_need_no_functions() {
    let template = Deployment::new(&tiny()).cloudformation().unwrap();
    let text = template.to_string();
    assert!(!text.contains("AWS::Lambda") && !text.contains("CodeBucket"));
    assert!(text.contains("AWS::SQS::Queue"));
}

#[test]
fn sam_packs_functions_and_differs_in_nothing_else() {
    let (plain, sam) = (deployment().cloudformation().unwrap(), deployment().sam().unwrap());
    assert_eq!(sam.value()["Transform"], "AWS::Serverless-2016-10-31");
    let (plain, sam) = (&plain.value()["Resources"], &sam.value()["Resources"]);
    let (plain, sam) = (plain.as_object().unwrap(), sam.as_object().unwrap());
    assert!(plain.keys().eq(sam.keys()));
    for (id, resource) in sam {
        if resource["Type"] != "AWS::Serverless::Function" {
            assert_eq!(*resource, plain[id], "{id}");
            continue;
        }
        let without_code = |resource: &Value| {
            let mut properties = resource["Properties"].as_object().unwrap().clone();
            properties.remove("Code").or(properties.remove("CodeUri")).unwrap();
            properties
        };
        assert_eq!(without_code(resource), without_code(&plain[id]), "{id}");
    }
}

#[test]
fn the_text_is_sorted_ends_its_last_line_and_is_the_same_each_time() {
    let text = deployment().cloudformation().unwrap().to_string();
    assert!(text.starts_with("{\n  \"AWSTemplateFormatVersion\"") && text.ends_with("}\n"));
    assert_eq!(text, deployment().cloudformation().unwrap().to_string());
    let body = deployment().cloudformation().unwrap().body();
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        serde_json::from_str::<Value>(&text).unwrap()
    );
}
