//! Trials of the inbox: copies at once, crashes, locks, and what a handler may do wrong.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_core::{BoxError, Call, HandlerService, Outcome, RawDelivery, Reason, Retry};
use fanfare_sql::Outbox;

use crate::{
    broker::PATIENCE,
    inbox::{Bench, What, asked, asked_again, is_failed, run},
    stores::{OnPostgres, Store, on_each},
};

on_each! {
    two_copies_at_once_the_first_rolls_back_and_the_second_has_the_effect,
    two_copies_at_once_the_first_commits_and_the_second_is_a_duplicate,
    a_crash_between_commit_and_delete_is_a_duplicate,
    consumers_that_crash_at_random_have_each_effect_once,
    many_consumers_with_overlapping_batches_have_each_effect_once_and_never_deadlock,
}

mod on_postgres_alone {
    crate::stores::on!(crate::stores::OnPostgres:
        a_second_copy_waits_no_longer_than_the_lock_timeout,
        a_handler_that_passes_over_a_failed_statement_is_not_acknowledged,
        what_fails_only_at_the_commit_is_dead_lettered_alone,
        a_handler_that_is_dropped_in_a_statement_is_undone,
    );
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Starts the first copy, waits until it has its row, then the second; gives their outcomes after
/// the first was let go.
async fn two_copies<S: Store>(bench: &Bench<S>, what: What) -> (Outcome, Outcome) {
    let start = |what| {
        let consumer = bench.consumer(bench.inbox());
        tokio::spawn(async move { run(&consumer, vec![asked("a", what)]).await.remove(0) })
    };
    let begun = async |count| {
        until("begun", async || bench.state.begun.lock().unwrap().len() == count).await;
    };
    let first = start(what);
    begun(1).await;
    let mut second = start(What::Succeed);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(waited.is_err(), "the second does not end before the first");
    begun(1).await;
    bench.state.let_go();
    (first.await.unwrap(), second.await.unwrap())
}

/// Trial 8: two copies at once in the inbox, the first rolls back.
async fn two_copies_at_once_the_first_rolls_back_and_the_second_has_the_effect<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let (first, second) = two_copies(&bench, What::WaitThenFail).await;
    assert!(is_failed(&first), "{first:?}");
    assert_eq!(second, Outcome::Handled { published: 0 });
    bench.effects_are(&["a"]).await;
}

async fn two_copies_at_once_the_first_commits_and_the_second_is_a_duplicate<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let (first, second) = two_copies(&bench, What::WaitThenSucceed).await;
    assert_eq!((first, second), (Outcome::Handled { published: 0 }, Outcome::Duplicate));
    bench.effects_are(&["a"]).await;
}

/// Trial 8: a crash between commit and delete. Nothing is settled, and everything comes again.
async fn a_crash_between_commit_and_delete_is_a_duplicate<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let outbox = Outbox::new(bench.store.database(), "products");
    let batch = || vec![asked("a", What::Answer), asked("b", What::Answer)];
    for expected in [Outcome::Handled { published: 1 }, Outcome::Duplicate] {
        let outcomes = bench.run(bench.inbox().outbox(&outbox), batch()).await;
        assert_eq!(outcomes, [expected.clone(), expected]);
    }
    bench.effects_are(&["a", "b"]).await;
    assert_eq!(bench.count("fanfare_outbox").await, 2);
}

/// Consumers that are ended at any moment, whose deliveries come again.
async fn consumers_that_crash_at_random_have_each_effect_once<S: Store>(store: S) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let bench = Bench::new(store).await;
    let outbox = Outbox::new(bench.store.database(), "products");
    let batch: Vec<RawDelivery> = (0..10).map(|n| asked(&n.to_string(), What::Answer)).collect();
    for round in 0..60 {
        let consumer = bench.consumer(bench.inbox().outbox(&outbox));
        let batch = batch[..random.usize(1..=10)].to_vec();
        let handling = tokio::spawn(async move { run(&consumer, batch).await });
        tokio::time::sleep(Duration::from_micros(random.u64(0..12_000))).await;
        handling.abort();
        let _ = handling.await;
        let effects = bench.effects().await;
        assert!(effects.values().all(|times| *times == 1), "{effects:?} in round {round}");
    }
    let outcomes = bench.run(bench.inbox().outbox(&outbox), batch).await;
    assert!(!outcomes.iter().any(is_failed), "{outcomes:?}");
    assert_eq!(bench.effects().await.len(), 10);
    assert_eq!(bench.count("effects").await, 10);
    assert_eq!(bench.count("fanfare_outbox").await, 10);
    assert_eq!(bench.count("fanfare_inbox").await, 10);
}

/// Batches with the same events in other orders, at once.
async fn many_consumers_with_overlapping_batches_have_each_effect_once_and_never_deadlock<
    S: Store,
>(
    store: S,
) {
    const EVENTS: usize = 120;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let bench = Arc::new(Bench::new(store).await);
    let outbox = Outbox::new(bench.store.database(), "products");
    let consumers = (0..6).map(|consumer| {
        let (bench, outbox) = (Arc::clone(&bench), outbox.clone());
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed + consumer);
            let mut events: Vec<usize> = (0..EVENTS).collect();
            random.shuffle(&mut events);
            let consumer = bench.consumer(bench.inbox().outbox(&outbox));
            let mut handled = 0;
            while !events.is_empty() {
                let size = random.usize(1..=20).min(events.len());
                let batch = events.drain(..size).map(|n| asked(&n.to_string(), What::Answer));
                for outcome in run(&consumer, batch.collect()).await {
                    match outcome {
                        Outcome::Handled { .. } => handled += 1,
                        Outcome::Duplicate => {}
                        other => panic!("{other:?}, seed {seed}"),
                    }
                }
            }
            handled
        })
    });
    let handled = futures_util::future::join_all(consumers).await;
    let handled: usize = handled.into_iter().map(Result::unwrap).sum();
    assert_eq!(handled, EVENTS, "seed {seed}");
    let effects = bench.effects().await;
    assert!(effects.len() == EVENTS && effects.values().all(|times| *times == 1), "{effects:?}");
    assert_eq!(bench.count("fanfare_outbox").await, EVENTS as i64);
}

async fn a_second_copy_waits_no_longer_than_the_lock_timeout(store: OnPostgres) {
    let bench = Bench::new(store).await;
    let consumer = bench.consumer(bench.inbox());
    let first =
        tokio::spawn(async move { run(&consumer, vec![asked("a", What::WaitThenSucceed)]).await });
    until("begun", async || bench.state.begun.lock().unwrap().len() == 1).await;
    let inbox = || bench.inbox().lock_timeout(Duration::from_millis(50));
    let batch = vec![asked("a", What::Succeed), asked("b", What::Succeed)];
    let outcomes = bench.run(inbox(), batch.clone()).await;
    assert!(outcomes.iter().all(is_failed), "{outcomes:?}");
    let third: Vec<_> = ["a", "b"].map(|id| asked_again(id, What::Succeed, 3)).to_vec();
    let outcomes = bench.run(inbox(), third).await;
    assert!(is_failed(&outcomes[0]), "its turn is still to come");
    assert_eq!(outcomes[1], Outcome::Handled { published: 0 }, "and it holds nobody up any more");
    bench.state.let_go();
    first.await.unwrap();
    assert_eq!(bench.run(inbox(), batch).await, [Outcome::Duplicate, Outcome::Duplicate]);
    bench.effects_are(&["a", "b"]).await;
}

async fn a_handler_that_passes_over_a_failed_statement_is_not_acknowledged(store: OnPostgres) {
    let bench = Bench::new(store).await;
    let alone = bench.run(bench.inbox(), vec![asked("a", What::PassOver)]).await;
    assert!(is_failed(&alone[0]), "its commit would have rolled back: {alone:?}");
    let batch =
        vec![asked("b", What::Succeed), asked("a", What::PassOver), asked("c", What::Succeed)];
    let outcomes = bench.run(bench.inbox(), batch).await;
    assert!(is_failed(&outcomes[1]), "{outcomes:?}");
    bench.effects_are(&["b", "c"]).await;
    let last = vec![asked("d", What::Succeed), asked("a", What::PassOver)];
    assert!(is_failed(&bench.run(bench.inbox(), last).await[1]));
    bench.effects_are(&["b", "c", "d"]).await;
    assert_eq!(bench.count("fanfare_inbox").await, 3);
}

async fn what_fails_only_at_the_commit_is_dead_lettered_alone(store: OnPostgres) {
    let bench = Bench::new(store).await;
    let consumer = || bench.consumer(bench.inbox()).retry(Retry::default().max_attempts(4));
    for attempt in 1..=3 {
        let batch = vec![
            asked_again("poison", What::ViolateLate, attempt),
            asked_again("a", What::Succeed, attempt),
        ];
        let outcomes = run(&consumer(), batch).await;
        assert!(is_failed(&outcomes[0]), "attempt {attempt}: {outcomes:?}");
        assert_eq!(is_failed(&outcomes[1]), attempt < 3, "attempt {attempt}: {outcomes:?}");
    }
    let outcomes = run(&consumer(), vec![asked_again("poison", What::ViolateLate, 4)]).await;
    let Outcome::DeadLettered(Reason::Exhausted { error, .. }) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert!(error.contains("foreign key"), "{error}");
    bench.effects_are(&["a"]).await;
}

async fn a_handler_that_is_dropped_in_a_statement_is_undone(store: OnPostgres) {
    let bench = Bench::new(store).await;
    let timed = |inner: HandlerService| {
        tower::service_fn(move |call: Call| {
            let handling = tower::ServiceExt::oneshot(inner.clone(), call);
            async move {
                match tokio::time::timeout(Duration::from_secs(1), handling).await {
                    Ok(handled) => handled,
                    Err(elapsed) => Err(BoxError::from(elapsed)),
                }
            }
        })
    };
    let consumer = bench.layered(tower::layer::layer_fn(timed));
    let batch =
        vec![asked("a", What::Succeed), asked("b", What::Linger), asked("c", What::Succeed)];
    let outcomes = run(&consumer, batch).await;
    assert!(is_failed(&outcomes[1]), "{outcomes:?}");
    bench.effects_are(&["a", "c"]).await;
    // Alone too, and the connection that it leaves behind is as good as new.
    for _ in 0..3 {
        assert!(is_failed(&run(&consumer, vec![asked("b", What::Linger)]).await[0]));
    }
    let batch = vec![asked("b", What::Succeed)];
    assert_eq!(run(&consumer, batch).await, [Outcome::Handled { published: 0 }]);
}
