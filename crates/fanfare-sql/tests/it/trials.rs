//! The trials that outboxes are put to, those that need no process to be killed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_sql::Outbox;
use proptest::prelude::*;
use sqlx::{AssertSqlSafe, PgPool};

use crate::{
    broker::{Broker, number, refused},
    places::{Happened, Place, Pool, Running, on_both},
    relay::until,
};

on_both! {
    a_time_out_after_acceptance_repeats_and_loses_nothing,
    leases_go_by_the_databases_clock,
}

fn pool(place: &Place) -> &PgPool {
    match &place.pool {
        Pool::Postgres(pool) => pool,
        Pool::Sqlite(_) => unreachable!(),
    }
}

/// Trial 4: the broker accepts, and its answer does not come before the lease ends.
async fn a_time_out_after_acceptance_repeats_and_loses_nothing(place: Place) {
    let lease = Duration::from_millis(400);
    let broker = Broker::new().answering_late(3, Duration::from_secs(3_600));
    let relay = Running::start(place.relay(&broker).lease(lease));
    let events = (0..60).map(|n| Happened::new(format!("k-{}", n % 6), n / 6)).collect();
    place.record(events).await.unwrap();
    broker.has(60).await;
    until("all to be settled", async || place.count("outbox").await == 0).await;
    relay.stop().await;
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "{key}");
    }
    assert!(broker.accepted().len() > 60, "what was accepted without an answer comes again");
}

/// Trial 5: the clock of a relay. No statement of a relay carries a time of the relay's own, and the
/// lint `disallowed-methods` keeps it from reading one: whether a lease has ended is decided by the
/// row and the database's clock.
async fn leases_go_by_the_databases_clock(place: Place) {
    place.lease_all_to("somebody else, whose clock is wrong", 3_600).await;
    place.record(vec![Happened::new("k", 0)]).await.unwrap();
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).lease(Duration::from_millis(100)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(broker.accepted().is_empty(), "a lease that had not ended was taken");
    place.lease_all_to("somebody else, whose clock is wrong", -1).await;
    broker.has(1).await;
    relay.stop().await;
}

/// Trial 6, the read-only snapshot and the unrelated write: both stay open, and nothing waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_transactions_of_others_delay_nothing() {
    let Some(place) = Place::postgres().await else { return };
    let pool = pool(&place);
    sqlx::raw_sql("create table business (n bigint)").execute(pool).await.unwrap();
    let mut snapshot = pool.begin_with("begin isolation level repeatable read").await.unwrap();
    sqlx::query("select * from fanfare_outbox").fetch_all(&mut *snapshot).await.unwrap();
    let mut write = pool.begin().await.unwrap();
    sqlx::query("insert into business values (1)").execute(&mut *write).await.unwrap();
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    let start = Instant::now();
    for round in 0..100 {
        place
            .record((0..20).map(|key| Happened::new(format!("k-{key}"), round)).collect())
            .await
            .unwrap();
    }
    broker.has(2_000).await;
    assert!(start.elapsed() < crate::broker::PATIENCE);
    relay.stop().await;
    write.rollback().await.unwrap();
    snapshot.rollback().await.unwrap();
    assert_eq!(place.count("outbox").await, 0);
}

/// Trial 6, the late enqueuer: an event whose transaction stays open while many later ones are
/// published is neither lost nor overtaken by the next of its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_commit_is_not_overtaken_by_the_next_event_of_its_key() {
    let Some(place) = Place::postgres().await else { return };
    let pool = pool(&place);
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    // Of the late key's shard, so that its floor rises.
    let others: Vec<String> = (0..)
        .map(|n| format!("other-{n}"))
        .filter(|key| fanfare_sql::shard_of(key) == fanfare_sql::shard_of("late"))
        .take(10)
        .collect();
    let mut published = 0;
    for round in 0..8 {
        let mut late = pool.begin().await.unwrap();
        place.outbox.record_ordered(&mut late, Happened::new("late", 2 * round)).await.unwrap();
        let start = Instant::now();
        // Longer than a floor's lag.
        while start.elapsed() < Duration::from_millis(600) {
            let events = others.iter().map(|key| Happened::new(key, 0)).collect::<Vec<_>>();
            published += events.len();
            place.record(events).await.unwrap();
            broker.has(published).await;
        }
        // Its next event waits for the lock and follows at once.
        let next = {
            let (outbox, pool) = (place.outbox.clone(), pool.clone());
            tokio::spawn(async move {
                let mut tx = pool.begin().await.unwrap();
                let event = Happened::new("late", 2 * round + 1);
                outbox.record_ordered(&mut tx, event).await.unwrap();
                tx.commit().await.unwrap();
                outbox.wake();
            })
        };
        late.commit().await.unwrap();
        next.await.unwrap();
        published += 2;
        broker.has(published).await;
    }
    relay.stop().await;
    assert_eq!(broker.by_key()["late"], (0..16).collect::<Vec<_>>());
}

/// One step of a producer in trial 7.
#[derive(Debug, Clone, Copy)]
struct Step {
    key: u8,
    events: u8,
    commits: bool,
    pause: u16,
}

fn step() -> impl Strategy<Value = Step> {
    (0u8..3, 1u8..4, prop::bool::weighted(0.75), 0u16..3_000)
        .prop_map(|(key, events, commits, pause)| Step { key, events, commits, pause })
}

/// Trial 7: random interleavings on few keys, with rollbacks: published is what was committed, each
/// key's in the order of its commits.
#[test]
fn random_interleavings_with_rollbacks_keep_each_keys_order() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    if runtime.block_on(Place::postgres()).is_none() {
        return;
    }
    let producers = prop::collection::vec(prop::collection::vec(step(), 1..12), 2..6);
    proptest!(ProptestConfig::with_cases(24), |(producers in producers)| {
        let (published, committed) = runtime.block_on(interleave(producers));
        prop_assert_eq!(published, committed);
    });
}

type ByKey = BTreeMap<String, Vec<u64>>;

async fn interleave(producers: Vec<Vec<Step>>) -> (ByKey, ByKey) {
    let place = Place::postgres().await.unwrap();
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    // Filled while the key's lock is held: in the order of commits.
    let committed: Arc<Mutex<ByKey>> = Arc::default();
    let numbers = Arc::new(AtomicUsize::new(0));
    let tasks = producers.into_iter().map(|steps| {
        let (outbox, pool) = (place.outbox.clone(), pool(&place).clone());
        let (committed, numbers) = (Arc::clone(&committed), Arc::clone(&numbers));
        tokio::spawn(produce(steps, outbox, pool, committed, numbers))
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let committed = committed.lock().unwrap().clone();
    broker.has(committed.values().map(Vec::len).sum()).await;
    until("an empty outbox", async || place.count("outbox").await == 0).await;
    relay.stop().await;
    (broker.by_key(), committed)
}

async fn produce(
    steps: Vec<Step>,
    outbox: Outbox,
    pool: PgPool,
    committed: Arc<Mutex<ByKey>>,
    numbers: Arc<AtomicUsize>,
) {
    for Step { key, events, commits, pause } in steps {
        let key = format!("k-{key}");
        let mut tx = pool.begin().await.unwrap();
        let numbers: Vec<u64> =
            (0..events).map(|_| numbers.fetch_add(1, Ordering::SeqCst) as u64).collect();
        let events: Vec<_> = numbers.iter().map(|&n| Happened::new(&key, n)).collect();
        outbox.record_ordered(&mut tx, events).await.unwrap();
        tokio::time::sleep(Duration::from_micros(pause.into())).await;
        if commits {
            committed.lock().unwrap().entry(key).or_default().extend(numbers);
            tx.commit().await.unwrap();
            outbox.wake();
        } else {
            tx.rollback().await.unwrap();
        }
    }
}

/// Trial 9, connections: all of a relay's are cut, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_nothing() {
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    for round in 0..20 {
        place
            .record((0..50).map(|key| Happened::new(format!("k-{key}"), round)).collect())
            .await
            .unwrap();
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and application_name like 'fanfare-%'",
        )
        .execute(pool(&place))
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broker.has(1_000).await;
    until("all to be settled", async || place.count("outbox").await == 0).await;
    relay.stop().await;
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "{key}");
    }
}

/// Trial 9, the server: it crashes and recovers, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_server_loses_nothing() {
    const ROUNDS: u64 = 40;
    let Some(place) = Place::server().await else { return };
    let pool = pool(&place);
    sqlx::raw_sql("create table business (n bigint primary key)").execute(pool).await.unwrap();
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    for round in 0..ROUNDS {
        if round % 10 == 5 {
            // A process of the server that is killed makes it end all others and recover.
            let backend = sqlx::query_scalar::<_, i32>("select pg_backend_pid()").fetch_one(pool);
            let backend = backend.await.unwrap().to_string();
            let killed = std::process::Command::new("kill").args(["-9", &backend]).status();
            assert!(killed.unwrap().success());
        }
        // Whether a commit without an answer happened, the business row says.
        until("a round to be recorded", async || record_round(&place, pool, round).await.is_ok())
            .await;
    }
    broker.has(10 * usize::try_from(ROUNDS).unwrap()).await;
    until("all to be settled", async || place.count("outbox").await == 0).await;
    relay.stop().await;
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..ROUNDS).collect::<Vec<_>>(), "{key}");
    }
}

/// Records an event of each key with the business row of `round`, unless that is there.
async fn record_round(
    place: &Place,
    pool: &PgPool,
    round: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut tx = pool.begin().await?;
    let business = sqlx::query("insert into business values ($1) on conflict do nothing");
    let new = business.bind(round.cast_signed()).execute(&mut *tx).await?.rows_affected();
    if new == 1 {
        let events: Vec<_> = (0..10).map(|key| Happened::new(format!("k-{key}"), round)).collect();
        place.outbox.record_all(&mut tx, events).await?;
    }
    tx.commit().await?;
    place.outbox.wake();
    Ok(())
}

/// Trial 10, poison: the first event of a key with a backlog of 100,000 is refused. Others do not
/// wait for it, and with it given up the backlog leaves in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_before_a_backlog_of_100_000_holds_up_nobody_else() {
    const BACKLOG: u64 = 100_000;
    let Some(place) = Place::postgres().await else { return };
    for from in (0..BACKLOG).step_by(5_000) {
        let events: Vec<_> =
            (from..from + 5_000).map(|n| crate::places::Ordered::new("hot", n)).collect();
        let mut tx = pool(&place).begin().await.unwrap();
        place.outbox.record_all(&mut tx, events).await.unwrap();
        tx.commit().await.unwrap();
    }
    let broker = Broker::with(|message| match (message.key.as_str(), number(message)) {
        ("hot", 0) => Err(refused(message)),
        _ => Ok(()),
    });
    let relay = Running::start(place.relay(&broker).attempts(1));
    // Of the same shard too.
    let others = (0..2_000).map(|n| Happened::new(format!("k-{n}"), 0)).collect();
    place.record(others).await.unwrap();
    broker.has(2_000).await;
    assert!(broker.accepted().iter().all(|message| message.key != "hot"));
    until("the hold", async || !place.outbox.held().await.unwrap().is_empty()).await;
    until("all to be parked", async || place.count("outbox").await == 0).await;
    assert_eq!(place.outbox.held().await.unwrap()[0].waiting, BACKLOG);
    assert!(place.outbox.dead_letter("hot").await.unwrap());
    broker.has(2_000 + 99_999).await;
    relay.stop().await;
    assert_eq!(broker.by_key()["hot"], (1..BACKLOG).collect::<Vec<_>>());
}

/// Trial 10, the plan: statistics taken while the table was empty must not turn look-ups by key into
/// scans of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_of_an_empty_table_change_no_plan() {
    let Some(place) = Place::postgres().await else { return };
    let pool = pool(&place);
    sqlx::query("analyze fanfare_outbox").execute(pool).await.unwrap();
    for _ in 0..10 {
        let events = (0..2_000).map(|n| Happened::new(format!("k-{n}"), 0));
        place.record(events.collect()).await.unwrap();
    }
    // Sessions report what they did when they end, and making the table counts as a scan.
    pool.close().await;
    let pool = PgPool::connect(&place.url).await.unwrap();
    let counted = async |what: &str| -> i64 {
        let sql =
            format!("select {what} from pg_stat_user_tables where relname = 'fanfare_outbox'");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap()
    };
    until("reports of what was recorded", async || counted("n_tup_ins").await == 20_000).await;
    let before = counted("seq_scan").await;
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker));
    broker.has(20_000).await;
    relay.stop().await;
    let sessions = "select count(*) from pg_stat_activity \
        where datname = current_database() and application_name = 'fanfare-relay'";
    until("the relay's sessions to end", async || {
        sqlx::query_scalar::<_, i64>(sessions).fetch_one(&pool).await.unwrap() == 0
    })
    .await;
    until("their reports", async || counted("idx_tup_fetch").await >= 40_000).await;
    assert_eq!(counted("seq_scan").await, before, "a relay scanned the whole table");
}
