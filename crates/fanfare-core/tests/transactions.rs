//! Handlers that run in transactions: what a host, and a database, may rely on.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use fanfare_core::{
    BoxError, Call, Consumer, ConsumerError, Delivery, HandlerError, HandlerService, InboxError,
    IntoEvents, Metadata, Outcome, PublishError, RawDelivery, Reason, Retry, Router,
};
use support::{
    ledger::{At, Connection, Ledger},
    *,
};

async fn place(
    orders: Recorder,
    tx: &mut Connection,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents + use<>, HandlerError> {
    let order_id = order.event.order_id;
    orders.note(order_id.clone());
    tx.effects.push(order_id.clone());
    tokio::task::yield_now().await;
    match order_id.split('-').next().unwrap_or_default() {
        "retry" => Err(HandlerError::retry_after(Duration::from_secs(99), "later")),
        "reject" => Err(HandlerError::reject("never")),
        "panic" => panic!("a handler's bug"),
        "hang" => std::future::pending().await,
        "quiet" => Ok(None),
        _ => Ok(Some(Shipped { order_id })),
    }
}

/// Without state, and in a plain `impl IntoEvents`, which borrows the connection as far as types go.
async fn stateless(
    tx: &mut Connection,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents, HandlerError> {
    tx.effects.push(order.event.order_id.clone());
    Ok(Shipped { order_id: order.event.order_id })
}

async fn count(ledger: Ledger, shipped: Delivery<Shipped>) -> Result<(), HandlerError> {
    ledger.note(format!("plain {}", shipped.event.order_id));
    Ok(())
}

fn consumer(bench: &Bench, ledger: &Ledger) -> Consumer {
    let router = Router::new("delivery").on_tx(place);
    router.with_state(bench.recorder.clone()).inbox(ledger.clone())
}

fn is_failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { .. })
}

const HANDLED: Outcome = Outcome::Handled { published: 1 };
const BLOCKED: Outcome = Outcome::Blocked { after: Duration::from_secs(99) };

#[tokio::test]
async fn deliveries_share_a_transaction_and_a_failed_one_is_undone_by_itself() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let batch = ["a", "retry", "b", "reject", "panic", "c"].map(|id| placed(id).raw()).to_vec();
    let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
    assert_eq!(ledger.effects(), ["a", "b", "c"]);
    assert_eq!(ledger.units(), [6]);
    assert_eq!((&outcomes[0], &outcomes[2], &outcomes[5]), (&HANDLED, &HANDLED, &HANDLED));
    assert!(is_failed(&outcomes[1]) && is_failed(&outcomes[4]), "{outcomes:?}");
    assert_eq!(outcomes[3], Outcome::DeadLettered(Reason::Rejected("never".into())));
    let remembered =
        ["a", "retry", "b", "reject", "panic", "c"].map(|id| ledger.remembers(&format!("{id}-id")));
    assert_eq!(remembered, [true, false, true, false, false, true]);
    assert_eq!(bench.published().len(), 3);
}

#[tokio::test]
async fn a_delivery_alone_needs_no_savepoint() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    for id in ["a", "retry", "b"] {
        let _ = bench.run(consumer(&bench, &ledger), vec![placed(id).raw()]).await;
    }
    assert_eq!((ledger.effects(), ledger.savepoints()), (vec!["a".into(), "b".into()], 0));
}

#[tokio::test]
async fn a_handler_without_state_may_return_any_events() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let router: Router = Router::new("delivery").on_tx(stateless);
    assert!(router.handled()[0].returns_events);
    assert_eq!(router.handled()[0].publishes_to, ["deliveries"]);
    let consumer = Consumer::from(router).inbox(ledger.clone());
    assert_eq!(bench.run(consumer, vec![placed("a").raw()]).await, [HANDLED]);
    assert_eq!((ledger.effects(), bench.published().len()), (vec!["a".to_string()], 1));
}

#[tokio::test]
async fn a_duplicate_has_no_second_effect_and_what_followed_is_published_again() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let first = bench.run(consumer(&bench, &ledger), vec![placed("a").raw()]).await;
    let batch = vec![placed("a").raw(), placed("b").raw()];
    let second = bench.run(consumer(&bench, &ledger), batch).await;
    assert_eq!((first, second), (vec![HANDLED], vec![Outcome::Duplicate, HANDLED]));
    assert_eq!(ledger.effects(), ["a", "b"]);
    let published = bench.published();
    assert_eq!(published[0], published[1], "byte for byte the same event");
}

#[tokio::test]
async fn two_copies_in_one_batch_have_one_effect() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let batch = vec![placed("a").raw(), placed("a").raw(), placed("b").raw()];
    let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
    assert_eq!(outcomes, [HANDLED, Outcome::Duplicate, HANDLED]);
    assert_eq!(ledger.effects().len(), 2);
}

#[tokio::test]
async fn with_an_outbox_what_follows_is_recorded_once_and_published_by_nobody_here() {
    let (bench, ledger) = (Bench::new(), Ledger::with_outbox());
    let batch = || vec![placed("a").raw(), placed("retry").raw(), placed("b").raw()];
    let first = bench.run(consumer(&bench, &ledger), batch()).await;
    let second = bench.run(consumer(&bench, &ledger), batch()).await;
    assert_eq!((&first[0], &first[2]), (&HANDLED, &HANDLED));
    assert_eq!((&second[0], &second[2]), (&Outcome::Duplicate, &Outcome::Duplicate));
    let keys: Vec<_> = ledger.outbox().into_iter().map(|message| message.key).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(bench.published().is_empty());
}

#[tokio::test]
async fn what_was_stored_before_there_was_an_outbox_is_recorded_by_its_duplicate() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    bench.fail_next_publish(PublishError::Blocked);
    let first = bench.run(consumer(&bench, &ledger), vec![placed("a").raw()]).await;
    assert!(is_failed(&first[0]));
    let recording = ledger.recording(true);
    let second = bench.run(consumer(&bench, &recording), vec![placed("a").raw()]).await;
    assert_eq!((second, ledger.outbox().len()), (vec![Outcome::Duplicate], 1));
}

#[tokio::test]
async fn a_unit_that_does_not_commit_fails_all_its_deliveries_and_stops_their_groups() {
    for at in [At::Begin, At::Admit, At::Lend, At::Commit] {
        let (bench, ledger) = (Bench::new(), Ledger::default());
        ledger.fail_once(at);
        let batch = vec![
            placed("a1").group("a").raw(),
            placed("a2").group("a").raw(),
            placed("b").raw(),
            placed("reject").raw(),
        ];
        let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
        let Outcome::Failed { after, .. } = outcomes[0] else { panic!("{at:?}: {outcomes:?}") };
        assert_eq!(outcomes[1], Outcome::Blocked { after }, "{at:?}");
        assert!(is_failed(&outcomes[2]) && is_failed(&outcomes[3]), "{at:?}: {outcomes:?}");
        assert_eq!(ledger.effects(), [""; 0], "{at:?}");
        assert!(bench.published().is_empty() && bench.dead_letters().is_empty());
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_made_up_for_by_the_duplicate() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    ledger.fail_once(At::Committed);
    let first = bench.run(consumer(&bench, &ledger), vec![placed("a").raw()]).await;
    assert!(is_failed(&first[0]) && bench.published().is_empty());
    let second = bench.run(consumer(&bench, &ledger), vec![placed("a").raw()]).await;
    assert_eq!((second, bench.published().len()), (vec![Outcome::Duplicate], 1));
    assert_eq!(ledger.effects(), ["a"]);
}

#[tokio::test]
async fn a_handler_that_leaves_the_transaction_unusable_has_failed_and_the_rest_goes_on() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    ledger.fail_once(At::Keep);
    let batch = vec![placed("a").raw(), placed("b").raw()];
    let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
    assert!(is_failed(&outcomes[0]));
    assert_eq!((&outcomes[1], ledger.effects()), (&HANDLED, vec!["b".to_string()]));
}

#[tokio::test]
async fn what_fails_at_every_commit_is_dead_lettered_and_its_neighbours_are_not() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let violated = || InboxError::permanent("a deferred constraint is violated");
    ledger.fail(move |at| (at == At::Commit).then(violated));
    for attempt in 1..=2 {
        let batch = vec![placed("a").attempt(attempt).raw(), placed("b").attempt(attempt).raw()];
        let outcomes = bench
            .run(consumer(&bench, &ledger).retry(Retry::default().max_attempts(2)), batch)
            .await;
        assert!(outcomes.iter().all(is_failed), "among others it is nobody's fault: {outcomes:?}");
    }
    let batch = vec![placed("a").attempt(3).raw(), placed("b").attempt(3).raw()];
    let mut first = true;
    ledger.fail(move |at| (at == At::Commit && std::mem::take(&mut first)).then(violated));
    let outcomes =
        bench.run(consumer(&bench, &ledger).retry(Retry::default().max_attempts(3)), batch).await;
    assert_eq!(ledger.units(), [2, 2, 1, 1], "by then each has a unit of its own");
    assert!(matches!(&outcomes[0], Outcome::DeadLettered(Reason::Exhausted { .. })));
    assert_eq!((&outcomes[1], ledger.effects()), (&HANDLED, vec!["b".to_string()]));
}

#[tokio::test]
async fn a_group_stops_at_its_failure_and_goes_on_behind_a_dead_letter() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let ids = [("a", "a1"), ("b", "b1"), ("a", "retry"), ("b", "reject"), ("a", "a3"), ("b", "b3")];
    let batch = ids.map(|(group, id)| placed(id).group(group).raw()).to_vec();
    let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
    assert_eq!(outcomes[4], BLOCKED);
    assert_eq!(outcomes[5], HANDLED);
    assert_eq!(ledger.effects(), ["a1", "b1", "b3"]);
    assert!(!bench.recorder.notes().contains(&"a3".to_string()), "it was not begun");
    assert!(!ledger.remembers("a3-id"));
}

#[tokio::test]
async fn a_dead_letter_that_is_not_taken_stops_its_group() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    bench.refuse_dead_letters();
    let batch = ["a1", "reject", "a3"].map(|id| placed(id).group("a").raw()).to_vec();
    let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
    let Outcome::Failed { after, .. } = outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[2], Outcome::Blocked { after });
    assert_eq!(ledger.effects(), ["a1"], "what comes behind it has no effect before it");
}

#[tokio::test]
async fn a_failed_publish_blocks_the_groups_rest_which_then_comes_as_duplicates() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let batch = || ["a1", "a2"].map(|id| placed(id).group("a").raw()).to_vec();
    bench.fail_next_publish(PublishError::Blocked);
    let first = bench.run(consumer(&bench, &ledger), batch()).await;
    let Outcome::Failed { after, .. } = first[0] else { panic!("{first:?}") };
    assert_eq!(first[1], Outcome::Blocked { after });
    let second = bench.run(consumer(&bench, &ledger), batch()).await;
    assert_eq!(second, [Outcome::Duplicate, Outcome::Duplicate]);
    let keys: Vec<_> = bench.published().into_iter().map(|message| message.key).collect();
    assert_eq!((keys, ledger.effects().len()), (vec!["a1".to_string(), "a2".into()], 2));
}

#[tokio::test]
async fn what_may_not_begin_is_released_and_not_remembered() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let recorder = bench.recorder.clone();
    let batch = ["a", "b", "c"].map(|id| placed(id).raw()).to_vec();
    let may_begin = move || recorder.notes().len() < 2;
    let outcomes = bench.run_while(consumer(&bench, &ledger), batch, &may_begin).await;
    assert_eq!(outcomes, [HANDLED, HANDLED, Outcome::Released]);
    assert!(ledger.remembers("b-id") && !ledger.remembers("c-id"));
}

#[tokio::test]
async fn in_a_unit_a_lost_lease_ends_its_group_and_nobody_else() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    async fn lose(tx: &mut Connection, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        tx.effects.push(order.event.order_id.clone());
        if order.event.order_id == "lost" {
            order.cancellation.cancel();
        }
        Ok(())
    }
    let of = |group, id| placed(id).group(group).raw();
    let batch = vec![of("a", "lost"), of("a", "a2"), of("b", "b1"), of("b", "b2"), of("b", "b3")];
    batch[3].cancellation.cancel();
    let consumer = Router::new("delivery").on_tx(lose).with_state(()).inbox(ledger.clone());
    let outcomes = bench.run(consumer, batch).await;
    let handled = Outcome::Handled { published: 0 };
    let (lost, released) = (Outcome::Lost, Outcome::Released);
    assert_eq!(outcomes, [lost.clone(), released.clone(), handled, lost, released]);
    assert_eq!(ledger.effects(), ["lost", "b1"], "what was done stays: its duplicate finds it");
    let remembered =
        ["lost", "a2", "b1", "b2", "b3"].map(|id| ledger.remembers(&format!("{id}-id")));
    assert_eq!(remembered, [true, false, true, false, false]);
}

#[tokio::test]
async fn in_a_group_of_both_kinds_the_unit_commits_before_a_plain_one_begins() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    async fn place(
        ledger: Ledger,
        tx: &mut Connection,
        order: Delivery<OrderPlaced>,
    ) -> Result<(), HandlerError> {
        tokio::task::yield_now().await;
        let _ = ledger;
        tx.effects.push(order.event.order_id);
        Ok(())
    }
    let shipped = |id: &str| {
        let body = format!(
            r#"{{"specversion":"1.0","id":"{id}-id","source":"orders","type":"shop.delivery.Shipped.v1","data":{{"order_id":"{id}"}}}}"#
        );
        RawDelivery::new(body, Metadata::new(id, 1).in_group("a"))
    };
    let consumer = Router::new("view").on_tx(place).on(count).with_state(ledger.clone());
    let placed = |id| placed(id).group("a").raw();
    let batch = vec![placed("1"), placed("2"), shipped("3"), placed("4"), shipped("5")];
    let outcomes = bench.run(consumer.inbox(ledger.clone()), batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Handled { published: 0 }));
    assert_eq!(ledger.effects(), ["1", "2", "plain 3", "4", "plain 5"]);
    assert_eq!(ledger.units(), [2, 1]);
}

#[tokio::test]
async fn a_unit_has_at_most_fifty_deliveries() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let batch = (0..120).map(|n| placed(&format!("quiet-{n}")).raw()).collect();
    let outcomes = bench.run(consumer(&bench, &ledger), batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Handled { published: 0 }));
    assert_eq!(ledger.units(), [50, 50, 20]);
    assert_eq!(ledger.effects().len(), 120);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_layer_that_drops_a_handler_gives_the_connection_back() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let timed = |inner: HandlerService| {
        tower::service_fn(move |call: Call| {
            let inner = inner.clone();
            async move {
                let handling = tower::ServiceExt::oneshot(inner, call);
                match tokio::time::timeout(Duration::from_secs(5), handling).await {
                    Ok(handled) => handled,
                    Err(elapsed) => Err(BoxError::from(elapsed)),
                }
            }
        })
    };
    let router = Router::new("delivery").on_tx(place).layer(tower::layer::layer_fn(timed));
    let consumer = router.with_state(bench.recorder.clone()).inbox(ledger.clone());
    let batch = ["hang", "a"].map(|id| placed(id).raw()).to_vec();
    let outcomes = bench.run(consumer, batch).await;
    assert!(is_failed(&outcomes[0]));
    assert_eq!((&outcomes[1], ledger.effects()), (&HANDLED, vec!["a".to_string()]));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_rolls_back() {
    let (bench, ledger) = (Bench::new(), Ledger::default());
    let consumer = consumer(&bench, &ledger);
    let port = bench.publisher();
    let batch = ["a", "hang"].map(|id| placed(id).raw()).to_vec();
    {
        let mut outcomes = std::pin::pin!(consumer.process(batch, 2, &port, &|| true));
        let next = futures_util::StreamExt::next(&mut outcomes);
        assert!(tokio::time::timeout(Duration::from_secs(60), next).await.is_err());
    }
    assert_eq!(bench.recorder.notes(), ["a", "hang"], "both were begun");
    assert!(ledger.effects().is_empty() && !ledger.remembers("a-id"));
}

#[tokio::test]
async fn a_consumer_without_the_right_inbox_says_so_before_it_receives() {
    struct Other;
    async fn other(_: &mut Other, _: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        Ok(())
    }
    let bench = Bench::new();
    let without = Router::new("delivery").on_tx(place).with_state(bench.recorder.clone());
    let error = without.publisher(bench.publisher()).check().unwrap_err();
    assert!(matches!(error, ConsumerError::NoInbox { .. }), "{error}");
    let router: Router = Router::new("delivery").on_tx(other);
    let error = Consumer::from(router).inbox(Ledger::default()).check().unwrap_err().to_string();
    assert!(error.contains("::Other") && error.contains("ledger::Connection"), "{error}");
    let mute = consumer(&bench, &Ledger::default()).check();
    assert!(matches!(mute, Err(ConsumerError::NoOutbox { .. })));
    assert_eq!(consumer(&bench, &Ledger::with_outbox()).check(), Ok(()));
}

#[tokio::test]
async fn a_replayed_delivery_says_so() {
    async fn seen(notes: Recorder, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        notes.note(format!("{}", order.metadata.replayed));
        Ok(())
    }
    let bench = Bench::new();
    let mut replayed = placed("b").raw();
    replayed.metadata = Metadata::new("b", 1).replayed();
    let consumer = Router::new("delivery").on(seen).with_state(bench.recorder.clone());
    let _ = bench.run(consumer, vec![placed("a").raw(), replayed]).await;
    assert_eq!(bench.recorder.notes(), ["false", "true"]);
}
