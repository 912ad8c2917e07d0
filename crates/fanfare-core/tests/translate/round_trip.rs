//! What goes out and comes back is the same event.

use fanfare_core::{
    Context,
    translate::{Format, Inward, SnsNotification, Translated, Translation, Translator, format::*},
};
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const TAG: &str = "Company.Project.OrderPlaced";

/// Any event, in our envelope.
fn any_event() -> impl Strategy<Value = (Envelope, Value)> {
    let text = || prop::option::of("[a-zA-Zéß \"\\\\{}0-9:/._-]{1,20}");
    let trace = prop::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-01");
    let uuid = any::<u128>().prop_map(|bits| Uuid::from_u128(bits).to_string());
    let correlation = prop::option::of(prop_oneof![uuid.clone(), "[a-z0-9 ]{1,20}"]);
    let time = prop::option::of(0_i64..4_000_000_000_000_000);
    let data = (".{0,20}", any::<i64>(), any::<f64>(), any::<bool>());
    let envelope =
        (uuid, "[a-z][a-z/-]{0,20}", time, text(), correlation, text(), trace, text(), 0..9_u32);
    (envelope, data).prop_map(|(envelope, (text, integer, float, boolean))| {
        let (id, source, time, key, correlation, cause, trace, state, hops) = envelope;
        let mut made = Envelope::of::<OrderPlaced>(source);
        made.id = id;
        made.time = time.map(|us| Timestamp::from_microsecond(us).unwrap());
        made.key = key;
        made.context = Context::default();
        made.context.correlation_id = correlation;
        made.context.causation_id = cause;
        made.context.tracestate = trace.as_ref().and(state);
        made.context.traceparent = trace;
        made.context.hops = hops;
        let float = if float.is_finite() { json!(float) } else { Value::Null };
        (
            made,
            json!({ "t": text, "i": integer, "f": float, "b": boolean, "n": { "x": [1, null] } }),
        )
    })
}

/// The event as a sealed message.
fn sealed(envelope: &Envelope, data: &Value) -> Message {
    let context = &envelope.context;
    let mut body = json!({
        "specversion": "1.0", "id": envelope.id, "source": envelope.source, "type": envelope.tag,
        "hops": context.hops, "data": data,
    });
    let texts = [
        ("time", envelope.time.map(|time| time.to_string())),
        ("partitionkey", envelope.key.clone()),
        ("correlationid", context.correlation_id.clone()),
        ("causationid", context.causation_id.clone()),
        ("traceparent", context.traceparent.clone()),
        ("tracestate", context.tracestate.clone()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = text.into();
        }
    }
    let to = Destination::Queue("legacy".into());
    Message::new(to, &*envelope.id, OrderPlaced::TAG, "key", vec![], body.to_string())
}

/// The message as it is received.
fn received(message: &Message) -> RawDelivery {
    let mut delivery = RawDelivery::new(&*message.body, Metadata::new("m", 1));
    let attributes = message.attributes.iter();
    delivery.attributes =
        attributes.map(|(name, value)| (name.clone(), Attribute::text(value))).collect();
    delivery
}

fn there_and_back(translator: &impl Translator, envelope: &Envelope, data: &Value) -> Translated {
    let message = translator.outward(sealed(envelope, data)).unwrap();
    match translator.inward(&received(&message)).unwrap() {
        Some(Inward::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn mapped<F: Format>(format: F) -> Translation<F> {
    Translation::of(format).map::<OrderPlaced>(TAG)
}

/// Equal but for what a format has no place for.
fn check(
    translator: &impl Translator,
    (envelope, data): &(Envelope, Value),
    forget: impl Fn(&mut Envelope),
) -> Result<(), TestCaseError> {
    let back = there_and_back(translator, envelope, data);
    let mut expected = envelope.clone();
    forget(&mut expected);
    prop_assert_eq!(&back.envelope, &expected);
    prop_assert_eq!(back.data.get(), data.to_string());
    Ok(())
}

/// What is left where a format has room for the id alone.
fn bare(envelope: &mut Envelope) {
    let mut left = Envelope::of::<OrderPlaced>("legacy");
    left.time = None;
    left.id = std::mem::take(&mut envelope.id);
    *envelope = left;
}

proptest! {
    #[test]
    fn an_event_comes_back_whole_where_the_format_has_room(event in any_event()) {
        check(&mapped(CloudEvents), &event, |_| {})?;
        check(&mapped(MassTransit), &event, |_| {})?;
        check(&mapped(NServiceBus), &event, |_| {})?;
        // A notification has a time, which an event without one takes.
        if event.0.time.is_some() {
            check(&SnsNotification::around(mapped(NServiceBus)), &event, |_| {})?;
        }
    }

    #[test]
    fn an_event_comes_back_with_what_event_bridge_has_room_for(event in any_event()) {
        check(&mapped(EventBridge), &event, |envelope| {
            envelope.key = None;
            envelope.context = Context::default();
        })?;
    }

    #[test]
    fn an_event_comes_back_with_its_id_where_that_has_an_attribute(event in any_event()) {
        check(&mapped(JacksonProperty::class()).id_attribute("id").source("legacy"), &event, bare)?;
        check(&mapped(JacksonArray).id_attribute("id").source("legacy"), &event, bare)?;
        check(&mapped(JavaType).id_attribute("id").source("legacy"), &event, bare)?;
        check(&mapped(PlainJson::tag_in("tag")).id_attribute("id").source("legacy"), &event, bare)?;
    }
}
