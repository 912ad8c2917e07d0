//! What becomes of messages that are not translated, and which are left alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare_core::{
    DecodeError, MemoryIdempotencyStore, MemoryParkedGroups, Policy, Reason,
    translate::{Inward, SnsNotification, TranslateError, Translation, Translator, format::*},
};

use super::*;

const SUBMIT: &str = "urn:message:Company.Project:SubmitOrder";

fn submitted(types: &[&str], message: Value) -> String {
    json!({ "messageId": ID, "messageType": types, "message": message }).to_string()
}

fn mass_transit() -> Translation<MassTransit> {
    Translation::of(MassTransit).map::<OrderPlaced>(SUBMIT)
}

#[tokio::test]
async fn a_foreign_type_that_is_not_mapped_is_an_unknown_tag() {
    let body = submitted(&["urn:message:Other:Thing"], json!(order()));
    let unknown = Reason::UnknownTag { tag: "urn:message:Other:Thing".into(), handled: None };

    let bench = Bench::new();
    let (consumer, _) = shop();
    let outcomes = bench.run(consumer.translator(mass_transit()), vec![delivery(&body, &[])]).await;
    assert_eq!(outcomes, [Outcome::DeadLettered(unknown.clone())]);
    assert_eq!(bench.dead_letters()[0].1, "unknown type tag `urn:message:Other:Thing`: no handler");

    let seen = Seen::default();
    let router = || Router::new("shop").on(note).unknown_tags(Policy::Acknowledge);
    let consumer = router().with_state(seen.clone()).translator(mass_transit());
    assert_eq!(handle(consumer, delivery(&body, &[])).await, Outcome::Ignored(unknown.clone()));
    let router = Router::new("shop").on(note).unknown_tags(Policy::Keep);
    let consumer = router.with_state(seen).translator(mass_transit());
    assert!(matches!(handle(consumer, delivery(&body, &[])).await, Outcome::Failed { .. }));
    // A source that brings everything brings other systems' messages too.
    let (consumer, _) = shop();
    let consumer = consumer.translator(mass_transit()).unfiltered();
    assert_eq!(handle(consumer, delivery(&body, &[])).await, Outcome::Ignored(unknown));
}

#[tokio::test]
async fn our_own_tags_are_no_way_around_the_allow_list() {
    let (consumer, seen) = shop();
    let consumer = consumer
        .translator(mass_transit())
        .translator(Translation::of(JacksonProperty::class()))
        .translator(Translation::of(JavaType));
    let tag = OrderPlaced::TAG;
    let jackson = json!({ "@class": tag, "order_id": "o-1", "quantity": 1 }).to_string();
    let plain = json!(order()).to_string();
    for (body, attributes) in [
        (submitted(&[tag], json!(order())), vec![]),
        (jackson, vec![]),
        (plain, vec![("JavaType", tag)]),
    ] {
        let outcome = handle(consumer.clone(), delivery(&body, &attributes)).await;
        let unknown = Reason::UnknownTag { tag: tag.into(), handled: None };
        assert_eq!(outcome, Outcome::DeadLettered(unknown));
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_first_of_a_messages_types_that_is_mapped_counts() {
    let (consumer, seen) = shop();
    let body = submitted(&["urn:message:Company.Project:Unmapped", SUBMIT], json!(order()));
    let outcome = handle(consumer.translator(mass_transit()), delivery(&body, &[])).await;
    assert_eq!(outcome, Outcome::Handled { published: 0 });
    assert_eq!(seen.lock().unwrap()[0].1, order());
}

#[tokio::test]
async fn what_is_broken_is_undecodable_and_its_dead_letter_is_what_came() {
    let (consumer, _) = shop();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let letters = seen.clone();
    let consumer = consumer
        .translator(SnsNotification::new())
        .translator(mass_transit())
        .observe(move |delivery, _| letters.lock().unwrap().push(delivery.body.clone()));
    let body = json!({ "messageType": [SUBMIT], "messageId": ID }).to_string();
    let Outcome::DeadLettered(Reason::Undecodable(DecodeError::Translate(error))) =
        handle(consumer, delivery(&body, &[])).await
    else {
        panic!("not undecodable")
    };
    assert_eq!(error.to_string(), "MassTransit: `message` is missing");
    assert_eq!(*seen.lock().unwrap(), [body]);
}

#[tokio::test]
async fn data_that_does_not_convert_is_undecodable_and_errors_hold_no_values() {
    #[derive(Deserialize)]
    struct Submitted {
        quantity: u32,
    }
    let translation = Translation::of(MassTransit).map_inward(SUBMIT, |order: Submitted| {
        if order.quantity == 0 {
            return Err("an order of nothing");
        }
        assert_ne!(order.quantity, 13, "a bug of the conversion");
        Ok(OrderPlaced { order_id: "o-1".into(), quantity: order.quantity })
    });
    let consumer = shop().0.translator(translation);
    let tag = SUBMIT;
    for (message, expected) in [
        (
            json!({ "quantity": "secret" }),
            format!(
                "MassTransit: the data of `{tag}` does not fit its conversion's type: at `quantity`: expected u32"
            ),
        ),
        (
            json!({ "secret": 1 }),
            format!(
                "MassTransit: the data of `{tag}` does not fit its conversion's type: at `.`: missing field `quantity`"
            ),
        ),
        (
            json!({ "quantity": 0 }),
            format!("MassTransit: the data of `{tag}` was not converted: an order of nothing"),
        ),
        (json!({ "quantity": 13 }), "its translator panicked".into()),
    ] {
        let outcome = handle(consumer.clone(), delivery(&submitted(&[tag], message), &[])).await;
        let Outcome::DeadLettered(reason @ Reason::Undecodable(_)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(reason.to_string(), format!("undecodable: {expected}"));
    }
}

#[tokio::test]
async fn what_no_translator_recognises_is_read_as_ours() {
    let everything = || {
        let consumer = shop().0;
        consumer
            .translator(SnsNotification::new())
            .translator(mass_transit())
            .translator(Translation::of(NServiceBus))
            .translator(Translation::of(EventBridge))
            .translator(Translation::of(JacksonProperty::class()))
            .translator(Translation::of(JacksonArray))
            .translator(Translation::of(CloudEvents))
            .translator(Translation::of(PlainJson::tag_in("type")))
    };
    let attributes = [("type", OrderPlaced::TAG)];
    let outcome = handle(everything(), delivery(&ours().to_string(), &attributes)).await;
    assert_eq!(outcome, Outcome::Handled { published: 0 });
    // Wherever the attribute stands that tells.
    let data = json!(order());
    let last = format!(
        r#"{{"id":"1","source":"s","type":"{}","data":{data},"specversion":"1.0"}}"#,
        OrderPlaced::TAG
    );
    let outcome = handle(everything(), delivery(&last, &attributes)).await;
    assert_eq!(outcome, Outcome::Handled { published: 0 });
    for body in ["", "{", "[]", "5", "null", "{}", r#"["a"]"#, "no JSON"] {
        let outcome = handle(everything(), delivery(body, &[])).await;
        assert!(matches!(outcome, Outcome::DeadLettered(Reason::Undecodable(_))), "{body}");
    }
}

#[tokio::test]
async fn a_body_of_ours_goes_on_as_it_is() {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = bodies.clone();
    let consumer = shop().0.translator(Translation::of(CloudEvents)).translator(mass_transit());
    let consumer =
        consumer.observe(move |delivery, _| seen.lock().unwrap().push(delivery.body.clone()));
    let body = format!(" {} ", ours());
    handle(consumer, delivery(&body, &[])).await;
    assert_eq!(*bodies.lock().unwrap(), [body]);
}

#[tokio::test]
async fn what_only_goes_out_in_another_form_comes_in_as_it_is() {
    let translation = Translation::of(CloudEvents).map::<OrderPlaced>(OrderPlaced::TAG);
    let body = ours().to_string();
    assert!(translation.inward(&delivery(&body, &[])).unwrap().is_none());
    let out = translation.outward(task()).unwrap();
    assert!(translation.inward(&delivery(&out.body, &[])).unwrap().is_some());
}

#[tokio::test]
async fn what_a_notification_says_itself_nobody_else_can_say() {
    let subject = SnsNotification::SUBJECT;
    let attribute = json!({ "Type": "String", "Value": "OrderAccepted" });
    let body = json!({
        "Type": "Notification", "Message": json!(order()).to_string(),
        "MessageAttributes": { subject: attribute },
    });
    let just_saying =
        Translation::of(PlainJson::tag_in(subject)).map::<OrderPlaced>("OrderAccepted");
    let consumer = shop().0.translator(SnsNotification::new()).translator(just_saying);
    let outcome =
        handle(consumer, delivery(&body.to_string(), &[(subject, "OrderAccepted")])).await;
    assert!(matches!(outcome, Outcome::DeadLettered(Reason::Undecodable(_))), "{outcome:?}");
}

#[tokio::test]
async fn our_tags_with_data_in_a_string_need_no_mapping() {
    let (consumer, seen) = shop();
    let mut body = ours();
    body["data"] = json!(order()).to_string().into();
    let consumer = consumer.translator(Translation::of(CloudEvents));
    let outcome = handle(consumer, delivery(&body.to_string(), &[])).await;
    assert_eq!(outcome, Outcome::Handled { published: 0 });
    let (envelope, event) = seen.lock().unwrap().remove(0);
    assert_eq!((envelope.id.as_str(), event), (ID, order()));
    assert_eq!(envelope.context.hops, 3);
}

#[tokio::test]
async fn a_message_keeps_its_identity_when_it_comes_again() {
    let class = "com.example.OrderPlaced";
    let body = json!(order()).to_string();
    let spring = || Translation::of(JavaType).map::<OrderPlaced>(class);
    let other = || Translation::of(JavaType).map::<OrderPlaced>("com.example.Other");
    let consumer = shop().0.translator(spring().id_attribute("event-id"));
    let consumer = consumer.idempotency(MemoryIdempotencyStore::default());
    let of = |id: &[(&str, &str)]| {
        let mut delivery = delivery(&body, id);
        delivery.attributes.insert("JavaType".into(), Attribute::text(class));
        // As after a redrive.
        delivery.metadata.message_id = "another".into();
        delivery.metadata.attempt += 1;
        delivery
    };
    let handled = Outcome::Handled { published: 0 };
    assert_eq!(handle(consumer.clone(), of(&[])).await, handled);
    assert_eq!(handle(consumer.clone(), of(&[])).await, Outcome::Duplicate);
    assert_eq!(handle(consumer.clone(), of(&[("event-id", "1")])).await, handled);
    assert_eq!(handle(consumer.clone(), of(&[("event-id", "2")])).await, handled);
    assert_eq!(handle(consumer.clone(), of(&[("event-id", "1")])).await, Outcome::Duplicate);

    let id = |translation: Translation<JavaType>, class: &str| {
        let mut delivery = of(&[]);
        delivery.attributes.insert("JavaType".into(), Attribute::text(class));
        envelope(&translation, &delivery).id
    };
    let (one, another) = (id(spring(), class), id(other(), "com.example.Other"));
    assert_ne!(one, another, "equal bodies of two types are two events");
    assert!(one.starts_with("sha256:"));
}

/// The envelope of a message that is recognised.
fn envelope(translator: &impl Translator, delivery: &RawDelivery) -> Envelope {
    match translator.inward(delivery).unwrap().unwrap() {
        Inward::Event(event) => event.envelope,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_message_says_of_itself_comes_before_what_is_said_beside_it() {
    let translation = mass_transit().id_attribute("event-id").source("legacy");
    let mut body = json!({ "messageType": [SUBMIT], "message": order(), "messageId": "" });
    let beside = [
        ("event-id", "beside"),
        (SnsNotification::MESSAGE_ID, "notification"),
        (SnsNotification::TOPIC_ARN, "topic"),
    ];
    let of = |body: &Value, attributes: &[(&str, &str)]| {
        let envelope = envelope(&translation, &delivery(&body.to_string(), attributes));
        (envelope.source, envelope.id)
    };
    assert_eq!(of(&body, &beside), ("legacy".into(), "beside".into()));
    assert_eq!(of(&body, &beside[1..]), ("legacy".into(), "notification".into()));
    body["messageId"] = ID.into();
    body["sourceAddress"] = "queue:orders".into();
    assert_eq!(of(&body, &beside), ("queue:orders".into(), ID.into()));
}

#[test]
fn a_trace_of_another_kind_is_no_trace() {
    let trace = "00-1e03f9b1b84f3d40b7087f2633fadd4a-38ac2fc84b035447-00";
    for (activity, expected) in [(trace, Some(trace)), ("|e4961366-426f573e06965f93.1.", None)] {
        let body = json!({
            "messageType": [SUBMIT], "message": order(), "headers": { "MT-Activity-Id": activity },
        });
        let envelope = envelope(&mass_transit(), &delivery(&body.to_string(), &[]));
        assert_eq!(envelope.context.traceparent.as_deref(), expected);
    }
}

#[test]
fn a_generic_type_of_net_is_one_type() {
    let generic = "Ns.Changed`1[[Ns.Order, Ns, Version=1.0.0.0]]";
    let body = json!({
        "Headers": { "NServiceBus.EnclosedMessageTypes": format!("{generic}, Ns, Version=1.0.0.0") },
        "Body": "e30=",
    });
    for name in [generic.to_string(), format!("{generic}, Ns")] {
        let translation = Translation::of(NServiceBus).map::<OrderPlaced>(name);
        envelope(&translation, &delivery(&body.to_string(), &[]));
    }
}

#[tokio::test]
async fn a_foreign_event_that_was_parked_is_handled_in_its_turn() {
    async fn reserve(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        // By then somebody has put right what was wrong.
        let redriven = order.metadata.message_id == "redriven";
        if order.event.order_id == "poison" && !redriven {
            return Err(HandlerError::reject("no address"));
        }
        note(seen, order).await
    }
    let bench = Bench::new();
    let seen = Seen::default();
    let router = Router::new("shop").on(reserve).with_state(seen.clone());
    let consumer = router.translator(mass_transit()).park_groups(MemoryParkedGroups::default());
    let of = |order_id: &str, message_id: &str| {
        let message = json!({ "order_id": order_id, "quantity": 2 });
        let body = json!({ "messageId": order_id, "messageType": [SUBMIT], "message": message });
        RawDelivery::new(body.to_string(), Metadata::new(message_id, 1).in_group("customer"))
    };
    let came = vec![of("poison", "1"), of("next", "2")];
    let outcomes = bench.run(consumer.clone(), came).await;
    assert!(
        matches!(
            &outcomes[..],
            [
                Outcome::DeadLettered(Reason::Rejected(_)),
                Outcome::DeadLettered(Reason::Parked { .. })
            ]
        ),
        "{outcomes:?}"
    );
    let redriven = vec![of("poison", "redriven"), of("next", "redriven")];
    let outcomes = bench.run(consumer.clone(), redriven).await;
    assert_eq!(outcomes, [(); 2].map(|()| Outcome::Handled { published: 0 }));
    let free = bench.run(consumer, vec![of("free", "3")]).await;
    assert_eq!(free, [Outcome::Handled { published: 0 }]);
    let handled: Vec<_> = seen.lock().unwrap().iter().map(|(e, _)| e.id.clone()).collect();
    assert_eq!(handled, ["poison", "next", "free"]);
}

#[tokio::test]
async fn translators_are_asked_in_their_order_until_one_recognises_the_message() {
    struct Counting(Arc<AtomicUsize>, bool);
    impl Translator for Counting {
        fn inward(&self, delivery: &RawDelivery) -> Result<Option<Inward>, TranslateError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            if !self.1 {
                return Ok(None);
            }
            let mut inside = delivery.clone();
            inside.body = ours().to_string();
            Ok(Some(Inward::Unwrapped(inside)))
        }

        fn outward(&self, message: Message) -> Result<Message, TranslateError> {
            Ok(message)
        }
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let (consumer, seen) = shop();
    let consumer = consumer
        .translator(Counting(asked.clone(), false))
        .translator(Counting(asked.clone(), true))
        .translator(mass_transit())
        .translator(Counting(asked.clone(), false));
    let body = submitted(&[SUBMIT], json!(order()));
    assert_eq!(handle(consumer, delivery(&body, &[])).await, Outcome::Handled { published: 0 });
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(seen.lock().unwrap()[0].0.source, "orders");
}
