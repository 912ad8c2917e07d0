//! What goes out in each format.

use fanfare_core::translate::{
    SnsNotification, TranslateError, Translation, Translator, format::*,
};

use super::*;

/// Body and attributes of the order in a format; the body is held against its golden file.
fn written(file: &str, translator: &impl Translator) -> Vec<(String, String)> {
    let message = translator.outward(task()).unwrap();
    let sent = task();
    assert_eq!(
        (message.destination, message.id, message.tag, message.key),
        (sent.destination, sent.id, sent.tag, sent.key),
        "order and deduplication go by these"
    );
    let expected = golden(&format!("outward/{file}"));
    assert_eq!(message.body, expected.trim_end(), "{file}");
    message.attributes
}

fn names(attributes: &[(String, String)]) -> Vec<&str> {
    attributes.iter().map(|(name, _)| name.as_str()).collect()
}

fn mapped<F: fanfare_core::translate::Format>(format: F, tag: &str) -> Translation<F> {
    Translation::of(format).map::<OrderPlaced>(tag)
}

#[test]
fn each_format_is_written_as_its_readers_expect_it() {
    let class = "com.example.orders.OrderPlaced";
    let attributes = written("cloud_events.json", &mapped(CloudEvents, "Orders.OrderPlaced"));
    assert_eq!(names(&attributes), ["type"]);
    let jackson = mapped(JacksonProperty::class(), class).id_attribute("event-id");
    let attributes = written("jackson_property.json", &jackson);
    assert_eq!(attributes[1..], [("event-id".to_string(), ID.to_string())]);
    written("jackson_array.json", &mapped(JacksonArray, class));
    let attributes = written("plain_json.json", &mapped(JavaType, class));
    assert_eq!(attributes[1..], [("JavaType".to_string(), class.to_string())]);
    let attributes = written("plain_json.json", &mapped(PlainJson::tag_in("type"), "placed"));
    assert_eq!(attributes, [("type".to_string(), "placed".to_string())]);
    let attributes = written(
        "mass_transit.json",
        &mapped(MassTransit, "urn:message:Company.Project:OrderPlaced"),
    );
    assert_eq!(names(&attributes), ["type", "Content-Type"]);
    written(
        "nservice_bus.json",
        &mapped(NServiceBus, "Sales.Messages.OrderPlaced, Sales.Messages"),
    );
    written("event_bridge.json", &mapped(EventBridge, "OrderPlaced"));
}

#[test]
fn a_notification_of_sns_holds_subject_and_attributes() {
    let just_saying = mapped(PlainJson::tag_in(SnsNotification::SUBJECT), "OrderAccepted");
    let message = SnsNotification::around(just_saying).outward(task()).unwrap();
    assert!(message.attributes.is_empty());
    let mut body: Value = serde_json::from_str(&message.body).unwrap();
    body["Timestamp"].take();
    assert_eq!(
        body,
        json!({
            "Type": "Notification", "MessageId": ID, "Subject": "OrderAccepted",
            "Message": json!(order()).to_string(), "Timestamp": null,
            "MessageAttributes": { "type": { "Type": "String", "Value": OrderPlaced::TAG } },
        })
    );
}

#[test]
fn conversions_have_two_directions() {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Submit {
        order_id: String,
    }
    let translation = Translation::of(EventBridge)
        .map_inward("Other", |order: OrderPlaced| Ok::<_, String>(order))
        .map_outward("Submit", |order: OrderPlaced| match order.quantity {
            0 => Err("an order of nothing"),
            _ => Ok(Submit { order_id: order.order_id }),
        });
    let message = translation.outward(task()).unwrap();
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(
        (&body["detail-type"], &body["detail"]),
        (&json!("Submit"), &json!({ "orderId": "o-1" }))
    );

    let json =
        Translation::of(EventBridge).map_outward_json::<OrderPlaced>("Submit", |mut data| {
            data.as_object_mut().ok_or("no object")?.remove("quantity").ok_or("no quantity")?;
            Ok(data)
        });
    let body: Value = serde_json::from_str(&json.outward(task()).unwrap().body).unwrap();
    assert_eq!(body["detail"], json!({ "order_id": "o-1" }));

    let mut nothing = task();
    nothing.body = nothing.body.replace("\"quantity\":2", "\"quantity\":0");
    let refused = translation.outward(nothing).unwrap_err().to_string();
    assert_eq!(
        refused,
        "EventBridge: the data of `shop.orders.OrderPlaced.v1` was not converted: an order of nothing"
    );
}

#[test]
fn what_cannot_be_said_is_an_error() {
    let unmapped = Translation::of(MassTransit).outward(task()).unwrap_err();
    let tag = OrderPlaced::TAG.to_string();
    assert_eq!(unmapped, TranslateError::NoForeignTag { format: "MassTransit", tag });

    let mass_transit = mapped(MassTransit, "urn:message:A:B");
    let mut other = task();
    other.body = other.body.replace(ID, "order-7");
    assert!(mass_transit.outward(other).unwrap_err().to_string().contains("is not a UUID"));

    let twice = mass_transit.outward(mass_transit.outward(task()).unwrap());
    assert!(matches!(twice.unwrap_err(), TranslateError::NoEvent { .. }));

    let jackson = mapped(JacksonProperty::named("order_id"), "OrderPlaced");
    let taken = jackson.outward(task()).unwrap_err();
    assert_eq!(taken.to_string(), "Jackson: `order_id` is there already");
}
