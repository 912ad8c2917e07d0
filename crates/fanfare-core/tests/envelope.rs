//! The wire: CloudEvents 1.0 out and in, held against another implementation.
#![allow(clippy::unwrap_used)]

use cloudevents::{AttributesReader, EventBuilder, EventBuilderV10, event::ExtensionValue};
use fanfare_core::{
    Context, DecodeError, Delivery, Destination, Emitter, Event, EventType, Message, Opened,
    PendingEvent, PublishReport, Publisher,
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id, filter(country))]
struct OrderPlaced {
    order_id: String,
    country: String,
    quantity: u32,
}

fn order() -> OrderPlaced {
    OrderPlaced { order_id: "o-1".into(), country: "CH".into(), quantity: 2 }
}

/// Keeps what is published.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Message>>>);

impl Publisher for Kept {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.0.lock().unwrap().extend_from_slice(batch);
        PublishReport::new(batch.iter().map(|_| Ok(())).collect())
    }
}

async fn emitted(context: Context) -> Message {
    let kept = Kept::default();
    let emitter = Emitter::new("orders", kept.clone());
    context.scope(emitter.emit(&order())).await.unwrap();
    kept.0.lock().unwrap().remove(0)
}

#[tokio::test]
async fn what_we_write_another_implementation_reads() {
    let mut context = Context::default();
    context.correlation_id = Some("c-1".into());
    context.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    context.hops = 3;
    let message = emitted(context).await;

    let theirs: cloudevents::Event = serde_json::from_str(&message.body).unwrap();
    assert_eq!(theirs.id(), message.id);
    assert_eq!(theirs.ty(), OrderPlaced::TAG);
    assert_eq!(theirs.source().as_str(), "orders");
    assert!(theirs.time().is_some());
    let extension = |name| theirs.extension(name).cloned();
    assert_eq!(extension("partitionkey"), Some(ExtensionValue::String("o-1".into())));
    assert_eq!(extension("correlationid"), Some(ExtensionValue::String("c-1".into())));
    assert_eq!(extension("hops"), Some(ExtensionValue::Integer(3)));
    let Some(cloudevents::Data::Json(data)) = theirs.data() else { panic!("no JSON data") };
    assert_eq!(serde_json::from_value::<OrderPlaced>(data.clone()).unwrap(), order());
}

#[test]
fn what_another_implementation_writes_we_read() {
    let theirs = EventBuilderV10::new()
        .id("their-id")
        .source("/orders")
        .ty(OrderPlaced::TAG)
        .time("2026-11-20T10:00:00Z")
        .extension("correlationid", "c-1")
        .extension("hops", 2i64)
        .extension("unknown", true)
        .data("application/json", serde_json::to_value(order()).unwrap())
        .build()
        .unwrap();
    let body = serde_json::to_string(&theirs).unwrap();
    let (envelope, event) = Opened::open(&body).unwrap().read::<OrderPlaced>().unwrap();
    assert_eq!(event, order());
    assert_eq!((envelope.id.as_str(), envelope.source.as_str()), ("their-id", "/orders"));
    assert_eq!(envelope.time.unwrap().to_string(), "2026-11-20T10:00:00Z");
    assert_eq!(envelope.context.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(envelope.context.hops, 2);
}

#[tokio::test]
async fn type_stands_before_data_and_data_comes_last() {
    let message = emitted(Context::default()).await;
    let body = message.body.replace(&message.id, "ID");
    let time = body.split("\"time\":\"").nth(1).unwrap().split('"').next().unwrap();
    insta::assert_snapshot!(body.replace(time, "TIME"), @r#"{"specversion":"1.0","id":"ID","source":"orders","type":"shop.orders.OrderPlaced.v1","time":"TIME","datacontenttype":"application/json","partitionkey":"o-1","correlationid":"ID","hops":0,"data":{"order_id":"o-1","country":"CH","quantity":2}}"#);
    assert_eq!(message.destination, Destination::Topic("orders".into()));
    assert_eq!(message.key, "o-1");
    let attributes =
        [("type", OrderPlaced::TAG), ("country", "CH")].map(|(n, v)| (n.into(), v.into()));
    assert_eq!(message.attributes, attributes);
}

#[test]
fn attributes_may_stand_in_any_order_around_the_data() {
    let data = r#""data":{"order_id":"o-1","country":"CH","quantity":2}"#;
    let attributes =
        r#""specversion":"1.0","id":"1","source":"orders","type":"shop.orders.OrderPlaced.v1""#;
    let bodies = [
        format!("{{{attributes},\"hops\":5,{data}}}"),
        format!("{{{attributes},{data},\"hops\":5}}"),
        format!("{{{data},{attributes},\"hops\":5}}"),
        format!(" {{ {data} , {attributes}\n,\"hops\" : 5 , \"nested\":{{\"a\":[1,\"}}\"]}} }} "),
    ];
    for body in bodies {
        let (envelope, event) = Opened::open(&body).unwrap().read::<OrderPlaced>().expect(&body);
        assert_eq!((event, envelope.context.hops), (order(), 5), "{body}");
    }
}

#[test]
fn errors_name_the_field_and_never_the_value() {
    let head =
        r#"{"specversion":"1.0","id":"1","source":"orders","type":"shop.orders.OrderPlaced.v1""#;
    let data = |data: &str| format!("{head},\"data\":{data}}}");
    let cases = [
        (
            "not json at all secret".to_string(),
            "the body is not a CloudEvents JSON object: it does not begin with `{`",
        ),
        ("[]".into(), "the body is not a CloudEvents JSON object: it does not begin with `{`"),
        (r#"{"a":1}"#.into(), "CloudEvents attribute `specversion` is missing"),
        (r#"{"specversion":"0.3"}"#.into(), "CloudEvents attribute `specversion` is not \"1.0\""),
        (r#"{"specversion":"1.0","id":5}"#.into(), "CloudEvents attribute `id` is not a string"),
        (r#"{"specversion":"1.0","id":""}"#.into(), "CloudEvents attribute `id` is empty"),
        (format!("{head},\"id\":\"secret\"}}"), "CloudEvents attribute `id` stands twice"),
        (
            format!("{head},\"time\":\"secret\"}}"),
            "CloudEvents attribute `time` is not an RFC 3339 time",
        ),
        (format!("{head},\"time\":5}}"), "CloudEvents attribute `time` is not an RFC 3339 time"),
        (
            format!("{head},\"partitionkey\":\"a\nb\"}}"),
            "CloudEvents attribute `partitionkey` is not a string",
        ),
        (
            format!("{head}}}"),
            "the data of shop.orders.OrderPlaced.v1 does not fit its handler's type: at `.`: there is no `data` (binary `data_base64` is not supported)",
        ),
        (
            data(r#"{"order_id":"secret"}"#),
            "the data of shop.orders.OrderPlaced.v1 does not fit its handler's type: at `.`: missing field `country`",
        ),
        (
            data(r#"{"order_id":"o-1","country":"CH","quantity":"secret"}"#),
            "the data of shop.orders.OrderPlaced.v1 does not fit its handler's type: at `quantity`: expected u32",
        ),
        (
            data("\"secret\""),
            "the data of shop.orders.OrderPlaced.v1 does not fit its handler's type: at `.`: expected struct OrderPlaced",
        ),
        (
            data(r#"{"order_id":"o-1","#),
            "the data of shop.orders.OrderPlaced.v1 does not fit its handler's type: at `.`: the JSON is broken",
        ),
        (
            format!("{} trailing", data(r#"{"order_id":"o-1","country":"CH","quantity":2}"#)),
            "the body is not a CloudEvents JSON object: something follows the object",
        ),
    ];
    for (body, expected) in cases {
        let read: Result<_, DecodeError> =
            Opened::open(&body).and_then(|opened| opened.read::<OrderPlaced>());
        let error = read.expect_err(&body).to_string();
        assert_eq!(error, expected, "{body}");
        assert!(!error.contains("secret"));
    }
}

#[test]
fn data_that_is_no_object_is_refused_when_it_is_written() {
    #[derive(Event, Serialize)]
    #[event(type = "shop.orders.Odd.v1", topic = "orders", key = id)]
    #[serde(transparent)]
    struct Odd {
        id: String,
    }
    let error = PendingEvent::new(&Odd { id: "x".into() }, Destination::Topic("orders".into()));
    assert!(error.unwrap_err().to_string().contains("does not serialize to a JSON object"));
}

#[test]
fn debug_output_holds_no_payload() {
    let delivery = fanfare_core::RawDelivery::new("secret", fanfare_core::Metadata::new("m", 1));
    assert!(!format!("{delivery:?}").contains("secret"));
    let typed = Delivery::of(order());
    assert_eq!(typed.envelope.tag, OrderPlaced::TAG);
}

proptest::proptest! {
    #[test]
    fn any_body_is_read_or_refused_and_never_panics(body in ".{0,200}") {
        let _ = Opened::open(&body).and_then(|opened| opened.read::<OrderPlaced>());
    }

    #[test]
    fn attributes_are_read_as_they_were_written(
        source in "[a-z\"\\\\/\\x00-\\x20\\x7f-\\xffß€😀]{1,40}",
        key in "[a-z]{0,20}[a-z\"\\\\\\x00-\\x20€]?[a-z]{0,20}",
    ) {
        let written = serde_json::json!({
            "specversion": "1.0", "id": "1", "source": source, "type": OrderPlaced::TAG,
            "partitionkey": key, "data": order(), "time": null,
        });
        let body = written.to_string();
        let (envelope, event) = Opened::open(&body).unwrap().read::<OrderPlaced>().unwrap();
        proptest::prop_assert_eq!((envelope.source, envelope.key), (source, Some(key)));
        proptest::prop_assert_eq!((event, envelope.time), (order(), None));
    }

    #[test]
    fn a_cut_or_broken_event_is_read_or_refused_and_never_panics(at in 0usize..240, with in ".?") {
        let whole = r#"{"specversion":"1.0","id":"1","source":"orders","type":"shop.orders.OrderPlaced.v1","hops":2,"data":{"order_id":"o-1","country":"CH","quantity":2},"x":null}"#;
        let at = at.min(whole.len());
        let broken = format!("{}{with}{}", &whole[..at], &whole[(at + 1).min(whole.len())..]);
        let _ = Opened::open(&broken).and_then(|opened| opened.read::<OrderPlaced>());
        let _ = Opened::open(&whole[..at]).and_then(|opened| opened.read::<OrderPlaced>());
    }
}
