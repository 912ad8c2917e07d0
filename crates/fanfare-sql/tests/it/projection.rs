//! Views of the log: kept, made anew, and consistent whatever dies.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_core::{BoxError, Consumer, Delivery, Event, Opened, Retry, Router};
use fanfare_sql::{
    BuildProgress, EventLog, Filter, Generation, Lag, OnFailure, Outbox, Position, Projection,
    ProjectionError, Until, View,
};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    places::Happened,
    stores::{Answer, Gate, OnPostgres, OnSqlite, Seen, Store, Table, now, on_each},
};

/// An event that no view here knows.
#[derive(Debug, Event, Serialize)]
#[event(type = "tests.Ignored.v1", topic = "happenings", key = key)]
struct Ignored {
    key: String,
}

/// What happened, in a table for each generation.
#[derive(Clone)]
struct Diary<S> {
    store: S,
    gate: Gate,
}

fn diary<S: Store>(store: &S) -> Diary<S> {
    gated(store, |_| Answer::Write)
}

fn gated<S: Store>(
    store: &S,
    gate: impl Fn(&Delivery<Seen>) -> Answer + Send + Sync + 'static,
) -> Diary<S> {
    Diary { store: store.clone(), gate: Arc::new(gate) }
}

impl<S: Store> View for Diary<S> {
    fn consumer(&self, generation: Generation) -> Consumer {
        let table = Table { name: format!("diary_{generation}"), gate: self.gate.clone() };
        let quick = Retry::fixed(Duration::from_millis(2));
        S::on_tx(Router::new("diary")).with_state(table).retry(quick.max_attempts(3))
    }

    async fn prepare(&self, generation: Generation) -> Result<(), BoxError> {
        let serial = S::SERIAL;
        let sql = format!(
            "create table if not exists diary_{generation} \
             (id {serial}, key text not null, number bigint not null)"
        );
        let sql =
            if serial.starts_with("integer") { sql.replace("bigint", "integer") } else { sql };
        self.store.sql(&sql).await;
        Ok(())
    }

    async fn retire(&self, generation: Generation) -> Result<(), BoxError> {
        self.store.sql(&format!("drop table if exists diary_{generation}")).await;
        Ok(())
    }
}

fn projection<L: Store, S: Store>(log: &L, diary: &Diary<S>) -> Projection<Diary<S>> {
    Projection::new("diary", &EventLog::new(log.database()), diary.store.database(), diary.clone())
}

fn outbox<S: Store>(store: &S) -> Outbox {
    Outbox::new(store.database(), "orders").logged()
}

/// Records events of these numbers, up to ten in a transaction.
async fn record<S: Store>(store: &S, numbers: impl IntoIterator<Item = u64>) {
    let numbers: Vec<u64> = numbers.into_iter().collect();
    for some in numbers.chunks(10) {
        let mut tx = store.begin().await;
        for &number in some {
            let key = format!("k{}", number % 5);
            outbox(store).record(&mut tx, &Happened::new(key, number)).await.unwrap();
            if number % 3 == 0 {
                outbox(store).record(&mut tx, &Ignored { key: "i".into() }).await.unwrap();
            }
        }
        S::commit(tx).await;
        outbox(store).wake();
    }
}

/// The numbers in the log, and the position of each.
async fn history<S: Store>(store: &S) -> Vec<(u64, i64)> {
    let filter = Filter::all().tag("tests.Happened.v1");
    let events = EventLog::new(store.database()).read(&filter, Position::START, 100_000).await;
    let number = |body: &str| Opened::open(body).unwrap().read::<Number>().unwrap().1.number;
    events.unwrap().iter().map(|e| (e.position.get(), number(&e.message.body))).collect()
}

#[derive(serde::Deserialize)]
struct Number {
    number: i64,
}

async fn numbers<S: Store>(store: &S) -> Vec<i64> {
    history(store).await.into_iter().map(|(_, number)| number).collect()
}

async fn diary_of<S: Store>(store: &S, generation: u32) -> Vec<i64> {
    store.sql(&format!("select number from diary_{generation} order by id")).await
}

/// Up to where the log is in a generation, as its row says.
async fn position<S: Store>(store: &S, generation: u32) -> u64 {
    let sql = format!("select position from fanfare_generations where generation = {generation}");
    store.sql(&sql).await[0].unsigned_abs()
}

async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check().await {
        assert!(Instant::now() < deadline, "{what}: not in 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn caught_up<V: View>(projection: &Projection<V>) {
    until("caught up", || async {
        projection.live_generation().await.unwrap().is_some()
            && projection.lag().await.unwrap() == Lag::default()
    })
    .await;
}

/// A projection that runs in the background.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ProjectionError>>,
}

impl Running {
    fn start<V: View>(projection: Projection<V>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        Running { stop, task: tokio::spawn(async move { projection.run(stopped).await }) }
    }

    async fn stop(self) -> Result<(), ProjectionError> {
        self.stop.cancel();
        self.task.await.unwrap()
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

on_each! {
    a_view_has_all_that_was_recorded_and_follows_what_is,
    a_view_is_made_as_of_a_position_or_a_time_and_goes_live_when_told,
    a_second_runner_is_refused_and_has_no_effect,
    a_view_is_made_anew_under_concurrent_writes_and_readers_never_go_back,
    a_kill_in_the_middle_of_a_batch_leaves_view_and_position_consistent,
    an_event_that_keeps_failing_stops_the_projection_and_is_named,
    an_event_that_keeps_failing_is_skipped_where_that_is_wanted,
    an_event_that_fails_for_a_while_loses_nothing,
    making_a_view_is_gone_on_with_after_a_kill,
    progress_is_told_while_a_view_is_made,
    generations_are_switched_and_retired_only_where_that_makes_sense,
    views_that_are_not_transactional_are_refused,
}

async fn a_view_has_all_that_was_recorded_and_follows_what_is<S: Store>(store: S) {
    record(&store, 1..=120).await;
    let projection = projection(&store, &diary(&store));
    let lag = projection.lag().await.unwrap();
    assert_eq!(lag.events, 120);
    assert!(lag.time > Duration::ZERO && lag.time < Duration::from_secs(60), "{lag:?}");
    let running = Running::start(super::projection::projection(&store, &diary(&store)).batch(70));
    caught_up(&projection).await;
    record(&store, 121..=150).await;
    caught_up(&projection).await;
    assert_eq!(diary_of(&store, 1).await, (1..=150).collect::<Vec<_>>());
    assert_eq!(projection.live_generation().await.unwrap().unwrap().number(), 1);
    running.stop().await.unwrap();
    record(&store, [151]).await;
    assert_eq!(projection.lag().await.unwrap().events, 1);
    let running = Running::start(projection);
    until("151", || async { diary_of(&store, 1).await.len() == 151 }).await;
    running.stop().await.unwrap();
}

async fn a_view_is_made_as_of_a_position_or_a_time_and_goes_live_when_told<S: Store>(store: S) {
    record(&store, 1..=10).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let time = now(&store).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    record(&store, 11..=20).await;
    let projection = projection(&store, &diary(&store));
    let seventh = Position::new(history(&store).await[6].0);
    let as_of_position = projection.build(Until::Position(seventh)).await.unwrap();
    assert_eq!(diary_of(&store, as_of_position.number()).await, (1..=7).collect::<Vec<_>>());
    let as_of_time = projection.build(Until::Time(time)).await.unwrap();
    assert_eq!(diary_of(&store, as_of_time.number()).await, (1..=10).collect::<Vec<_>>());
    let now = projection.build(Until::Now).await.unwrap();
    assert_eq!(diary_of(&store, now.number()).await, (1..=20).collect::<Vec<_>>());
    let future = projection.build(Until::Position(Position::new(u64::MAX))).await.unwrap();
    assert_eq!(diary_of(&store, future.number()).await.len(), 20);
    assert_eq!(projection.live_generation().await.unwrap(), None);

    projection.switch(as_of_position).await.unwrap();
    assert_eq!(projection.live_generation().await.unwrap(), Some(as_of_position));
    let running = Running::start(super::projection::projection(&store, &diary(&store)));
    caught_up(&projection).await;
    running.stop().await.unwrap();
    let all: Vec<_> = (1..=20).collect();
    assert_eq!(diary_of(&store, as_of_position.number()).await, all);
    assert_eq!(diary_of(&store, as_of_time.number()).await.len(), 10);
}

async fn a_second_runner_is_refused_and_has_no_effect<S: Store>(store: S) {
    record(&store, [1]).await;
    let observer = projection(&store, &diary(&store));
    observer.rebuild().await.unwrap();
    let runners = [(); 2].map(|()| Running::start(projection(&store, &diary(&store))));
    let mut number = 1;
    until("one is refused", || {
        number += 1;
        let (store, refused) = (store.clone(), runners.iter().any(|r| r.task.is_finished()));
        async move {
            record(&store, [number]).await;
            refused
        }
    })
    .await;
    caught_up(&observer).await;
    let mut ends = Vec::new();
    for runner in runners {
        ends.push(runner.stop().await);
    }
    let refused: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    assert!(matches!(refused.as_slice(), [ProjectionError::Superseded { .. }]), "{refused:?}");
    assert!(refused[0].is_retryable());
    assert_eq!(diary_of(&store, 1).await, numbers(&store).await);
}

async fn a_view_is_made_anew_under_concurrent_writes_and_readers_never_go_back<S: Store>(store: S) {
    record(&store, 1..=50).await;
    let observer = projection(&store, &diary(&store));
    let running = Running::start(projection(&store, &diary(&store)));
    caught_up(&observer).await;
    let number = Arc::new(AtomicI64::new(51));
    let stop = CancellationToken::new();
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (store, number, stop) = (store.clone(), number.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    record(&store, [number.fetch_add(1, Ordering::SeqCst).unsigned_abs()]).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    for generation in 2..=4 {
        let made = observer.rebuild().await.unwrap();
        assert_eq!(made.number(), generation);
        assert_eq!(observer.live_generation().await.unwrap(), Some(made));
        let seen = diary_of(&store, generation).await;
        let known = numbers(&store).await;
        assert_eq!(seen, known[..seen.len()], "generation {generation}");
        let generations = "select generation from fanfare_generations";
        assert_eq!(store.sql(generations).await, [i64::from(generation)]);
    }
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    caught_up(&observer).await;
    running.stop().await.unwrap();
    assert_eq!(diary_of(&store, 4).await, numbers(&store).await);
}

async fn a_kill_in_the_middle_of_a_batch_leaves_view_and_position_consistent<S: Store>(store: S) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    record(&store, 1..=230).await;
    let history = history(&store).await;
    let empty = Until::Position(Position::START);
    let made = projection(&store, &diary(&store)).build(empty).await.unwrap();
    projection(&store, &diary(&store)).switch(made).await.unwrap();
    let mut at = 0;
    while at < 170 {
        at += random.i64(1..60);
        let hung = Arc::new(Mutex::new(false));
        let reached = hung.clone();
        let view = gated(&store, move |seen| {
            if seen.event.number != at {
                return Answer::Write;
            }
            *reached.lock().unwrap() = true;
            Answer::Hang
        });
        let running = Running::start(projection(&store, &view).batch(random.usize(1..200)));
        until("hung", || async { *hung.lock().unwrap() }).await;
        running.kill().await;
        let position = position(&store, 1).await;
        let expected: Vec<i64> =
            history.iter().filter(|(p, _)| *p <= position).map(|(_, number)| *number).collect();
        assert!(expected.len() < usize::try_from(at).unwrap());
        assert_eq!(diary_of(&store, 1).await, expected, "killed at {at}");
    }
    let observer = projection(&store, &diary(&store));
    let running = Running::start(projection(&store, &diary(&store)));
    caught_up(&observer).await;
    running.stop().await.unwrap();
    assert_eq!(diary_of(&store, 1).await, (1..=230).collect::<Vec<_>>());
}

/// Fails at one number as long as it is told to, and counts.
fn failing<S: Store>(store: &S, number: i64, times: u32) -> (Diary<S>, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let view = gated(store, move |seen| {
        if seen.event.number == number && counted.fetch_add(1, Ordering::SeqCst) < times {
            Answer::Fail
        } else {
            Answer::Write
        }
    });
    (view, count)
}

async fn an_event_that_keeps_failing_stops_the_projection_and_is_named<S: Store>(store: S) {
    record(&store, 1..=80).await;
    let (view, count) = failing(&store, 33, u32::MAX);
    let error = projection(&store, &view).run(std::future::pending()).await.unwrap_err();
    let expected = history(&store).await[32].0;
    let ProjectionError::Failed { position: at, tag, reason, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((at.get(), tag.as_str()), (expected, "tests.Happened.v1"));
    assert!(reason.contains("as it was told"), "{reason}");
    assert!(!error.is_retryable());
    // Once among others, and three times alone.
    assert_eq!(count.load(Ordering::SeqCst), 4);
    assert_eq!(diary_of(&store, 1).await, (1..=32).collect::<Vec<_>>());
    assert_eq!(projection(&store, &view).live_generation().await.unwrap(), None);
    // Mended, it goes on where it stopped.
    let running = Running::start(projection(&store, &diary(&store)));
    caught_up(&projection(&store, &diary(&store))).await;
    running.stop().await.unwrap();
    assert_eq!(diary_of(&store, 1).await, (1..=80).collect::<Vec<_>>());
}

async fn an_event_that_keeps_failing_is_skipped_where_that_is_wanted<S: Store>(store: S) {
    record(&store, 1..=80).await;
    let view = gated(&store, |seen| {
        if [33, 34, 80].contains(&seen.event.number) { Answer::Fail } else { Answer::Write }
    });
    let skipping = projection(&store, &view).on_failure(OnFailure::Skip);
    let made = skipping.rebuild().await.unwrap();
    let expected: Vec<_> = (1..80).filter(|n| ![33, 34].contains(n)).collect();
    assert_eq!(diary_of(&store, made.number()).await, expected);
    assert_eq!(skipping.lag().await.unwrap(), Lag::default());
}

async fn an_event_that_fails_for_a_while_loses_nothing<S: Store>(store: S) {
    record(&store, 1..=120).await;
    let (view, count) = failing(&store, 77, 3);
    let made = projection(&store, &view).rebuild().await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 4);
    assert_eq!(diary_of(&store, made.number()).await, (1..=120).collect::<Vec<_>>());
}

async fn making_a_view_is_gone_on_with_after_a_kill<S: Store>(store: S) {
    record(&store, 1..=150).await;
    let hung = Arc::new(Mutex::new(false));
    let reached = hung.clone();
    let view = gated(&store, move |seen| {
        if seen.event.number != 120 {
            return Answer::Write;
        }
        *reached.lock().unwrap() = true;
        Answer::Hang
    });
    let hanging = projection(&store, &view);
    let building = tokio::spawn(async move { hanging.rebuild().await });
    until("hung", || async { *hung.lock().unwrap() }).await;
    building.abort();
    let _ = building.await;
    assert_eq!(diary_of(&store, 1).await, (1..=100).collect::<Vec<_>>());
    let handled = Arc::new(AtomicU32::new(0));
    let counted = handled.clone();
    let view = gated(&store, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Answer::Write
    });
    let made = projection(&store, &view).rebuild().await.unwrap();
    assert_eq!((made.number(), handled.load(Ordering::SeqCst)), (1, 50));
    assert_eq!(diary_of(&store, 1).await, (1..=150).collect::<Vec<_>>());
}

async fn progress_is_told_while_a_view_is_made<S: Store>(store: S) {
    record(&store, 1..=100).await;
    let told: Arc<Mutex<Vec<BuildProgress>>> = Arc::default();
    let telling = told.clone();
    let projection = projection(&store, &diary(&store))
        .batch(10)
        .on_progress(move |progress| telling.lock().unwrap().push(*progress));
    projection.rebuild().await.unwrap();
    let told = told.lock().unwrap().clone();
    assert!(told.len() >= 10, "{}", told.len());
    assert!(told.is_sorted_by_key(|progress| (progress.done, progress.position)));
    assert_eq!((told[0].done, told[0].total), (10, 100));
    let last = told[told.len() - 1];
    assert_eq!((last.done, last.total, last.position), (100, 100, last.until));
}

async fn generations_are_switched_and_retired_only_where_that_makes_sense<S: Store>(store: S) {
    record(&store, 1..=5).await;
    let projection = projection(&store, &diary(&store));
    let first = projection.rebuild().await.unwrap();
    let refused = projection.retire(first).await.unwrap_err();
    assert!(matches!(refused, ProjectionError::NotApplicable { .. }), "{refused}");
    let second = projection.build(Until::Now).await.unwrap();
    projection.switch(second).await.unwrap();
    projection.retire(first).await.unwrap();
    let refused = projection.switch(first).await.unwrap_err();
    assert!(matches!(refused, ProjectionError::NotApplicable { .. }), "{refused}");
    let (failing, _) = failing(&store, 3, u32::MAX);
    let begun = self::projection(&store, &failing).build(Until::Now).await.unwrap_err();
    assert!(matches!(begun, ProjectionError::Failed { .. }), "{begun}");
    let third = projection.build(Until::Position(Position::new(1))).await.unwrap();
    let finished = projection.rebuild().await.unwrap();
    assert!(second < finished && finished < third);
    projection.retire(third).await.unwrap();
    let third = finished;
    assert_eq!(projection.live_generation().await.unwrap(), Some(third));
    let generations = store.sql("select generation from fanfare_generations").await;
    assert_eq!(generations, [i64::from(third.number())]);
}

/// A view whose handler has no part in the projection's transaction.
struct Plain;

impl View for Plain {
    fn consumer(&self, _: Generation) -> Consumer {
        async fn seen(_: Delivery<Seen>) -> Result<(), fanfare_core::HandlerError> {
            Ok(())
        }
        Router::new("plain").on(seen).with_state(())
    }

    async fn prepare(&self, _: Generation) -> Result<(), BoxError> {
        Ok(())
    }

    async fn retire(&self, _: Generation) -> Result<(), BoxError> {
        Ok(())
    }
}

async fn views_that_are_not_transactional_are_refused<S: Store>(store: S) {
    let log = EventLog::new(store.database());
    let plain = Projection::new("plain", &log, store.database(), Plain);
    let refused = plain.rebuild().await.unwrap_err();
    assert!(matches!(refused, ProjectionError::NotTransactional { .. }), "{refused}");
}

mod across {
    crate::stores::on!(crate::stores::OnPostgres:
        a_log_on_postgres_makes_a_view_on_sqlite,
        a_handler_that_hides_a_failed_statement_stops_the_projection,
        a_view_for_another_kind_of_database_is_refused,
        what_an_open_transaction_has_written_is_waited_for,
    );
}

async fn a_log_on_postgres_makes_a_view_on_sqlite(log: OnPostgres) {
    let views = OnSqlite::start().await.unwrap();
    record(&log, 1..=60).await;
    let observer = projection(&log, &diary(&views));
    let running = Running::start(projection(&log, &diary(&views)));
    caught_up(&observer).await;
    record(&log, 61..=90).await;
    caught_up(&observer).await;
    running.stop().await.unwrap();
    assert_eq!(diary_of(&views, 1).await, (1..=90).collect::<Vec<_>>());
}

async fn a_handler_that_hides_a_failed_statement_stops_the_projection(store: OnPostgres) {
    record(&store, 1..=40).await;
    let view =
        gated(&store, |seen| if seen.event.number == 20 { Answer::Swallow } else { Answer::Write });
    let error = projection(&store, &view).rebuild().await.unwrap_err();
    let expected = history(&store).await[19].0;
    assert!(
        matches!(&error, ProjectionError::Failed { position, .. } if position.get() == expected),
        "{error}"
    );
    assert_eq!(diary_of(&store, 1).await, (1..=19).collect::<Vec<_>>());
}

async fn a_view_for_another_kind_of_database_is_refused(store: OnPostgres) {
    let views = OnSqlite::start().await.unwrap();
    let log = EventLog::new(store.database());
    // Its tables would be made in PostgreSQL, its rows written to SQLite.
    let mixed = Projection::new("diary", &log, views.database(), diary(&store));
    let refused = mixed.rebuild().await.unwrap_err();
    assert!(matches!(refused, ProjectionError::Consumer(_)), "{refused}");
}

async fn what_an_open_transaction_has_written_is_waited_for(store: OnPostgres) {
    let mut slow = store.begin().await;
    outbox(&store).record(&mut slow, &Happened::new("s", 1)).await.unwrap();
    record(&store, 2..=4).await;
    let making = projection(&store, &diary(&store));
    let making = tokio::spawn(async move { making.rebuild().await });
    until("it began", || async {
        store.sql("select count(*) from fanfare_generations").await == [1]
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!making.is_finished());
    OnPostgres::commit(slow).await;
    making.await.unwrap().unwrap();
    assert_eq!(diary_of(&store, 1).await, [1, 2, 3, 4]);
}
