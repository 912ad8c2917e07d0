//! Messages that somebody made to do harm.

use fanfare_core::{
    Reason,
    translate::{SnsNotification, Translation, Translator, format::*},
};
use proptest::prelude::*;

use super::*;

const TAG: &str = "com.example.OrderPlaced";

/// All formats, with one type on each list.
fn all() -> Vec<Arc<dyn Translator>> {
    fn one<F: fanfare_core::translate::Format + 'static>(format: F) -> Arc<dyn Translator> {
        Arc::new(Translation::of(format).map::<OrderPlaced>(TAG))
    }
    vec![
        Arc::new(SnsNotification::new()),
        one(CloudEvents),
        one(JacksonProperty::class()),
        one(JacksonArray),
        one(JavaType),
        one(MassTransit),
        one(NServiceBus),
        one(EventBridge),
        one(PlainJson::tag_in("event_type")),
    ]
}

/// What the first that recognises it says; fails where a secret gets into an error.
fn read(delivery: &RawDelivery) -> Result<bool, String> {
    for translator in all() {
        match translator.inward(delivery) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(true),
            Err(error) => {
                let error = error.to_string();
                assert!(!error.contains("secret"), "{error}");
                return Err(error);
            }
        }
    }
    Ok(false)
}

/// A body, attributes, and how it is refused.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn wrong_types_are_refused_by_the_name_of_their_field() {
    let headers = [("NServiceBus.AmazonSQS.Headers", r#"{"a":"secret","b":5}"#)];
    let cases: [Case<'_>; 22] = [
        (
            r#"{"messageType":"secret","message":{}}"#,
            &[],
            "MassTransit: `messageType` is not a list of types",
        ),
        (r#"{"messageType":[],"message":{}}"#, &[], "MassTransit: `messageType` names no type"),
        (
            r#"{"messageType":["a",5],"message":{}}"#,
            &[],
            "MassTransit: `messageType` is not a list of types",
        ),
        (
            r#"{"messageType":["a"],"message":null,"messageId":"1"}"#,
            &[],
            "MassTransit: `message` is missing",
        ),
        (
            r#"{"messageType":["a"],"message":{},"messageId":["secret"]}"#,
            &[],
            "MassTransit: `messageId` is not a string",
        ),
        (
            r#"{"messageType":["a"],"message":{},"headers":["secret"]}"#,
            &[],
            "MassTransit: `headers` is not an object",
        ),
        (
            r#"{"messageType":["a"],"message":{},"message":{"x":"secret"}}"#,
            &[],
            "MassTransit: `message` stands twice",
        ),
        (
            r#"{"messageType":["a"],"messageType":["b"],"message":{}}"#,
            &[],
            "MassTransit: `messageType` stands twice",
        ),
        (
            r#"{"Headers":{},"Body":"e30="}"#,
            &[],
            "NServiceBus: `NServiceBus.EnclosedMessageTypes` is missing",
        ),
        (
            r#"{"Headers":["secret"],"Body":"e30="}"#,
            &[],
            "NServiceBus: `Headers` is not an object of strings",
        ),
        (
            r#"{"Headers":{"NServiceBus.EnclosedMessageTypes":"a"},"Body":"secret!"}"#,
            &[],
            "NServiceBus: `Body` is not base64",
        ),
        (
            r#"{"Headers":{"NServiceBus.EnclosedMessageTypes":"a"},"Body":"//4="}"#,
            &[],
            "NServiceBus: `Body` is not UTF-8",
        ),
        (
            r#"{"Headers":{"NServiceBus.EnclosedMessageTypes":"a"},"Body":"PHhtbC8+"}"#,
            &[],
            "NServiceBus: `Body` is not JSON",
        ),
        (
            r#"{"Headers":{},"Body":"","S3BodyKey":"secret"}"#,
            &[],
            "NServiceBus: `S3BodyKey` is set: bodies in S3 are not fetched",
        ),
        (
            "{}",
            &headers,
            "NServiceBus: `NServiceBus.AmazonSQS.Headers` is not an object of strings",
        ),
        (r#"{"detail-type":5,"detail":{}}"#, &[], "EventBridge: `detail-type` is not a string"),
        (r#"{"detail-type":"a","source":"secret"}"#, &[], "EventBridge: `detail` is missing"),
        (r#"{"@class":{"secret":1}}"#, &[], "Jackson: `@class` is not a string"),
        ("secret", &[("JavaType", TAG)], "Spring: `.` is not JSON"),
        (
            r#"{"Type":"Notification","Message":{"secret":1}}"#,
            &[],
            "SNS notification: `Message` is not a string",
        ),
        (
            r#"{"Type":"Notification","Message":"","MessageAttributes":{"a":"secret"}}"#,
            &[],
            "SNS notification: `MessageAttributes` is not attributes with `Type` and `Value`",
        ),
        (
            r#"{"Type":"SubscriptionConfirmation","TopicArn":"arn","SubscribeURL":"secret"}"#,
            &[],
            "SNS notification: `Type` is not a notification: a subscription of this queue waits for its confirmation",
        ),
    ];
    for (body, attributes, expected) in cases {
        assert_eq!(read(&delivery(body, attributes)).expect_err(body), expected, "{body}");
    }
}

#[test]
fn cloud_events_that_are_broken_behind_a_string_are_refused() {
    for (tail, expected) in [
        (r#""data":"secret"}"#, "CloudEvents: `data` is a string that holds no JSON"),
        (r#""data":"{}","time":"secret"}"#, "CloudEvents: `time` is not an RFC 3339 time"),
        (r#""data":"{}"#, "CloudEvents: `data` the JSON is broken"),
    ] {
        let body = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"{TAG}",{tail}"#);
        assert_eq!(read(&delivery(&body, &[])).unwrap_err(), expected);
    }
    let base64 = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"{TAG}","data_base64":"e30="}}"#
    );
    assert!(read(&delivery(&base64, &[])).unwrap_err().contains("data_base64"));
}

#[tokio::test]
async fn depth_and_size_are_refused_or_passed_on_and_never_overflow() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let huge = "x".repeat(1_000_000);
    let bodies = [
        deep.clone(),
        format!(r#"{{"messageType":["{TAG}"],"message":{deep}}}"#),
        format!(r#"{{"messageType":["{TAG}"],"message":{{}},"headers":{{"a":{deep}}}}}"#),
        format!(r#"{{"detail-type":"{TAG}","detail":{deep}}}"#),
        format!(r#"{{"@class":"{TAG}","a":{deep}}}"#),
        format!(r#"["{TAG}",{deep}]"#),
        format!(r#"{{"other":{deep}}}"#),
        format!(r#"["{huge}",{{}}]"#),
        format!(r#"{{"messageType":["{huge}"],"message":{{}}}}"#),
    ];
    for body in bodies {
        let consumer = all()
            .into_iter()
            .fold(shop().0, |consumer, translator| consumer.translator(translator));
        let outcome = handle(consumer, delivery(&body, &[])).await;
        let Outcome::DeadLettered(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.to_string().len() < 600, "a reason fits a log");
    }
}

#[tokio::test]
async fn a_tag_in_a_reason_is_one_short_line() {
    let consumer = shop().0.translator(Translation::of(JacksonArray));
    let body = json!([format!("com.x\n{}", "é".repeat(1_000)), {}]).to_string();
    let Outcome::DeadLettered(Reason::UnknownTag { tag, .. }) =
        handle(consumer, delivery(&body, &[])).await
    else {
        panic!("not unknown")
    };
    assert!(tag.len() < 300 && tag.ends_with('…') && !tag.contains('\n'), "{tag}");
}

/// JSON of any shape, with the names that formats look for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "messageType",
        "message",
        "messageId",
        "headers",
        "sentTime",
        "Headers",
        "Body",
        "detail-type",
        "detail",
        "id",
        "source",
        "time",
        "@class",
        "Type",
        "Message",
        "Subject",
        "MessageAttributes",
        "Value",
        "specversion",
        "type",
        "data",
        "S3BodyKey",
        "x",
        "NServiceBus.EnclosedMessageTypes",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(TAG.into()),
        Just("Notification".into()),
        Just("1.0".into()),
        Just("e30=".into()),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(n, v)| (n.to_string(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_never_panics(body in ".{0,200}", attribute in ".{0,50}") {
        let attributes =
            [("JavaType", &*attribute), ("event_type", TAG), ("NServiceBus.AmazonSQS.Headers", &attribute)];
        for attributes in [&attributes[..], &attributes[..1], &[]] {
            let _ = read(&delivery(&body, attributes));
        }
    }

    #[test]
    fn any_json_is_read_or_refused_and_never_panics(body in any_json()) {
        let _ = read(&delivery(&body.to_string(), &[]));
        let _ = read(&delivery(&body.to_string(), &[("JavaType", TAG)]));
    }

    #[test]
    fn a_cut_or_broken_message_is_read_or_refused_and_never_panics(
        file in prop::sample::select(vec![
            "cloud_events.json", "jackson_property.json", "jackson_array.json", "mass_transit.json",
            "nservice_bus.json", "event_bridge.json", "sns_attributes.json", "just_saying.json",
        ]),
        at in any::<prop::sample::Index>(),
        with in ".?",
    ) {
        let whole = golden(file);
        let at = whole.floor_char_boundary(at.index(whole.len()));
        let rest = whole[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let _ = read(&delivery(&whole[..at], &[]));
        let _ = read(&delivery(&format!("{}{with}{}", &whole[..at], &whole[rest..]), &[]));
    }
}
