//! Who may send to a queue, and what becomes of what cannot be delivered.

use aws_credential_types::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::common::{ACCOUNT, Aws, arn, code, policy};

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:t";

/// Whether a delivery of the topic `t` reaches the queue `q` under this policy.
async fn is_let_in(policy: &str) -> bool {
    let aws = Aws::new();
    let (topic, url) = (aws.topic("t").await, aws.queue("q").await);
    aws.set(&url, QueueAttributeName::Policy, policy).await;
    aws.subscribe_only(&topic, "q", &[]).await;
    aws.publish(&topic, "m").await;
    aws.sim.messages("q").len() == 1
}

fn statement(effect: &str, principal: &str, action: &str, condition: &str) -> String {
    format!(
        r#"{{"Effect":"{effect}","Principal":{principal},"Action":{action},
        "Resource":"{}","Condition":{condition}}}"#,
        arn("q")
    )
}

#[tokio::test(start_paused = true)]
async fn a_queue_lets_in_whom_its_policy_names() {
    let sns = r#"{"Service":"sns.amazonaws.com"}"#;
    let allow = |principal: &str, action: &str, condition: &str| {
        format!(r#"{{"Statement":{}}}"#, statement("Allow", principal, action, condition))
    };
    let source =
        |operator: &str, topic: &str| format!(r#"{{"{operator}":{{"aws:SourceArn":"{topic}"}}}}"#);
    let deny = format!(
        r#"{{"Statement":[{},{}]}}"#,
        statement("Allow", sns, r#""sqs:*""#, "{}"),
        statement("Deny", r#""*""#, r#""sqs:SendMessage""#, &source("ArnEquals", TOPIC)),
    );
    let insecure = format!(
        r#"{{"Statement":[{},{}]}}"#,
        statement("Allow", sns, r#""sqs:SendMessage""#, "{}"),
        statement("Deny", r#""*""#, r#""sqs:*""#, r#"{"Bool":{"aws:SecureTransport":"false"}}"#),
    );
    let send = r#""sqs:SendMessage""#;
    let table = [
        (allow(sns, send, &source("ArnEquals", TOPIC)), true),
        (allow(sns, send, &source("ArnEquals", &format!("{TOPIC}2"))), false),
        (allow(sns, send, &source("ArnLike", "arn:aws:sns:*:000000000000:*")), true),
        (allow(sns, send, &source("StringLike", "arn:aws:sns:us-*:*:t?")), false),
        (allow(sns, send, &source("StringEquals", TOPIC)), true),
        (allow(sns, send, r#"{"StringEquals":{"aws:SourceAccount":"000000000000"}}"#), true),
        (allow(sns, send, r#"{"StringEquals":{"aws:SourceAccount":["1","2"]}}"#), false),
        (allow(sns, send, r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#), false),
        (allow(r#""*""#, r#"["SQS:Send*","sqs:ReceiveMessage"]"#, "{}"), true),
        (allow(r#"{"AWS":"*"}"#, send, &source("ArnEquals", TOPIC)), true),
        (allow(r#"{"AWS":"000000000000"}"#, send, "{}"), false),
        (allow(r#"{"Service":"events.amazonaws.com"}"#, send, "{}"), false),
        (allow(sns, r#""sqs:ReceiveMessage""#, "{}"), false),
        (policy(&arn("another"), TOPIC), false),
        (deny, false),
        (insecure, true),
    ];
    for (policy, expected) in table {
        assert_eq!(is_let_in(&policy).await, expected, "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_without_a_policy_gets_nothing_and_publish_succeeds() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    aws.queue("q").await;
    aws.subscribe_only(&topic, "q", &[]).await;
    aws.publish(&topic, "m").await;
    assert!(aws.sim.messages("q").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_policy_is_refused() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    for text in ["not json", "{}", r#"{"Statement":[{"Effect":"Perhaps"}]}"#] {
        let set = aws.sqs.set_queue_attributes().queue_url(&url);
        let set = set.attributes(QueueAttributeName::Policy, text).send().await;
        assert_eq!(code(set), "InvalidAttributeValue", "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_subscriptions_dead_letter_queue_gets_what_cannot_be_delivered() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    let (url, dead) = (aws.queue("q").await, aws.queue("dead").await);
    let redrive = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, arn("dead"));
    let attributes = [("RawMessageDelivery", "true"), ("RedrivePolicy", redrive.as_str())];
    aws.subscribe(&topic, "q", &attributes).await;
    aws.sqs.delete_queue().queue_url(&url).send().await.unwrap();
    aws.publish(&topic, "lost: the dead-letter queue does not let SNS in").await;
    assert!(aws.sim.messages("dead").is_empty());
    aws.set(&dead, QueueAttributeName::Policy, &policy(&arn("dead"), &topic)).await;
    aws.publish(&topic, "kept").await;
    assert_eq!(aws.sim.messages("dead")[0].body, "kept");
}

#[tokio::test(start_paused = true)]
async fn accounts_and_regions_are_apart_and_policies_let_others_in() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let config = aws.sim.sdk_config().into_builder();
    let credentials = Credentials::from_keys("111122223333", "secret", None);
    let other = config
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
            credentials,
        ))
        .build();
    let other = aws_sdk_sqs::Client::new(&other);
    assert!(other.list_queues().send().await.unwrap().queue_urls.is_none());
    let send = || other.send_message().queue_url(&url).message_body("m").send();
    assert_eq!(code(send().await), "AccessDenied");
    let let_in = statement("Allow", r#"{"AWS":"111122223333"}"#, r#""sqs:SendMessage""#, "{}");
    aws.set(&url, QueueAttributeName::Policy, &format!(r#"{{"Statement":[{let_in}]}}"#)).await;
    send().await.unwrap();
    assert_eq!(code(other.delete_queue().queue_url(&url).send().await), "AccessDenied");
    let own = other.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    assert!(own.ends_with("/111122223333/q") && url.ends_with(&format!("/{ACCOUNT}/q")));

    let region = aws_types::region::Region::from_static("eu-west-1");
    let elsewhere = aws.sim.sdk_config().into_builder().region(region).build();
    let elsewhere = aws_sdk_sqs::Client::new(&elsewhere);
    let send = elsewhere.send_message().queue_url(&url).message_body("m").send().await;
    assert_eq!(code(send), "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test(start_paused = true)]
async fn a_redrive_policy_must_be_one_that_can_be_followed() {
    let aws = Aws::new();
    let dead = aws.queue("dead").await;
    aws.queue("dead.fifo").await;
    let url = aws.queue("q").await;
    let set = |policy: String| {
        let set = aws.sqs.set_queue_attributes().queue_url(&url);
        set.attributes(QueueAttributeName::RedrivePolicy, policy).send()
    };
    let policy = |queue: &str, count: &str| {
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{count}}}"#, arn(queue))
    };
    for wrong in [
        "no json".to_owned(),
        r#"{"maxReceiveCount":3}"#.to_owned(),
        format!(r#"{{"deadLetterTargetArn":"{}"}}"#, arn("dead")),
        policy("dead", "0"),
        policy("dead", "1001"),
        policy("missing", "3"),
        policy("dead.fifo", "3"),
    ] {
        assert_eq!(code(set(wrong.clone()).await), "InvalidParameterValue", "{wrong}");
    }
    let deny = r#"{"redrivePermission":"denyAll"}"#;
    aws.set(&dead, QueueAttributeName::RedriveAllowPolicy, deny).await;
    assert_eq!(code(set(policy("dead", "3")).await), "InvalidParameterValue");
    let by_queue =
        format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":["{}"]}}"#, arn("q"));
    aws.set(&dead, QueueAttributeName::RedriveAllowPolicy, &by_queue).await;
    set(policy("dead", "\"3\"")).await.unwrap();
    set(String::new()).await.unwrap();
}
