//! A relay that follows the log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_core::{Event, Message};
use fanfare_sql::{Database, Relay, SqlError, shard_of};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgPool, postgres::PgPoolOptions};

use crate::{
    broker::{Broker, number, refused, unavailable},
    places::{Happened, Place, Pool, Running},
    relay::until,
};

/// Told by the log, an event is out within this time; a lane that looks by itself takes longer, all
/// four lanes in a row almost always.
const SOON: Duration = Duration::from_millis(250);

fn pool(place: &Place) -> &PgPool {
    match &place.pool {
        Pool::Postgres(pool) => pool,
        Pool::Sqlite(_) => unreachable!(),
    }
}

/// Commits without waking anybody.
async fn commit<E: Event>(place: &Place, events: Vec<E>) {
    let mut tx = pool(place).begin().await.unwrap();
    place.outbox.record_all(&mut tx, events).await.unwrap();
    tx.commit().await.unwrap();
}

/// Keys of every shard.
fn everywhere() -> Vec<String> {
    let mut keys = BTreeMap::new();
    (0..2_000).map(|n| format!("e-{n}")).for_each(|key| drop(keys.insert(shard_of(&key), key)));
    assert_eq!(keys.len(), 64);
    keys.into_values().collect()
}

/// Waits until all lanes are told by the log: events of all shards that nobody is woken for are out at
/// once, three times in a row. Gives how many it recorded.
async fn until_told(place: &Place, broker: &Broker) -> usize {
    let (before, mut recorded, mut in_time) = (broker.count(), 0, 0);
    until("lanes to be told by the log", async || {
        let start = Instant::now();
        commit(place, everywhere().iter().map(|key| Happened::new(key, 0)).collect()).await;
        recorded += 64;
        while broker.count() < before + recorded {
            assert!(start.elapsed() < crate::broker::PATIENCE);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        in_time = if start.elapsed() < SOON { in_time + 1 } else { 0 };
        in_time == 3
    })
    .await;
    recorded
}

/// How often lanes searched the outbox, as far as sessions have told the server's statistics: all of it
/// of one that has ended, up to a second ago of one that is at work.
async fn searches(place: &Place) -> i64 {
    let sql = "select idx_scan from pg_stat_user_tables where relname = 'fanfare_outbox'";
    sqlx::query_scalar(sql).fetch_one(pool(place)).await.unwrap()
}

/// The same of all sessions, when the relay's have ended.
async fn searches_in_the_end(place: &Place) -> i64 {
    let sessions = "select count(*) from pg_stat_activity \
        where datname = current_database() and application_name = 'fanfare-relay'";
    until("the relay's sessions to end", async || {
        sqlx::query_scalar::<_, i64>(sessions).fetch_one(pool(place)).await.unwrap() == 0
    })
    .await;
    searches(place).await
}

/// Events of 40 keys, one by one, each in a transaction of its own; until all are published.
async fn trickle(place: &Place, broker: &Broker, events: usize) {
    let before = broker.count();
    for n in 0..events {
        let key = format!("k-{}", n % 40);
        place.record(vec![Happened::new(key, n as u64)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    until("all", async || broker.count() == before + events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_tells_is_published_without_looks() {
    const EVENTS: usize = 400;
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let looking = Running::start(place.relay(&broker));
    trickle(&place, &broker, EVENTS).await;
    looking.stop().await;
    let by_looking = searches_in_the_end(&place).await;

    let told = Running::start(place.relay(&broker).tail_log());
    let recorded = until_told(&place, &broker).await;
    // A session tells its statistics at most once a second, with its next statement: what was looked
    // for until the lanes were told, which takes as long as it takes, is not counted.
    let mut before = searches(&place).await;
    until("statistics of what was looked for before", async || {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        trickle(&place, &broker, 40).await;
        let now = searches(&place).await;
        let quiet = now - before < 64 * 20;
        before = now;
        quiet
    })
    .await;
    let trickled = broker.count() - EVENTS - recorded;
    trickle(&place, &broker, EVENTS).await;
    told.stop().await;
    let by_being_told = searches_in_the_end(&place).await - before;
    assert_eq!(broker.count(), 2 * EVENTS + recorded + trickled, "none twice");
    assert_eq!(place.count("outbox").await, 0);
    eprintln!("searches for {EVENTS} events: {by_looking} by looking, {by_being_told} when told");
    // Each look searches 64 shards, each event is one more when it is deleted.
    assert!(by_looking > 64 * 100, "{by_looking}");
    assert!(by_being_told < by_looking / 3, "{by_being_told} of {by_looking}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_before_the_log_was_followed_is_published_first() {
    let Some(place) = Place::postgres().await else { return };
    let keys = everywhere();
    for round in 0..20 {
        commit(&place, keys.iter().map(|key| Happened::new(key, round)).collect()).await;
    }
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).tail_log());
    for round in 20..60 {
        place.record(keys.iter().map(|key| Happened::new(key, round)).collect()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.has(60 * 64).await;
    relay.stop().await;
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..60).collect::<Vec<_>>(), "{key}");
    }
    assert_eq!(broker.count(), 60 * 64, "none twice");
}

type ByKey = BTreeMap<String, Vec<u64>>;

/// Writers that record ordered events of few keys, some within savepoints, some rolled back; gives
/// what was committed, in the order of commits.
async fn write(place: &Place, seed: u64, writers: u64, rounds: u64) -> ByKey {
    let committed: Arc<Mutex<ByKey>> = Arc::default();
    let numbers = Arc::new(AtomicU64::new(0));
    let tasks = (0..writers).map(|writer| {
        let (outbox, pool) = (place.outbox.clone(), pool(place).clone());
        let (committed, numbers) = (Arc::clone(&committed), Arc::clone(&numbers));
        let mut random = fastrand::Rng::with_seed(seed + writer);
        tokio::spawn(async move {
            for _ in 0..rounds {
                let key = format!("k-{}", random.u8(..5));
                let mut kept = Vec::new();
                let mut tx = pool.begin().await.unwrap();
                for _ in 0..random.u8(1..4) {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    let event = Happened::new(&key, number);
                    if random.bool() {
                        outbox.record_ordered(&mut tx, event).await.unwrap();
                        kept.push(number);
                        continue;
                    }
                    let mut savepoint = tx.begin().await.unwrap();
                    outbox.record_ordered(&mut savepoint, event).await.unwrap();
                    if random.bool() {
                        savepoint.commit().await.unwrap();
                        kept.push(number);
                    } else {
                        savepoint.rollback().await.unwrap();
                    }
                }
                tokio::time::sleep(Duration::from_micros(random.u64(..3_000))).await;
                if random.u8(..4) == 0 || kept.is_empty() {
                    tx.rollback().await.unwrap();
                } else {
                    // While its lock is held: in the order of commits.
                    committed.lock().unwrap().entry(key).or_default().extend(kept);
                    tx.commit().await.unwrap();
                    if random.bool() {
                        outbox.wake();
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    std::mem::take(&mut *committed.lock().unwrap())
}

fn count(by_key: &ByKey) -> usize {
    by_key.values().map(Vec::len).sum()
}

/// What was published of the writers' keys.
fn published(broker: &Broker) -> ByKey {
    let mut by_key = broker.by_key();
    by_key.retain(|key, _| key.starts_with("k-"));
    by_key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_rollbacks_and_savepoints_keep_each_keys_order() {
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).tail_log());
    let (mut total, mut expected) = (until_told(&place, &broker).await, ByKey::new());
    let seed = fastrand::u64(..1 << 32);
    for seed in seed..seed + 12 {
        eprintln!("seed {seed}");
        let committed = write(&place, seed, 2 + seed % 5, 15).await;
        total += count(&committed);
        for (key, numbers) in committed {
            // Each round counts from 0 again.
            expected.entry(key).or_default().extend(numbers);
        }
        broker.has(total).await;
        assert_eq!(published(&broker), expected);
    }
    relay.stop().await;
    assert_eq!(broker.count(), total, "none twice");
    assert_eq!(place.count("outbox").await, 0);
}

/// Trial 9, the slot: its session is ended again and again while events are recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_slot_loses_and_inverts_nothing() {
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).tail_log());
    let mut total = until_told(&place, &broker).await;
    let seed = fastrand::u64(..1 << 32);
    eprintln!("seed {seed}");
    let mut lost = 0;
    let ended = async {
        // Once while a lane tails, and then whenever there is one: also while one is being made.
        loop {
            let sql = "select count(pg_terminate_backend(active_pid)) from pg_replication_slots \
                where database = current_database()";
            lost += sqlx::query_scalar::<_, i64>(sql).fetch_one(pool(&place)).await.unwrap();
            let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                where database = current_database()";
            // Refused while it is in use.
            let _ = sqlx::query(sql).execute(pool(&place)).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let committed = tokio::select! {
        committed = write(&place, seed, 6, 400) => committed,
        () = ended => unreachable!(),
    };
    assert!(lost > 1, "{lost}");
    total += count(&committed);
    broker.has(total).await;
    assert_eq!(published(&broker), committed);
    until("an empty outbox", async || place.count("outbox").await == 0).await;
    // And the log is followed again.
    until_told(&place, &broker).await;
    relay.stop().await;
}

/// A role that may read and write the tables, and what `attributes` say, and its pool.
async fn role(place: &Place, attributes: &str) -> (String, PgPool) {
    let role = format!("fanfare_test_{}", uuid::Uuid::now_v7().simple());
    let sql = format!(
        "create role {role} login {attributes}; grant all on all tables in schema public to {role}; \
         grant all on all sequences in schema public to {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool(place)).await.unwrap();
    let options = pool(place).connect_options().as_ref().clone().username(&role);
    (role, PgPoolOptions::new().connect_lazy_with(options))
}

async fn without_rights_it_looks(attributes: &str) {
    let Some(place) = Place::postgres().await else { return };
    let (role, as_role) = role(&place, attributes).await;
    let broker = Broker::new();
    let relay = Relay::new(&Database::postgres(as_role), broker.clone()).tail_log();
    let relay = Running::start(relay);
    let keys = everywhere();
    for round in 0..40 {
        place.record(keys.iter().map(|key| Happened::new(key, round)).collect()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broker.has(40 * 64).await;
    let slots = "select count(*) from pg_replication_slots where database = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(slots).fetch_one(pool(&place)).await.unwrap(), 0);
    relay.stop().await;
    for (key, numbers) in broker.by_key() {
        assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "{key}");
    }
    let drop = format!("drop owned by {role}; drop role {role}");
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(pool(&place)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_replicate_gets_a_relay_that_looks() {
    without_rights_it_looks("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_publish_the_table_gets_a_relay_that_looks() {
    without_rights_it_looks("replication").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_somebody_else_made_serves_a_user_who_may_replicate() {
    let Some(place) = Place::postgres().await else { return };
    let publication = "create publication fanfare_outbox for table fanfare_outbox";
    sqlx::query(publication).execute(pool(&place)).await.unwrap();
    let (role, as_role) = role(&place, "replication").await;
    let broker = Broker::new();
    let relay = Relay::new(&Database::postgres(as_role), broker.clone()).tail_log();
    let relay = Running::start(relay);
    until_told(&place, &broker).await;
    relay.stop().await;
    let drop = format!("drop owned by {role}; drop role {role}");
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(pool(&place)).await.unwrap();
}

/// An event whose body fills a feed soon.
#[derive(Serialize, Event)]
#[event(type = "tests.Happened.v1", topic = "happenings", key = key)]
struct Large {
    key: String,
    number: u64,
    filling: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_lane_misses_what_it_is_told_and_looks_for_it() {
    const EVENTS: u64 = 200;
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).tail_log());
    let told = until_told(&place, &broker).await;
    // Three times what waits for a lane, while its first call is under way.
    let slow = broker.clone().answering_late(1, Duration::from_secs(3));
    for number in 0..EVENTS {
        let filling = "x".repeat(128 << 10);
        commit(&place, vec![Large { key: "slow".into(), number, filling }]).await;
    }
    slow.has(told + EVENTS as usize).await;
    assert_eq!(broker.by_key()["slow"], (0..EVENTS).collect::<Vec<_>>());
    assert_eq!(broker.count(), told + EVENTS as usize, "none twice");
    until_told(&place, &broker).await;
    relay.stop().await;
    assert_eq!(place.count("outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_too_large_to_be_told_is_looked_for() {
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).tail_log());
    let told = until_told(&place, &broker).await;
    // More than the 8 MiB that may wait for a lane.
    let filling = "x".repeat(64 << 10);
    let event = |number| Large { key: "k-1".into(), number, filling: filling.clone() };
    commit(&place, (0..150).map(event).collect()).await;
    broker.has(told + 150).await;
    assert_eq!(published(&broker)["k-1"], (0..150).collect::<Vec<_>>());
    assert_eq!(broker.count(), told + 150, "none twice");
    until_told(&place, &broker).await;
    relay.stop().await;
    assert_eq!(place.count("outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_what_was_told_keep_the_order_too() {
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let relay = Running::start(place.relay(&broker).tail_log());
    let told = until_told(&place, &broker).await;
    let tried: Mutex<HashMap<String, u32>> = Mutex::default();
    broker.judge_by(move |message: &Message| {
        let mut tried = tried.lock().unwrap();
        let times = tried.entry(message.id.clone()).or_default();
        *times += 1;
        match (number(message) % 10, *times) {
            (3, 1) => Err(unavailable(message)),
            (7, 1) => Err(refused(message)),
            _ => Ok(()),
        }
    });
    for round in 0..20 {
        let events = (0..30).map(|key| Happened::new(format!("k-{key}"), round));
        commit(&place, events.collect()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.has(told + 600).await;
    for (key, numbers) in published(&broker) {
        assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "{key}");
    }
    broker.judge_by(|_| Ok(()));
    until_told(&place, &broker).await;
    relay.stop().await;
    assert_eq!(place.count("outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_relays_that_follow_the_log_share_the_shards() {
    let Some(place) = Place::postgres().await else { return };
    let broker = Broker::new();
    let lease = Duration::from_millis(800);
    let mut relays = Vec::new();
    for _ in 0..2 {
        relays.push(Running::start(place.relay(&broker).lease(lease).tail_log()));
    }
    let mut total = until_told(&place, &broker).await;
    let committed = write(&place, 1, 6, 50).await;
    total += count(&committed);
    broker.has(total).await;
    relays.remove(0).kill().await;
    broker.has(total + until_told(&place, &broker).await).await;
    assert_eq!(published(&broker), committed);
    relays.remove(0).stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_has_no_log_to_follow() {
    let Some(place) = Place::sqlite().await else { return };
    let relay = place.relay(&Broker::new()).tail_log();
    assert!(matches!(relay.run(std::future::pending()).await, Err(SqlError::NoLog)));
}

/// From commit to publication at 200 events/s, printed: alone, woken, and told by the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_from_commit_to_publication_is_printed() {
    let Some(place) = Place::postgres().await else { return };
    for (how, tails, wakes) in
        [("woken", false, true), ("told, nobody woken", true, false), ("neither", false, false)]
    {
        let committed: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
        let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let broker = Broker::new();
        let relay = place.relay(&broker);
        let relay = Running::start(if tails { relay.tail_log() } else { relay });
        if tails {
            until_told(&place, &broker).await;
        }
        let before = broker.count();
        let (marks, taken) = (Arc::clone(&committed), Arc::clone(&times));
        broker.judge_by(move |message| {
            let committed = marks.lock().unwrap().get(&number(message)).copied();
            // Out before the commit returned: no time at all.
            taken.lock().unwrap().push(committed.map_or(Duration::ZERO, |at| at.elapsed()));
            Ok(())
        });
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for n in 0..800 {
            ticks.tick().await;
            let events = vec![Happened::new(format!("k-{}", n % 100), n)];
            commit(&place, events).await;
            committed.lock().unwrap().insert(n, Instant::now());
            if wakes {
                place.outbox.wake();
            }
        }
        broker.has(before + 800).await;
        relay.stop().await;
        let mut times = times.lock().unwrap().clone();
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        let (p50, p99, most) = (at(50), at(99), at(100));
        eprintln!("commit to publication, {how}: p50 {p50:?}, p99 {p99:?}, max {most:?}");
    }
}
