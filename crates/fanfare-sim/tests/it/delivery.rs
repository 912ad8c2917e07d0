//! What SNS makes of a message on its way to queues.

use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::{Value, json};

use crate::common::{Aws, code};

fn text(value: &str) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type("String").string_value(value);
    attribute.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_envelope_has_the_fields_of_the_documentation() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    aws.queue("q").await;
    let subscription = aws.subscribe(&topic, "q", &[]).await;
    let binary = MessageAttributeValue::builder()
        .data_type("Binary")
        .binary_value(aws_sdk_sns::primitives::Blob::new([1, 2, 3]))
        .build()
        .unwrap();
    let publish = aws.sns.publish().topic_arn(&topic).message("body").subject("about");
    let publish = publish.message_attributes("type", text("a.b.v1"));
    let published = publish.message_attributes("blob", binary).send().await.unwrap();
    let stored = &aws.sim.messages("q")[0];
    assert!(stored.attributes.is_empty());
    let mut envelope: Value = serde_json::from_str(&stored.body).unwrap();
    let timestamp = envelope["Timestamp"].take();
    let timestamp = timestamp.as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
    assert_eq!(
        envelope,
        json!({
            "Type": "Notification",
            "MessageId": published.message_id().unwrap(),
            "TopicArn": topic,
            "Subject": "about",
            "Message": "body",
            "Timestamp": null,
            "SignatureVersion": "1",
            "Signature": "c2ltdWxhdGVk",
            "SigningCertURL":
                "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-simulated.pem",
            "UnsubscribeURL": format!(
                "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={subscription}"
            ),
            "MessageAttributes": {
                "type": {"Type": "String", "Value": "a.b.v1"},
                "blob": {"Type": "Binary", "Value": "AQID"},
            },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn eleven_attributes_reach_enveloped_subscriptions_only() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    for (queue, raw) in [("raw", "true"), ("wrapped", "false")] {
        aws.queue(queue).await;
        aws.subscribe(&topic, queue, &[("RawMessageDelivery", raw)]).await;
    }
    for count in [10, 11] {
        let mut publish = aws.sns.publish().topic_arn(&topic).message("m");
        for n in 0..count {
            publish = publish.message_attributes(format!("a{n}"), text("x"));
        }
        publish.send().await.unwrap();
    }
    assert_eq!(aws.sim.messages("raw").len(), 1);
    assert_eq!(aws.sim.messages("raw")[0].attributes.len(), 10);
    assert_eq!(aws.sim.messages("wrapped").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn groups_go_from_fifo_to_fifo_and_from_standard_to_standard() {
    let aws = Aws::new();
    let (standard, fifo) = (aws.topic("t").await, aws.topic("t.fifo").await);
    for queue in ["of-standard", "of-fifo", "of-fifo.fifo"] {
        aws.queue(queue).await;
        let topic = if queue == "of-standard" { &standard } else { &fifo };
        aws.subscribe(topic, queue, &[]).await;
    }
    let publish = aws.sns.publish().topic_arn(&standard).message("m").message_group_id("tenant");
    publish.send().await.unwrap();
    let publish = aws.sns.publish().topic_arn(&fifo).message("m").message_group_id("g");
    let published = publish.message_deduplication_id("d").send().await.unwrap();
    let only = |queue: &str| aws.sim.messages(queue).remove(0);
    assert_eq!(only("of-standard").group_id.as_deref(), Some("tenant"));
    assert_eq!(only("of-fifo").group_id, None);
    let delivered = only("of-fifo.fifo");
    assert_eq!(delivered.group_id.as_deref(), Some("g"));
    assert_eq!(delivered.deduplication_id.as_deref(), Some("d"));
    let envelope: Value = serde_json::from_str(&delivered.body).unwrap();
    assert_eq!(envelope["SequenceNumber"].as_str(), published.sequence_number());
    assert_eq!(envelope.get("Signature"), None);
}

#[tokio::test(start_paused = true)]
async fn a_body_per_protocol_is_taken_apart_and_loses_its_attributes() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    aws.queue("q").await;
    aws.subscribe(&topic, "q", &[("RawMessageDelivery", "true")]).await;
    let publish = |message: &str| {
        let publish = aws.sns.publish().topic_arn(&topic).message(message);
        publish.message_structure("json").message_attributes("type", text("x")).send()
    };
    publish(r#"{"default":"for all","sqs":"for queues"}"#).await.unwrap();
    assert_eq!(aws.sim.messages("q")[0].body, "for queues");
    assert!(aws.sim.messages("q")[0].attributes.is_empty());
    assert_eq!(code(publish(r#"{"sqs":"no default"}"#).await), "InvalidParameter");
    assert_eq!(code(publish("no json").await), "InvalidParameter");
}

#[tokio::test(start_paused = true)]
async fn a_topics_own_maximum_replaces_the_default() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    let publish =
        |bytes: usize| aws.sns.publish().topic_arn(&topic).message("x".repeat(bytes)).send();
    publish(262_144).await.unwrap();
    assert_eq!(code(publish(262_145).await), "InvalidParameter");
    let set = aws.sns.set_topic_attributes().topic_arn(&topic);
    set.attribute_name("MaximumMessageSize").attribute_value("1048576").send().await.unwrap();
    publish(1_048_576).await.unwrap();
    assert_eq!(code(publish(1_048_577).await), "InvalidParameter");
}

#[tokio::test(start_paused = true)]
async fn malformed_attributes_are_refused_by_name() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    let attribute = |data_type: &str, value: &str| {
        let attribute = MessageAttributeValue::builder().data_type(data_type);
        attribute.string_value(value).build().unwrap()
    };
    for (name, value) in [
        ("a", attribute("Integer", "1")),
        ("a", attribute("Number", "one")),
        ("a", attribute("String", "")),
        ("a", attribute("Binary", "not binary")),
        (".a", attribute("String", "x")),
        ("a..b", attribute("String", "x")),
        ("a b", attribute("String", "x")),
    ] {
        let shown = format!("{name}: {value:?}");
        let publish = aws.sns.publish().topic_arn(&topic).message("m");
        let refused = publish.message_attributes(name, value).send().await;
        assert_eq!(code(refused), "ParameterValueInvalid", "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn subscribing_again_is_idempotent_unless_the_attributes_differ() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    aws.queue("q").await;
    let policy = r#"{"type": ["a"]}"#;
    let attributes = [("RawMessageDelivery", "true"), ("FilterPolicy", policy)];
    let first = aws.subscribe(&topic, "q", &attributes).await;
    // The same policy, written otherwise.
    let again = aws.subscribe(&topic, "q", &[("FilterPolicy", r#"{"type":["a"]}"#)]).await;
    assert_eq!(first, again);
    assert_eq!(first, aws.subscribe(&topic, "q", &[]).await);
    let other = aws.sns.subscribe().topic_arn(&topic).protocol("sqs");
    let other = other.endpoint(crate::common::arn("q")).attributes("RawMessageDelivery", "false");
    assert_eq!(code(other.send().await), "InvalidParameter");
}
