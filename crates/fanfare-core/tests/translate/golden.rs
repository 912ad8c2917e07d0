//! Each format as its documentation writes it, to a real handler.

use std::convert::Infallible;

use fanfare_core::translate::{SnsNotification, Translation, Translator, format::*};

use super::*;

/// What the handler gets of a golden file.
async fn read(
    file: &str,
    attributes: &[(&str, &str)],
    translator: impl Translator + 'static,
) -> (String, OrderPlaced) {
    let (consumer, seen) = shop();
    let outcome =
        handle(consumer.translator(translator), delivery(&golden(file), attributes)).await;
    assert_eq!(outcome, Outcome::Handled { published: 0 });
    let (envelope, order) = seen.lock().unwrap().remove(0);
    (described(&envelope), order)
}

/// Who, what, when, why.
fn described(envelope: &Envelope) -> String {
    assert_eq!(envelope.tag, OrderPlaced::TAG);
    let time = envelope.time.map(|time| time.to_string());
    let context = &envelope.context;
    format!(
        "{} {} at {:?} for {:?} because {:?}",
        envelope.source, envelope.id, time, context.correlation_id, context.causation_id
    )
}

/// A conversion from JSON whose field `name` is the order's id.
fn id_in(name: &'static str) -> impl Fn(Value) -> Result<Value, String> {
    move |data| {
        let id = data.get(name).ok_or("the order's id is missing")?;
        let id = id.as_str().map_or_else(|| id.to_string(), Into::into);
        Ok(json!({ "order_id": id, "quantity": 2 }))
    }
}

#[tokio::test]
async fn cloud_events_with_data_in_a_string() {
    let translation = Translation::of(CloudEvents).map_inward_json::<OrderPlaced>(
        "Publisher.Models.ChatMessage",
        id_in("MessageDescription"),
    );
    let (envelope, order) = read("cloud_events.json", &[], translation).await;
    insta::assert_snapshot!(envelope, @r#"/aws/messaging b02f156b-0f02-48cf-ae54-4fbbe05cffba at Some("2023-11-21T16:36:02.8957126Z") for None because None"#);
    assert_eq!(order.order_id, "Hello World!");
}

#[tokio::test]
async fn jackson_with_its_class_in_a_property() {
    let translation = Translation::of(JacksonProperty::class())
        .map::<OrderPlaced>("com.example.orders.OrderPlaced");
    let (envelope, event) = read("jackson_property.json", &[], translation).await;
    insta::assert_snapshot!(envelope, @r#"Jackson sha256:913885bdbbcb51fc2f70e1c5df8e6f289520503af462daa85d373a44b5874964 at None for None because None"#);
    assert_eq!(event, order());
}

#[tokio::test]
async fn jackson_with_its_class_in_an_array() {
    let translation = Translation::of(JacksonArray)
        .map::<OrderPlaced>("com.example.orders.OrderPlaced")
        .id_attribute("event-id")
        .source("billing");
    let (envelope, event) = read("jackson_array.json", &[("event-id", "e-1")], translation).await;
    insta::assert_snapshot!(envelope, @r#"billing e-1 at None for None because None"#);
    assert_eq!(event, order());
}

#[tokio::test]
async fn spring_with_its_class_in_an_attribute() {
    let class = "com.example.orders.OrderPlaced";
    let translation = Translation::of(JavaType).map::<OrderPlaced>(class);
    let (envelope, event) = read("java_type.json", &[("JavaType", class)], translation).await;
    insta::assert_snapshot!(envelope, @r#"Spring sha256:bdc29aa1747eb0613fcc9c159347c8055d7891f42f98770c1a9a665b7887f38e at None for None because None"#);
    assert_eq!(event, order());
}

#[tokio::test]
async fn plain_json_with_its_type_in_an_attribute() {
    let translation =
        Translation::of(PlainJson::tag_in("event_type")).map::<OrderPlaced>("order-placed");
    let attributes = [("event_type", "order-placed")];
    let (envelope, event) = read("plain_json.json", &attributes, translation).await;
    insta::assert_snapshot!(envelope, @r#"PlainJson sha256:789365afb5bf9303ee312c8bb7ae4bbcc85d4a07b3d458249652736277681da9 at None for None because None"#);
    assert_eq!(event, order());
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubmitOrder {
    order_id: String,
    timestamp: String,
}

#[tokio::test]
async fn mass_transit() {
    let placed = |submitted: SubmitOrder| {
        assert_eq!(submitted.timestamp, "2023-01-12T21:55:53.714Z");
        Ok::<_, Infallible>(OrderPlaced { order_id: submitted.order_id, quantity: 1 })
    };
    let translation =
        Translation::of(MassTransit).map_inward("urn:message:Company.Project:SubmitOrder", placed);
    let (envelope, order) = read("mass_transit.json", &[], translation).await;
    insta::assert_snapshot!(envelope, @r#"rabbitmq://localhost/source 181c0000-6393-3630-36a4-08daf4e7c6da at Some("2023-01-12T21:55:53.715882Z") for None because None"#);
    assert_eq!(order.order_id, "181c0000-6393-3630-36a4-08daf4e7c6da");
}

#[tokio::test]
async fn nservice_bus_by_any_of_its_types_with_or_without_assembly() {
    let names = [
        "Sales.Messages.OrderPlaced, Sales.Messages, Version=1.0.0.0, Culture=neutral, PublicKeyToken=null",
        "Sales.Messages.OrderPlaced, Sales.Messages",
        "Sales.Messages.OrderPlaced",
        "Sales.Messages.IOrderEvent",
    ];
    for name in names {
        let translation =
            Translation::of(NServiceBus).map_inward_json::<OrderPlaced>(name, id_in("OrderId"));
        let (envelope, event) = read("nservice_bus.json", &[], translation).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(envelope, @r#"Sales 3e2004d4-c904-4bf6-8c99-af2a014be393 at Some("2022-10-10T20:08:22.330866Z") for Some("4b27d3e8-e3ad-4036-8708-af2a014be394") because Some("9b4c2d5a-0d0c-4c0b-9a0e-af2a014be000")"#);
        }
        assert_eq!(event, order());
    }
}

#[tokio::test]
async fn nservice_bus_without_its_wrapper() {
    let wrapped: Value = serde_json::from_str(&golden("nservice_bus.json")).unwrap();
    let headers = [("NServiceBus.AmazonSQS.Headers", &*wrapped["Headers"].to_string())];
    let delivery = delivery(r#"{"OrderId":"o-1","Quantity":2}"#, &headers);
    let (consumer, seen) = shop();
    let translation = Translation::of(NServiceBus)
        .map_inward_json::<OrderPlaced>("Sales.Messages.OrderPlaced", id_in("OrderId"));
    let outcome = handle(consumer.translator(translation), delivery).await;
    assert_eq!(outcome, Outcome::Handled { published: 0 });
    assert_eq!(seen.lock().unwrap()[0].1, order());
}

#[tokio::test]
async fn event_bridge() {
    let translation = Translation::of(EventBridge).map_inward_json::<OrderPlaced>(
        "EC2 Instance State-change Notification",
        id_in("instance-id"),
    );
    let (envelope, order) = read("event_bridge.json", &[], translation).await;
    insta::assert_snapshot!(envelope, @r#"aws.ec2 6a7e8feb-b491-4cf7-a9f1-bf3703467718 at Some("2017-12-22T18:43:48Z") for None because None"#);
    assert_eq!(order.order_id, "i-1234567890abcdef0");
}

#[tokio::test]
async fn a_notification_of_sns_around_our_own_envelope() {
    let (envelope, event) = read("sns_notification.json", &[], SnsNotification::new()).await;
    insta::assert_snapshot!(envelope, @r#"orders 0192f0c1-2b3c-7d4e-8f50-123456789abc at Some("2026-11-20T10:00:00Z") for Some("c-1") because None"#);
    assert_eq!(event, order());
}

#[tokio::test]
async fn a_notification_of_sns_brings_its_attributes_along() {
    let inside = Translation::of(JavaType).map::<OrderPlaced>("com.example.orders.OrderPlaced");
    let (envelope, event) = read("sns_attributes.json", &[], SnsNotification::around(inside)).await;
    insta::assert_snapshot!(envelope, @r#"arn:aws:sns:us-west-2:123456789012:MyTopic 22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324 at Some("2012-05-02T00:54:06.655Z") for None because None"#);
    assert_eq!(event, order());
}

fn just_saying() -> Translation<PlainJson> {
    Translation::of(PlainJson::tag_in(SnsNotification::SUBJECT))
        .map_inward_json::<OrderPlaced>("OrderAccepted", id_in("OrderId"))
}

#[tokio::test]
async fn just_saying_with_its_type_in_the_subject() {
    let (envelope, order) =
        read("just_saying.json", &[], SnsNotification::around(just_saying())).await;
    insta::assert_snapshot!(envelope, @r#"arn:aws:sns:us-west-2:123456789012:MyTopic 22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324 at Some("2012-05-02T00:54:06.655Z") for None because None"#);
    assert_eq!(order.order_id, "7");
    let (envelope, _) =
        read("just_saying_queue.json", &[], SnsNotification::around(just_saying())).await;
    insta::assert_snapshot!(envelope, @r#"PlainJson sha256:3905b180d0d815ef42cb134d2abdf927229caf2458506d32a2076bc9a35ad300 at None for None because None"#);
}

#[tokio::test]
async fn what_is_in_a_notification_goes_to_the_translators_behind_it() {
    for file in ["just_saying.json", "sns_attributes.json", "sns_notification.json"] {
        let (consumer, seen) = shop();
        let spring = Translation::of(JavaType).map::<OrderPlaced>("com.example.orders.OrderPlaced");
        let consumer = consumer
            .translator(SnsNotification::new())
            .translator(spring)
            .translator(just_saying());
        let outcome = handle(consumer, delivery(&golden(file), &[])).await;
        assert_eq!(outcome, Outcome::Handled { published: 0 }, "{file}");
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
}
