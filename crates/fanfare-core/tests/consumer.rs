//! The batch function: what a host may rely on.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use fanfare_core::{
    ConsumerError, Context, Delivery, For, Handle, HandlerError, IntoEvents,
    MemoryIdempotencyStore, Metadata, Outcome, Policy, PublishError, RawDelivery, Reason, Retry,
    Router, Task,
};
use support::*;

async fn place(
    orders: Recorder,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents, HandlerError> {
    orders.note(format!("placed {}", order.event.order_id));
    match order.event.order_id.as_str() {
        "retry" => Err(HandlerError::retry("not now")),
        "later" => Err(HandlerError::retry_after(Duration::from_secs(99), "later")),
        "reject" => Err(HandlerError::reject("never")),
        "panic" => panic!("handler bug"),
        id => Ok(Shipped { order_id: id.to_string() }),
    }
}

fn failed_after(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Failed { after, .. } => Some(*after),
        _ => None,
    }
}

#[tokio::test]
async fn a_handler_gets_state_and_event_and_what_it_returns_is_published() {
    let bench = Bench::new();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let outcomes = bench.run(consumer, vec![placed("o-1").raw()]).await;
    assert_eq!(outcomes, [Outcome::Handled { published: 1 }]);
    assert_eq!(bench.recorder.notes(), ["placed o-1"]);
    let published = bench.published();
    assert_eq!(published[0].tag, "shop.delivery.Shipped.v1");
    assert_eq!(published[0].key, "o-1");
}

#[tokio::test]
async fn a_handlers_error_decides_what_becomes_of_its_delivery() {
    let bench = Bench::new();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let batch = ["retry", "later", "reject", "panic", "fine"].map(|id| placed(id).raw()).to_vec();
    let outcomes = bench.run(consumer, batch).await;
    assert!(failed_after(&outcomes[0]).unwrap() <= Duration::from_secs(1));
    assert_eq!(failed_after(&outcomes[1]), Some(Duration::from_secs(99)));
    assert_eq!(outcomes[2], Outcome::DeadLettered(Reason::Rejected("never".into())));
    assert!(failed_after(&outcomes[3]).is_some(), "a panic is a retry");
    assert_eq!(outcomes[4], Outcome::Handled { published: 1 });
    assert_eq!(bench.dead_letters(), [("reject-id".to_string(), "rejected: never".to_string())]);
}

#[tokio::test]
async fn retries_are_spaced_by_how_often_the_delivery_came() {
    let bench = Bench::new();
    let retry = Retry::exponential(Duration::from_secs(1), Duration::from_secs(60));
    let consumer =
        Router::new("delivery").on(place).with_state(bench.recorder.clone()).retry(retry);
    let outcomes = bench.run(consumer, vec![placed("retry").attempt(5).raw()]).await;
    let after = failed_after(&outcomes[0]).unwrap();
    assert!((Duration::from_secs(8)..=Duration::from_secs(16)).contains(&after), "{after:?}");
}

#[tokio::test]
async fn a_group_stops_at_its_first_failure_while_others_go_on() {
    let bench = Bench::new();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let batch = [("a", "a1"), ("b", "b1"), ("a", "later"), ("a", "a3"), ("b", "b2"), ("a", "a4")];
    let batch = batch.map(|(group, id)| placed(id).group(group).raw()).to_vec();
    let outcomes = bench.run(consumer, batch).await;
    let handled = Outcome::Handled { published: 1 };
    assert_eq!(outcomes[0], handled);
    assert_eq!(outcomes[1], handled);
    assert_eq!(outcomes[4], handled);
    assert_eq!(failed_after(&outcomes[2]), Some(Duration::from_secs(99)));
    let blocked = Outcome::Blocked { after: Duration::from_secs(99) };
    assert_eq!((&outcomes[3], &outcomes[5]), (&blocked, &blocked));
    assert!(!bench.recorder.notes().contains(&"placed a3".to_string()));
}

#[tokio::test]
async fn a_rejected_delivery_does_not_stop_its_group() {
    let bench = Bench::new();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let batch = ["a1", "reject", "a3"].map(|id| placed(id).group("a").raw()).to_vec();
    let outcomes = bench.run(consumer, batch).await;
    assert_eq!(outcomes[2], Outcome::Handled { published: 1 });
}

#[tokio::test]
async fn a_reject_that_the_dead_letter_queue_does_not_take_comes_again() {
    let bench = Bench::new();
    bench.refuse_dead_letters();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let outcomes = bench.run(consumer, vec![placed("reject").raw()]).await;
    assert!(failed_after(&outcomes[0]).is_some());
}

#[tokio::test]
async fn nothing_new_is_begun_once_it_may_not_be() {
    let bench = Bench::new();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let outcomes = bench.run_while(consumer, vec![placed("o-1").raw()], &|| false).await;
    assert_eq!(outcomes, [Outcome::Released]);
    assert!(bench.recorder.notes().is_empty());
}

#[tokio::test]
async fn unknown_tags_and_undecodable_bodies_follow_their_policies() {
    let strange = || placed("o-1").tag("shop.orders.OrderPlaced.v2").raw();
    let garbage = || RawDelivery::new("{", Metadata::new("garbage", 1));
    for policy in [Policy::DeadLetter, Policy::Keep, Policy::Acknowledge] {
        let bench = Bench::new();
        let consumer = Router::new("delivery")
            .on(place)
            .unknown_tags(policy)
            .undecodable(policy)
            .with_state(bench.recorder.clone());
        let outcomes = bench.run(consumer, vec![strange(), garbage(), placed("o-1").raw()]).await;
        for outcome in &outcomes[..2] {
            match policy {
                Policy::DeadLetter => assert!(matches!(outcome, Outcome::DeadLettered(_))),
                Policy::Keep => assert!(matches!(outcome, Outcome::Failed { .. })),
                Policy::Acknowledge => assert!(matches!(outcome, Outcome::Ignored(_))),
            }
        }
        assert_eq!(outcomes[2], Outcome::Handled { published: 1 }, "neighbours are handled");
        if policy == Policy::DeadLetter {
            let reasons: Vec<_> =
                bench.dead_letters().into_iter().map(|(_, reason)| reason).collect();
            assert!(reasons.iter().any(|reason| reason
                == "unknown type tag `shop.orders.OrderPlaced.v2`: only shop.orders.OrderPlaced.v1 is handled"));
            assert!(reasons.iter().any(|reason| reason.starts_with("undecodable: ")));
        }
    }
}

#[tokio::test]
async fn where_everything_comes_what_is_for_others_is_let_go_and_other_versions_follow_the_policy()
{
    for policy in [Policy::DeadLetter, Policy::Keep] {
        let bench = Bench::new();
        let consumer = Router::new("delivery")
            .on(place)
            .unknown_tags(policy)
            .with_state(bench.recorder.clone())
            .unfiltered();
        // Its data would not even parse.
        let paid = r#"{"specversion":"1.0","id":"p-1","source":"orders","type":"shop.orders.OrderPaid.v1","data":{]}"#;
        let unread = RawDelivery::new(paid, Metadata::new("paid", 1));
        let newer = placed("o-1").tag("shop.orders.OrderPlaced.v2").raw();
        let outcomes = bench.run(consumer, vec![unread, newer, placed("o-1").raw()]).await;
        assert!(matches!(&outcomes[0], Outcome::Ignored(_)), "{:?}", outcomes[0]);
        match policy {
            Policy::Keep => assert!(matches!(outcomes[1], Outcome::Failed { .. })),
            _ => assert!(matches!(outcomes[1], Outcome::DeadLettered(_))),
        }
        assert_eq!(outcomes[2], Outcome::Handled { published: 1 });
    }
}

#[tokio::test]
async fn a_duplicate_has_its_effect_once_and_publishes_what_followed_again() {
    let bench = Bench::new();
    let store = MemoryIdempotencyStore::default();
    for expected in [Outcome::Handled { published: 1 }, Outcome::Duplicate] {
        let consumer = Router::new("delivery")
            .on(place)
            .with_state(bench.recorder.clone())
            .idempotency(store.clone());
        let outcomes = bench.run(consumer, vec![placed("o-1").raw()]).await;
        assert_eq!(outcomes, [expected]);
    }
    assert_eq!(bench.recorder.notes(), ["placed o-1"]);
    let published = bench.published();
    assert_eq!(published.len(), 2);
    assert_eq!(published[0], published[1], "byte for byte the same event");
}

#[tokio::test]
async fn a_failed_publish_is_made_up_for_without_a_second_effect() {
    let bench = Bench::new();
    let store = MemoryIdempotencyStore::default();
    let consumer = || {
        Router::new("delivery")
            .on(place)
            .with_state(bench.recorder.clone())
            .idempotency(store.clone())
    };
    bench.fail_next_publish(PublishError::Blocked);
    let first = bench.run(consumer(), vec![placed("o-1").raw()]).await;
    assert!(failed_after(&first[0]).is_some());
    let second = bench.run(consumer(), vec![placed("o-1").attempt(2).raw()]).await;
    assert_eq!(second, [Outcome::Duplicate]);
    assert_eq!(bench.recorder.notes().len(), 1);
    assert_eq!(bench.published().len(), 1);
}

#[tokio::test]
async fn a_failed_or_rejected_handling_leaves_no_trace_in_the_idempotency_store() {
    let bench = Bench::new();
    let store = MemoryIdempotencyStore::default();
    for id in ["retry", "reject", "panic"] {
        for _ in 0..2 {
            let consumer = Router::new("delivery")
                .on(place)
                .with_state(bench.recorder.clone())
                .idempotency(store.clone());
            let _ = bench.run(consumer, vec![placed(id).raw()]).await;
        }
        let count = bench.recorder.notes().iter().filter(|n| n.ends_with(id)).count();
        assert_eq!(count, 2, "{id} is handled again when it comes again");
    }
}

#[tokio::test]
async fn an_id_that_comes_again_with_other_data_is_dead_lettered_and_with_another_envelope_is_not()
{
    let bench = Bench::new();
    let store = MemoryIdempotencyStore::default();
    let run = async |delivery: RawDelivery| {
        let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
        bench.run(consumer.idempotency(store.clone()), vec![delivery]).await.remove(0)
    };
    assert_eq!(run(placed("o-1").raw()).await, Outcome::Handled { published: 1 });
    let mut context = Context::default();
    context.hops = 5;
    assert_eq!(run(placed("o-1").context(context).raw()).await, Outcome::Duplicate);
    let mut other = placed("o-1").raw();
    other.body = other.body.replace(r#""order_id":"o-1""#, r#""order_id":"o-2""#);
    assert_eq!(run(other).await, Outcome::DeadLettered(Reason::OtherPayload));
    let reason = "an event with its source and id, but with other data, came before";
    assert_eq!(bench.dead_letters(), [("o-1-id".to_string(), reason.to_string())]);
    assert_eq!(bench.recorder.notes(), ["placed o-1"]);
}

#[tokio::test]
async fn what_can_never_be_published_dead_letters_its_cause() {
    let bench = Bench::new();
    let error = PublishError::Malformed { tag: "t".into(), problem: "odd".into() };
    bench.fail_next_publish(error);
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let outcomes = bench.run(consumer, vec![placed("o-1").raw()]).await;
    assert!(matches!(&outcomes[0], Outcome::DeadLettered(Reason::Unpublishable(_))));
}

#[tokio::test]
async fn context_is_carried_to_what_follows_without_the_handlers_doing() {
    async fn both(
        emitter: fanfare_core::Emitter,
        order: Delivery<OrderPlaced>,
    ) -> Result<impl IntoEvents, HandlerError> {
        let order_id = order.event.order_id;
        emitter.emit(&Shipped { order_id: order_id.clone() }).await?;
        Ok((Shipped { order_id: order_id.clone() }, Task::to("invoices", Shipped { order_id })))
    }
    let bench = Bench::new();
    let emitter = fanfare_core::Emitter::new("delivery", bench.publisher());
    let consumer = Router::new("delivery").on(both).with_state(emitter);
    let mut context = Context::default();
    context.correlation_id = Some("c-9".into());
    context.traceparent = Some("00-trace".into());
    context.hops = 4;
    let _ = bench.run(consumer, vec![placed("o-1").context(context).raw()]).await;
    let published = bench.published();
    assert_eq!(published.len(), 3);
    for message in &published {
        let (envelope, _) =
            fanfare_core::Opened::open(&message.body).unwrap().read::<Shipped>().unwrap();
        assert_eq!(envelope.context.correlation_id.as_deref(), Some("c-9"));
        assert_eq!(envelope.context.causation_id.as_deref(), Some("o-1-id"));
        assert_eq!(envelope.context.traceparent.as_deref(), Some("00-trace"));
        assert_eq!(envelope.context.hops, 5);
    }
    assert_ne!(published[1].id, published[2].id);
}

#[tokio::test]
async fn an_event_that_starts_a_chain_is_its_own_correlation() {
    let bench = Bench::new();
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let _ = bench.run(consumer, vec![placed("o-1").raw()]).await;
    let message = bench.published().remove(0);
    let (envelope, _) =
        fanfare_core::Opened::open(&message.body).unwrap().read::<Shipped>().unwrap();
    assert_eq!(envelope.context.correlation_id.as_deref(), Some("o-1-id"));
}

#[tokio::test]
async fn a_loop_of_events_ends_in_the_dead_letter_queue() {
    let bench = Bench::new();
    let mut context = Context::default();
    context.hops = 65;
    let consumer = Router::new("delivery").on(place).with_state(bench.recorder.clone());
    let outcomes = bench.run(consumer, vec![placed("o-1").context(context).raw()]).await;
    assert_eq!(outcomes, [Outcome::DeadLettered(Reason::TooManyHops(65))]);
}

#[tokio::test]
async fn a_struct_can_handle_several_events() {
    struct Projection(Recorder);
    impl Handle<OrderPlaced> for Projection {
        type Output = ();
        async fn handle(&self, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
            self.0.note(format!("placed {}", order.event.order_id));
            Ok(())
        }
    }
    impl Handle<Shipped> for Projection {
        type Output = ();
        async fn handle(&self, shipped: Delivery<Shipped>) -> Result<(), HandlerError> {
            self.0.note(format!("shipped {}", shipped.event.order_id));
            Ok(())
        }
    }
    let bench = Bench::new();
    let router: Router = Router::new("view")
        .on::<For<OrderPlaced>>(Projection(bench.recorder.clone()))
        .on::<For<Shipped>>(Projection(bench.recorder.clone()));
    let outcomes = bench.run(router.into(), vec![placed("o-1").raw()]).await;
    assert_eq!(outcomes, [Outcome::Handled { published: 0 }]);
    assert_eq!(bench.recorder.notes(), ["placed o-1"]);
}

#[tokio::test]
async fn a_layer_wraps_handlers_and_their_errors_keep_their_meaning() {
    let bench = Bench::new();
    let router = Router::new("delivery").on(place).layer(tower::layer::layer_fn(
        |inner: fanfare_core::HandlerService| {
            tower::ServiceExt::map_request(inner, |call: fanfare_core::Call| {
                assert_eq!(call.envelope().source, "orders");
                call
            })
        },
    ));
    assert_eq!(router.handled().len(), 1, "its tags stay readable");
    let consumer = router.with_state(bench.recorder.clone());
    let outcomes = bench.run(consumer, vec![placed("reject").raw(), placed("o-1").raw()]).await;
    assert!(matches!(outcomes[0], Outcome::DeadLettered(_)));
    assert_eq!(outcomes[1], Outcome::Handled { published: 1 });
}

#[tokio::test]
async fn a_consumer_that_cannot_work_says_so_before_it_receives() {
    let recorder = Recorder::default();
    let empty: fanfare_core::Consumer = Router::<()>::new("idle").into();
    assert!(matches!(empty.check(), Err(ConsumerError::NoHandlers { .. })));
    let twice = Router::new("delivery").on(place).on(place).with_state(recorder.clone());
    assert!(matches!(
        twice.publisher(Bench::new().publisher()).check(),
        Err(ConsumerError::TwoHandlers { .. })
    ));
    let mute = Router::new("delivery").on(place).with_state(recorder);
    let error = mute.check().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`delivery`: the handler of shop.orders.OrderPlaced.v1 returns events: give it a publisher with Consumer::publisher"
    );
}

#[tokio::test]
async fn a_delivery_whose_attempts_are_used_up_is_dead_lettered_with_its_last_error() {
    let bench = Bench::new();
    let consumer = Router::new("delivery")
        .on(place)
        .with_state(bench.recorder.clone())
        .retry(Retry::default().max_attempts(3));
    let batch = vec![
        placed("retry").attempt(2).group("a").raw(),
        placed("later").attempt(3).group("b").raw(),
        placed("b2").attempt(3).group("b").raw(),
    ];
    let outcomes = bench.run(consumer, batch).await;
    assert!(failed_after(&outcomes[0]).is_some(), "one more try is left");
    let exhausted = Reason::Exhausted { attempts: 3, error: "later".into() };
    assert_eq!(outcomes[1], Outcome::DeadLettered(exhausted));
    assert_eq!(outcomes[2], Outcome::Handled { published: 1 }, "its group goes on");
    let reason = "failed for good at attempt 3: later".to_string();
    assert_eq!(bench.dead_letters(), [("later-id".to_string(), reason)]);
}

#[tokio::test]
async fn a_retried_handler_that_answers_otherwise_does_not_reuse_an_id() {
    async fn undecided(
        answers: Recorder,
        order: Delivery<OrderPlaced>,
    ) -> Result<impl IntoEvents, HandlerError> {
        let order_id = order.event.order_id;
        answers.note(order_id.clone());
        let twice =
            [Shipped { order_id: order_id.clone() }, Shipped { order_id: order_id.clone() }];
        let other = (answers.notes().len() > 1).then(|| Shipped { order_id: "other".into() });
        Ok((other, twice))
    }
    let bench = Bench::new();
    for _ in 0..2 {
        let consumer = Router::new("delivery").on(undecided).with_state(bench.recorder.clone());
        let _ = bench.run(consumer, vec![placed("o-1").raw()]).await;
    }
    let ids: Vec<_> = bench.published().into_iter().map(|m| (m.key, m.id)).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!((&ids[0], &ids[1]), (&ids[3], &ids[4]), "the same events have the same ids");
    assert_ne!(ids[0], ids[1], "two alike have two ids");
    assert!(!ids[..2].contains(&ids[2]), "another event has another id");
}

#[tokio::test]
async fn names_are_needed_for_inboxes_and_sources() {
    let nameless = Router::new("").on(place).with_state(Recorder::default());
    let nameless = nameless.publisher(Bench::new().publisher());
    assert_eq!(nameless.check(), Err(ConsumerError::NoName));
    let emitter = fanfare_core::Emitter::new("", Bench::new().publisher());
    let error = emitter.emit(&Shipped { order_id: "o-1".into() }).await.unwrap_err();
    assert!(error.to_string().contains("has no source"), "{error}");
}
