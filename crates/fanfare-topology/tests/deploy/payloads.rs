//! The bucket of payloads that are too large for a message.

use std::time::Duration;

use fanfare_core::Router;
use fanfare_topology::{
    Kind, Kinesis, Topology,
    deploy::{Deployment, Finding, QueueSettings},
};
use serde_json::json;

use super::{
    rights::{rights, set},
    system::{Clicked, OrderPlaced, deployment, of_kind, on, tiny},
};

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

#[test]
fn the_bucket_is_private_and_encrypted_and_lets_payloads_expire() {
    let template = deployment().claim_check(18).cloudformation().unwrap();
    let buckets = of_kind(&template, "AWS::S3::Bucket");
    assert_eq!(
        json!(buckets),
        json!({ "PayloadsBucket": {
            "BucketName": { "Fn::Sub": "shop-payloads-${AWS::AccountId}-${AWS::Region}" },
            "BucketEncryption": { "ServerSideEncryptionConfiguration": [
                { "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } },
            ] },
            "LifecycleConfiguration": { "Rules": [
                { "Id": "Expire", "Status": "Enabled", "ExpirationInDays": 18 },
            ] },
            "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] },
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": true,
                "BlockPublicPolicy": true,
                "IgnorePublicAcls": true,
                "RestrictPublicBuckets": true,
            },
        } })
    );
    let output = &template.value()["Outputs"]["PayloadsBucketName"]["Value"];
    assert_eq!(*output, json!({ "Ref": "PayloadsBucket" }));
    let without = deployment().cloudformation().unwrap().to_string();
    assert!(!without.contains("Payloads") && !without.contains("s3:"));
}

#[test]
fn with_a_key_of_the_systems_own_it_encrypts_payloads_too() {
    let template = deployment().claim_check(18).encrypted().cloudformation().unwrap();
    let bucket = &of_kind(&template, "AWS::S3::Bucket")["PayloadsBucket"];
    let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
    let key = &encryption["ServerSideEncryptionByDefault"]["KMSMasterKeyID"];
    assert_eq!(*key, json!({ "Fn::GetAtt": ["MessagesKey", "Arn"] }));
    let roles = of_kind(&template, "AWS::IAM::Role");
    let role = |id: &str| roles[id]["Policies"][0].to_string();
    let through_s3 = r#""Fn::Sub":"s3.${AWS::Region}.amazonaws.com""#;
    assert!(role("BooksFunctionRole").contains(through_s3));
    assert!(!role("MigrationsFunctionRole").contains(through_s3));
}

#[test]
fn who_consumes_may_fetch_payloads_and_who_publishes_may_store_them() {
    let rights = rights(&deployment().claim_check(18).cloudformation().unwrap());
    let objects = set(&["${PayloadsBucket.Arn}/*"]);
    for (role, fetches, stores) in [
        ("BooksFunctionRole", true, true),
        ("AdviceFunctionRole", true, false),
        ("CountsFunctionRole", true, false),
        ("CountsRelayFunctionRole", false, true),
        ("MigrationsFunctionRole", false, false),
    ] {
        let right = |action: &str, has: bool| {
            assert_eq!(rights[role].get(action), has.then_some(&objects), "{role} {action}");
        };
        right("s3:GetObject", fetches);
        right("s3:PutObject", stores);
        assert!(!rights[role].contains_key("s3:DeleteObject"));
    }
}

#[test]
fn payloads_are_kept_for_as_long_as_any_message_that_points_to_them() {
    let tiny = |settings: QueueSettings, days| {
        Deployment::new(&tiny()).queues("books", settings).claim_check(days).lint()
    };
    assert_eq!(tiny(QueueSettings::new(), 18), []);
    let short = |days, least| [Finding::ShortPayloads { days, least }];
    assert_eq!(tiny(QueueSettings::new(), 17), short(17, 18));
    let half = QueueSettings::new().retention(days(2)).dead_letter_retention(days(3) + days(1) / 2);
    assert_eq!(tiny(half.clone(), 6), []);
    assert_eq!(tiny(half, 5), short(5, 6));
    let text = short(17, 18)[0].to_string();
    assert!(text.contains("17 days") && text.contains("18 days at least"), "{text}");
    // A stream keeps its records for its own time.
    let counts: Router = Router::new("counts").on(on::<Clicked>);
    let stream = Kinesis::shards(1).retention_hours(20 * 24);
    let system = Topology::new("tiny").topic("clicks", stream).service(&counts);
    assert_eq!(Deployment::new(&system).claim_check(34).lint(), []);
    assert_eq!(Deployment::new(&system).claim_check(33).lint(), short(33, 34));
}

#[test]
fn the_systems_name_has_to_fit_a_bucket() {
    let lint = |system: &str| {
        let books: Router = Router::new("books").on(on::<OrderPlaced>);
        let system = Topology::new(system).topic("orders", Kind::Standard).service(&books);
        Deployment::new(&system).claim_check(18).lint()
    };
    assert_eq!(lint(&"x".repeat(25)), []);
    for bad in ["x".repeat(27), "Shop".into(), "sh_op".into()] {
        let findings = lint(&bad);
        assert!(matches!(&findings[..], [Finding::BucketName { name }] if name.contains(&bad)));
    }
}
