//! With a key of the system's own.

use serde_json::{Value, json};

use super::system::{deployment, of_kind};

#[test]
fn the_key_encrypts_topics_queues_streams_and_environments() {
    let template = deployment().encrypted().cloudformation().unwrap();
    let key = json!({ "Fn::GetAtt": ["MessagesKey", "Arn"] });
    for (kind, property) in [
        ("AWS::SNS::Topic", "KmsMasterKeyId"),
        ("AWS::SQS::Queue", "KmsMasterKeyId"),
        ("AWS::Lambda::Function", "KmsKeyArn"),
    ] {
        for (id, resource) in of_kind(&template, kind) {
            assert_eq!(resource[property], key, "{id}");
        }
    }
    for (id, stream) in of_kind(&template, "AWS::Kinesis::Stream") {
        assert_eq!(stream["StreamEncryption"]["KeyId"], key, "{id}");
    }
}

#[test]
fn topics_may_use_the_key_to_send_to_queues_and_roles_only_through_what_they_use() {
    let template = deployment().encrypted().cloudformation().unwrap();
    let key = &of_kind(&template, "AWS::KMS::Key")["MessagesKey"];
    let grant = &key["KeyPolicy"]["Statement"][1];
    assert_eq!(grant["Principal"]["Service"], "sns.amazonaws.com");
    let topics = grant["Condition"]["ArnEquals"]["aws:SourceArn"].as_array().unwrap();
    assert_eq!(topics.len(), 3);
    let through = |role: &str, action: &str| {
        let statements = of_kind(&template, "AWS::IAM::Role")[role]["Policies"][0]["PolicyDocument"]
            ["Statement"]
            .clone();
        let statement = statements.as_array().unwrap().iter().find(|s| s["Action"] == action)?;
        let services = statement["Condition"]["StringEquals"]["kms:ViaService"].as_array()?;
        let service = |s: &Value| s["Fn::Sub"].as_str()?.split('.').next().map(String::from);
        Some(services.iter().filter_map(service).collect::<Vec<_>>().join(" "))
    };
    let text = |services: &str| Some(services.to_string());
    assert_eq!(through("AdviceFunctionRole", "kms:Decrypt"), text("kinesis lambda sqs"));
    assert_eq!(through("AdviceFunctionRole", "kms:GenerateDataKey"), text("sqs"));
    assert_eq!(through("CountsRelayFunctionRole", "kms:GenerateDataKey"), text("kinesis sns sqs"));
    assert_eq!(through("MigrationsFunctionRole", "kms:GenerateDataKey"), None);
}

#[test]
fn without_it_queues_are_encrypted_by_sqs() {
    let template = deployment().cloudformation().unwrap();
    assert!(of_kind(&template, "AWS::KMS::Key").is_empty());
    assert!(!template.to_string().contains("kms:"));
    for (id, queue) in of_kind(&template, "AWS::SQS::Queue") {
        assert_eq!(queue["SqsManagedSseEnabled"], true, "{id}");
    }
}
