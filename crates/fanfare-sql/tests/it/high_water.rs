//! Up to where the log is complete, whoever is writing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fanfare_core::Opened;
use fanfare_sql::{EventLog, Expected, Filter, LoggedEvent, Outbox, Position};
use sqlx::Acquire;

use crate::{
    places::Happened,
    stores::{OnPostgres, Store, on_each},
};

fn outbox<S: Store>(store: &S) -> Outbox {
    Outbox::new(store.database(), "orders").logged()
}

fn log<S: Store>(store: &S) -> EventLog {
    EventLog::new(store.database())
}

async fn mark<S: Store>(store: &S) -> u64 {
    log(store).high_water().await.unwrap().get()
}

async fn record<S: Store>(store: &S, tx: &mut S::Tx, key: &str, number: u64) {
    outbox(store).record(tx, &Happened::new(key, number)).await.unwrap();
}

/// Records one event in a transaction of its own.
async fn recorded<S: Store>(store: &S, key: &str, number: u64) {
    let mut tx = store.begin().await;
    record(store, &mut tx, key, number).await;
    S::commit(tx).await;
}

async fn read<S: Store>(store: &S, after: u64) -> Vec<u64> {
    let after = Position::new(after);
    let events = log(store).read(&Filter::all(), after, 1_000).await.unwrap();
    events.iter().map(|event| event.position.get()).collect()
}

mod for_open_transactions {
    crate::stores::on!(crate::stores::OnPostgres:
        an_open_writer_holds_the_mark_and_nothing_is_read_past_it,
        other_open_transactions_do_not_hold_it,
        a_rollback_leaves_no_mark,
        a_rollback_to_a_savepoint_takes_back_the_announcement,
        a_transaction_announces_itself_once,
        positions_beyond_32_bits_are_told_apart,
        different_keys_do_not_wait_for_each_other,
        a_prepared_transaction_holds_the_mark,
    );
}

async fn an_open_writer_holds_the_mark_and_nothing_is_read_past_it(store: OnPostgres) {
    assert_eq!(mark(&store).await, 0);
    let mut first = store.begin().await;
    record(&store, &mut first, "a", 1).await;
    assert_eq!(mark(&store).await, 0);
    recorded(&store, "b", 2).await;
    assert_eq!((mark(&store).await, read(&store, 0).await), (0, vec![]));
    OnPostgres::commit(first).await;
    assert_eq!((mark(&store).await, read(&store, 0).await), (2, vec![1, 2]));

    let mut slow = store.begin().await;
    record(&store, &mut slow, "a", 3).await;
    recorded(&store, "b", 4).await;
    let mut slower = store.begin().await;
    record(&store, &mut slower, "b", 5).await;
    recorded(&store, "c", 6).await;
    assert_eq!((mark(&store).await, read(&store, 1).await), (2, vec![2]));
    OnPostgres::commit(slow).await;
    assert_eq!((mark(&store).await, read(&store, 1).await), (4, vec![2, 3, 4]));
    OnPostgres::commit(slower).await;
    assert_eq!((mark(&store).await, read(&store, 4).await), (6, vec![5, 6]));
}

async fn other_open_transactions_do_not_hold_it(store: OnPostgres) {
    sqlx::raw_sql("create table other (id bigint)").execute(store.pool()).await.unwrap();
    let mut writer = store.begin().await;
    OnPostgres::sql_in(&mut writer, "insert into other values (1) returning id").await;
    let unlogged = Outbox::new(store.database(), "orders");
    unlogged.record(&mut writer, &Happened::new("a", 0)).await.unwrap();
    let mut reader = store.begin().await;
    OnPostgres::sql_in(&mut reader, "set transaction isolation level repeatable read").await;
    OnPostgres::sql_in(&mut reader, "select count(*) from fanfare_log").await;
    let mut locker = store.begin().await;
    OnPostgres::sql_in(&mut locker, "select 1::int8 from pg_advisory_xact_lock(7, 8)").await;
    recorded(&store, "a", 1).await;
    assert_eq!((mark(&store).await, read(&store, 0).await), (1, vec![1]));
    // One that writes into another log of the database does not either.
    let other = store.database().clone().prefix("other_").unwrap();
    other.migrate().await.unwrap();
    let other = Outbox::new(&other, "orders").logged();
    other.record(&mut writer, &Happened::new("a", 0)).await.unwrap();
    recorded(&store, "a", 2).await;
    assert_eq!(mark(&store).await, 2);
}

async fn a_rollback_leaves_no_mark(store: OnPostgres) {
    let mut tx = store.begin().await;
    record(&store, &mut tx, "a", 1).await;
    recorded(&store, "b", 2).await;
    assert_eq!(mark(&store).await, 0);
    OnPostgres::rollback(tx).await;
    assert_eq!((mark(&store).await, read(&store, 0).await), (2, vec![2]));
}

async fn a_rollback_to_a_savepoint_takes_back_the_announcement(store: OnPostgres) {
    let mut tx = store.begin().await;
    let mut inner = tx.begin().await.unwrap();
    outbox(&store).record(&mut inner, &Happened::new("a", 1)).await.unwrap();
    recorded(&store, "b", 2).await;
    assert_eq!(mark(&store).await, 0);
    inner.rollback().await.unwrap();
    assert_eq!(mark(&store).await, 2);
    // It announces itself again when it records again, and keeps that through a second savepoint.
    record(&store, &mut tx, "a", 3).await;
    let mut inner = tx.begin().await.unwrap();
    outbox(&store).record(&mut inner, &Happened::new("a", 4)).await.unwrap();
    inner.rollback().await.unwrap();
    recorded(&store, "b", 5).await;
    assert_eq!((mark(&store).await, read(&store, 0).await), (2, vec![2]));
    OnPostgres::commit(tx).await;
    assert_eq!((mark(&store).await, read(&store, 0).await), (5, vec![2, 3, 5]));
}

async fn a_transaction_announces_itself_once(store: OnPostgres) {
    let locks =
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    let mut tx = store.begin().await;
    for n in 0..50 {
        record(&store, &mut tx, "a", n).await;
    }
    assert_eq!(OnPostgres::sql_in(&mut tx, locks).await, [1]);
    OnPostgres::commit(tx).await;
    let mut next = store.begin().await;
    assert_eq!(OnPostgres::sql_in(&mut next, locks).await, [0]);
}

async fn positions_beyond_32_bits_are_told_apart(store: OnPostgres) {
    for edge in [1_i64 << 31, 1 << 32, 7 << 32] {
        let set = format!("select setval('fanfare_log_positions', {})", edge - 2);
        assert_eq!(store.sql(&set).await, [edge - 2]);
        let mut slow = store.begin().await;
        record(&store, &mut slow, "a", 1).await;
        for n in 0..5 {
            recorded(&store, "b", n).await;
            assert_eq!(mark(&store).await, u64::try_from(edge - 2).unwrap());
        }
        OnPostgres::commit(slow).await;
        assert_eq!(mark(&store).await, u64::try_from(edge + 4).unwrap());
    }
}

async fn different_keys_do_not_wait_for_each_other(store: OnPostgres) {
    let outbox = outbox(&store);
    let mut first = store.begin().await;
    outbox.append(&mut first, "a", Expected::New, Happened::new("a", 1)).await.unwrap();
    let others = async {
        for key in ["b", "c", "d"] {
            let mut tx = store.begin().await;
            outbox.append(&mut tx, key, Expected::New, Happened::new(key, 1)).await.unwrap();
            OnPostgres::commit(tx).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), others).await.unwrap();
    let mut second = store.begin().await;
    let same = outbox.append(&mut second, "a", Expected::Any, Happened::new("a", 2));
    let waits = tokio::time::timeout(Duration::from_millis(200), same).await;
    assert!(waits.is_err(), "{waits:?}");
    OnPostgres::commit(first).await;
}

async fn a_prepared_transaction_holds_the_mark(store: OnPostgres) {
    let setting = "select setting::int8 from pg_settings where name = 'max_prepared_transactions'";
    if store.sql(setting).await == [0] {
        eprintln!("skipped: a server with max_prepared_transactions is needed");
        return;
    }
    let mut connection = store.pool().acquire().await.unwrap();
    sqlx::raw_sql("begin").execute(&mut *connection).await.unwrap();
    outbox(&store).record(&mut *connection, &Happened::new("a", 1)).await.unwrap();
    sqlx::raw_sql("prepare transaction 'slow'").execute(&mut *connection).await.unwrap();
    recorded(&store, "b", 2).await;
    assert_eq!(mark(&store).await, 0);
    sqlx::raw_sql("commit prepared 'slow'").execute(&mut *connection).await.unwrap();
    assert_eq!((mark(&store).await, read(&store, 0).await), (2, vec![1, 2]));
}

on_each!(a_tailing_reader_sees_every_commit_once_in_the_order_of_positions_and_of_each_key);

/// Writers that take a key's row, record with its next number, and end as they like; one is slow.
async fn a_tailing_reader_sees_every_commit_once_in_the_order_of_positions_and_of_each_key<
    S: Store,
>(
    store: S,
) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    make_counters(&store).await;
    let start = Instant::now();
    let writers: Vec<_> =
        (0..6).map(|writer| tokio::spawn(write(store.clone(), writer, seed, start))).collect();

    let reader = {
        let log = log(&store);
        tokio::spawn(async move {
            let (mut seen, mut after) = (Vec::new(), Position::START);
            let mut idle = false;
            loop {
                let done = writers.iter().all(|writer| writer.is_finished());
                let page = log.read(&Filter::all(), after, 20).await.unwrap();
                if page.is_empty() && done && std::mem::replace(&mut idle, true) {
                    break;
                }
                after = page.last().map_or(after, |event| event.position);
                seen.extend(page);
            }
            for writer in writers {
                writer.await.unwrap();
            }
            seen
        })
    };
    let seen: Vec<LoggedEvent> = reader.await.unwrap();
    assert!(seen.is_sorted_by(|a, b| a.position < b.position));
    let committed = store.sql("select count(*) from fanfare_log").await;
    assert_eq!(seen.len() as i64, committed[0]);
    let mut numbers: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for event in &seen {
        numbers.entry(&event.message.key).or_default().push(number(event));
    }
    assert!(!numbers.is_empty());
    // A loaded machine may commit nothing for one of them.
    for key in 0..5 {
        let key = format!("k{key}");
        let last = store.sql(&format!("select n from counters where key = '{key}'")).await;
        let numbers = numbers.remove(&*key).unwrap_or_default();
        assert_eq!(numbers, (1..=last[0]).collect::<Vec<_>>(), "{key}");
    }
}

async fn make_counters<S: Store>(store: &S) {
    let mut tx = store.begin().await;
    S::sql_in(&mut tx, "create table counters (key text primary key, n bigint not null)").await;
    for key in 0..5 {
        S::sql_in(&mut tx, &format!("insert into counters values ('k{key}', 0) returning n")).await;
    }
    S::commit(tx).await;
}

fn number(event: &LoggedEvent) -> i64 {
    #[derive(serde::Deserialize)]
    struct Numbered {
        number: i64,
    }
    Opened::open(&event.message.body).unwrap().read::<Numbered>().unwrap().1.number
}

async fn write<S: Store>(store: S, writer: u64, seed: u64, start: Instant) {
    let outbox = outbox(&store);
    let mut random = fastrand::Rng::with_seed(seed ^ (writer << 32));
    while start.elapsed() < Duration::from_secs(3) {
        let mut tx = store.begin().await;
        // One key, or two in one order against deadlock.
        let mut keys = vec![random.u8(0..5), random.u8(0..5)];
        keys.sort_unstable();
        keys.truncate(random.usize(1..3));
        keys.dedup();
        for key in keys {
            let key = format!("k{key}");
            for _ in 0..random.u8(1..4) {
                let next = format!("update counters set n = n + 1 where key = '{key}' returning n");
                let number = S::sql_in(&mut tx, &next).await[0].unsigned_abs();
                outbox.record(&mut tx, &Happened::new(&key, number)).await.unwrap();
                pause(&mut random, if writer == 0 { 60 } else { 2 }).await;
            }
        }
        pause(&mut random, if writer == 0 { 300 } else { 3 }).await;
        if random.u8(0..4) == 0 {
            S::rollback(tx).await;
        } else {
            S::commit(tx).await;
        }
    }
}

async fn pause(random: &mut fastrand::Rng, milliseconds: u64) {
    tokio::time::sleep(Duration::from_micros(random.u64(0..milliseconds * 1_000))).await;
}

#[cfg(feature = "tokio-postgres")]
mod by_tokio_postgres {
    crate::stores::on!(crate::stores::OnPostgres: a_transaction_of_tokio_postgres_is_logged_too);
}

#[cfg(feature = "tokio-postgres")]
async fn a_transaction_of_tokio_postgres_is_logged_too(store: OnPostgres) {
    let (mut client, connection) =
        tokio_postgres::connect(&store.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let outbox = outbox(&store);
    let mut tx = client.transaction().await.unwrap();
    outbox.record(&mut tx, &Happened::new("a", 1)).await.unwrap();
    outbox.record_ordered(&mut tx, [Happened::new("a", 2), Happened::new("b", 3)]).await.unwrap();
    outbox.append(&mut tx, "c", Expected::New, Happened::new("c", 4)).await.unwrap();
    outbox.append(&mut tx, "c", Expected::Version(1), Happened::new("c", 5)).await.unwrap();
    outbox.append(&mut tx, "c", Expected::Any, Happened::new("c", 6)).await.unwrap();
    outbox.append(&mut tx, "c", Expected::New, Happened::new("c", 7)).await.unwrap_err();
    recorded(&store, "d", 8).await;
    assert_eq!(mark(&store).await, 0);
    tx.commit().await.unwrap();
    let events = log(&store).read(&Filter::all(), Position::START, 100).await.unwrap();
    assert_eq!(events.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 8]);
}
