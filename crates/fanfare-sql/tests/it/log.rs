//! The event log: what is written into it, and how it is read.

use std::{collections::BTreeMap, time::Duration};

use fanfare_core::{Attribute, Context, Event, Message, Metadata, RawDelivery, tag};
use fanfare_sql::*;

use crate::stores::{Store, now, on_each};

#[derive(Event, serde::Serialize)]
#[event(type = "test.Noted.v1", topic = "notes", key = key, filter(n))]
struct Noted {
    key: String,
    n: u32,
}

#[derive(Event, serde::Serialize)]
#[event(type = "test.Noted.v2", topic = "notes", key = key)]
struct NotedAgain {
    key: String,
}

#[derive(Event, serde::Serialize)]
#[event(type = "test.Noticed.v1", topic = "notes", key = key)]
struct Noticed {
    key: String,
}

fn noted(key: &str, n: u32) -> Noted {
    Noted { key: key.into(), n }
}

fn outbox(store: &impl Store) -> Outbox {
    Outbox::new(store.database(), "tests").logged()
}

fn log(store: &impl Store) -> EventLog {
    EventLog::new(store.database())
}

async fn all(store: &impl Store) -> Vec<LoggedEvent> {
    log(store).read(&Filter::all(), Position::START, 1_000_000).await.unwrap()
}

fn ids(events: &[LoggedEvent]) -> Vec<&str> {
    events.iter().map(|event| event.message.id.as_str()).collect()
}

on_each! {
    what_a_logged_outbox_records_is_in_the_log_and_in_the_outbox_or_in_neither,
    positions_follow_the_order_of_the_events,
    a_log_of_other_names_keeps_to_itself,
    an_outbox_without_a_log_writes_none,
    a_filter_gives_what_fits_all_of_it,
    pages_join_without_gap_or_overlap,
    appending_counts_versions,
    a_stale_version_is_a_conflict_and_leaves_the_transaction_as_it_was,
    of_two_who_append_to_one_version_one_wins,
    appending_is_refused_for_other_keys_and_without_a_log,
    appending_nothing_checks_the_version,
    a_consumed_event_is_kept_once_as_it_came,
    a_time_is_found_by_position,
    purging_deletes_the_old_and_remembers_versions,
}

async fn what_a_logged_outbox_records_is_in_the_log_and_in_the_outbox_or_in_neither<S: Store>(
    store: S,
) {
    let outbox = outbox(&store);
    let mut tx = store.begin().await;
    outbox.record(&mut tx, &noted("a", 1)).await.unwrap();
    S::rollback(tx).await;
    let mut tx = store.begin().await;
    let one = outbox.record(&mut tx, &noted("a", 2)).await.unwrap();
    let two = outbox.record_ordered(&mut tx, noted("b", 3)).await.unwrap();
    S::commit(tx).await;

    let events = all(&store).await;
    assert_eq!(ids(&events), [one.as_str(), two[0].as_str()]);
    assert_eq!(store.sql("select count(*) from fanfare_outbox").await, [2]);
    let same = "select count(*) from fanfare_outbox o join fanfare_log l on l.event_id = o.event_id \
        and l.tag = o.tag and l.key = o.key and l.destination = o.destination \
        and l.attributes = o.attributes and l.body = o.body";
    assert_eq!(store.sql(same).await, [2]);
    assert_eq!(store.sql("select count(*) from fanfare_log where time is null").await, [0]);
    let Message { tag, key, attributes, .. } = &events[0].message;
    assert_eq!((tag.as_str(), key.as_str()), ("test.Noted.v1", "a"));
    assert!(attributes.contains(&("n".into(), "2".into())));
    assert_eq!(events[0].version, None);
    let delivery = events[0].clone().into_delivery();
    assert_eq!(delivery.body, events[0].message.body);
    assert_eq!(delivery.metadata.group.as_deref(), Some("a"));
    assert_eq!(delivery.attributes["type"], Attribute::text("test.Noted.v1"));
    let age = now(&store).await.duration_since(events[0].recorded_at);
    assert!(age.abs() < jiff::SignedDuration::from_secs(60), "{age:?}");
}

async fn positions_follow_the_order_of_the_events<S: Store>(store: S) {
    let outbox = outbox(&store);
    let mut expected = Vec::new();
    for ordered in [false, true] {
        let events: Vec<_> = (0..300).map(|n| noted(&format!("k{}", n % 7), n)).collect();
        let mut tx = store.begin().await;
        let ids = if ordered {
            outbox.record_ordered(&mut tx, events).await.unwrap()
        } else {
            outbox.record_all(&mut tx, events).await.unwrap()
        };
        S::commit(tx).await;
        expected.extend(ids);
    }
    let events = all(&store).await;
    assert_eq!(ids(&events), expected);
    assert!(events.is_sorted_by(|a, b| a.position < b.position));
    let outbox_order = "select count(*) from fanfare_outbox a join fanfare_outbox b on a.id < b.id \
        join fanfare_log la on la.event_id = a.event_id join fanfare_log lb on lb.event_id = b.event_id \
        where la.position > lb.position";
    assert_eq!(store.sql(outbox_order).await, [0]);
}

async fn a_log_of_other_names_keeps_to_itself<S: Store>(store: S) {
    let other = store.database().clone().prefix("other_").unwrap();
    other.migrate().await.unwrap();
    let mut tx = store.begin().await;
    outbox(&store).record(&mut tx, &noted("a", 1)).await.unwrap();
    Outbox::new(&other, "tests")
        .logged()
        .record_all(&mut tx, [noted("a", 2), noted("a", 3)])
        .await
        .unwrap();
    S::commit(tx).await;
    assert_eq!(all(&store).await.len(), 1);
    let events = EventLog::new(&other).read(&Filter::all(), Position::START, 10).await.unwrap();
    assert_eq!(events.len(), 2);
}

async fn an_outbox_without_a_log_writes_none<S: Store>(store: S) {
    let mut tx = store.begin().await;
    Outbox::new(store.database(), "tests").record(&mut tx, &noted("a", 1)).await.unwrap();
    S::commit(tx).await;
    assert!(all(&store).await.is_empty());
    assert_eq!(log(&store).high_water().await.unwrap(), Position::START);
}

/// What a filter should let through, said otherwise.
type Fits = fn(&LoggedEvent, &[jiff::Timestamp]) -> bool;

async fn a_filter_gives_what_fits_all_of_it<S: Store>(store: S) {
    let outbox = outbox(&store);
    for n in 0..24 {
        let mut tx = store.begin().await;
        let key = format!("k{}", n % 4);
        let mut chain = Context::default();
        chain.correlation_id = (n != 11).then(|| format!("c{}", n % 5));
        let record = async {
            match n % 3 {
                0 => outbox.record(&mut tx, &noted(&key, n)).await,
                1 => outbox.record(&mut tx, &NotedAgain { key }).await,
                _ => outbox.record(&mut tx, &Noticed { key }).await,
            }
        };
        chain.scope(record).await.unwrap();
        S::commit(tx).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let events = all(&store).await;
    assert_eq!(events.len(), 24);
    let times: Vec<_> = events.iter().map(|event| event.recorded_at).collect();
    let chain = events[11].message.id.clone();
    let cases: [(Filter, Fits); 8] = [
        (Filter::all(), |_, _| true),
        (Filter::all().tag("test.Noted.v2"), |e, _| e.message.tag == "test.Noted.v2"),
        (Filter::all().family("test.Noted.v1"), |e, _| {
            tag::family(&e.message.tag) == "test.Noted.v"
        }),
        (Filter::all().family("test.Noticed.v7").tag("test.Noted.v1"), |e, _| {
            e.message.tag != "test.Noted.v2"
        }),
        (Filter::all().key("k1").key("k3"), |e, _| ["k1", "k3"].contains(&e.message.key.as_str())),
        (Filter::all().correlation_id("c2"), |e, _| {
            e.message.body.contains(r#""correlationid":"c2""#)
        }),
        (Filter::all().since(times[5]).until(times[20]), |e, t| {
            e.recorded_at >= t[5] && e.recorded_at < t[20]
        }),
        (Filter::all().key("k2").tag("test.Noticed.v1").since(times[3]), |e, t| {
            e.message.key == "k2" && e.message.tag == "test.Noticed.v1" && e.recorded_at >= t[3]
        }),
    ];
    for (filter, fits) in cases {
        let found = log(&store).read(&filter, Position::START, 100).await.unwrap();
        let expected: Vec<_> = events.iter().filter(|e| fits(e, &times)).cloned().collect();
        assert!(!expected.is_empty(), "{filter:?}");
        assert_eq!(found, expected, "{filter:?}");
        let end = events[23].position;
        let count = log(&store).count(&filter, Position::START, end).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{filter:?}");
    }
    let started = Filter::all().correlation_id(&chain);
    assert_eq!(ids(&log(&store).read(&started, Position::START, 9).await.unwrap()), [chain]);
}

async fn pages_join_without_gap_or_overlap<S: Store>(store: S) {
    let mut tx = store.begin().await;
    let events: Vec<_> = (0..25).map(|n| noted(&format!("k{}", n % 2), n)).collect();
    outbox(&store).record_all(&mut tx, events).await.unwrap();
    S::commit(tx).await;
    for filter in [Filter::all(), Filter::all().key("k1")] {
        let whole = log(&store).read(&filter, Position::START, 100).await.unwrap();
        let (mut joined, mut after) = (Vec::new(), Position::START);
        loop {
            let page = log(&store).read(&filter, after, 7).await.unwrap();
            assert!(page.len() <= 7);
            let Some(last) = page.last() else { break };
            after = last.position;
            joined.extend(page);
        }
        assert_eq!(joined, whole);
    }
}

async fn appending_counts_versions<S: Store>(store: S) {
    let outbox = outbox(&store);
    let mut tx = store.begin().await;
    let first = outbox.append(&mut tx, "a", Expected::New, [noted("a", 1), noted("a", 2)]).await;
    assert_eq!(first.unwrap(), 2);
    let second = outbox.append(&mut tx, "a", Expected::Version(2), noted("a", 3)).await;
    assert_eq!(second.unwrap(), 3);
    S::commit(tx).await;
    let mut tx = store.begin().await;
    assert_eq!(outbox.append(&mut tx, "a", Expected::Any, noted("a", 4)).await.unwrap(), 4);
    assert_eq!(outbox.append(&mut tx, "b", Expected::Any, noted("b", 1)).await.unwrap(), 1);
    assert_eq!(outbox.append(&mut tx, "c", Expected::Version(0), noted("c", 1)).await.unwrap(), 1);
    S::commit(tx).await;

    let stream = log(&store).stream("a", 1).await.unwrap();
    let versions: Vec<_> = stream.iter().map(|event| event.version.unwrap()).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    let numbers: Vec<_> = stream.iter().map(|event| &event.message.attributes).collect();
    for (i, attributes) in numbers.iter().enumerate() {
        assert!(attributes.contains(&("n".into(), (i + 1).to_string())));
    }
    assert_eq!(log(&store).stream("a", 3).await.unwrap(), stream[2..]);
    assert!(log(&store).stream("nobody", 1).await.unwrap().is_empty());
    assert_eq!(store.sql("select count(*) from fanfare_outbox").await, [6]);
}

fn conflict(result: Result<u64, AppendError>) -> (u64, u64) {
    match result {
        Err(AppendError::Conflict { expected, actual, .. }) => (expected, actual),
        other => panic!("no conflict: {other:?}"),
    }
}

async fn a_stale_version_is_a_conflict_and_leaves_the_transaction_as_it_was<S: Store>(store: S) {
    let outbox = outbox(&store);
    let mut tx = store.begin().await;
    outbox.append(&mut tx, "a", Expected::New, [noted("a", 1), noted("a", 2)]).await.unwrap();
    S::commit(tx).await;

    let mut tx = store.begin().await;
    assert_eq!(conflict(outbox.append(&mut tx, "a", Expected::New, noted("a", 9)).await), (0, 2));
    let stale = outbox.append(&mut tx, "a", Expected::Version(1), noted("a", 9)).await;
    assert_eq!(conflict(stale), (1, 2));
    let early = outbox.append(&mut tx, "b", Expected::Version(3), noted("b", 9)).await;
    assert_eq!(conflict(early), (3, 0));
    assert_eq!(outbox.append(&mut tx, "a", Expected::Version(2), noted("a", 3)).await.unwrap(), 3);
    S::commit(tx).await;
    assert_eq!(all(&store).await.len(), 3);
    assert_eq!(store.sql("select count(*) from fanfare_outbox").await, [3]);
}

async fn of_two_who_append_to_one_version_one_wins<S: Store>(store: S) {
    let outbox = outbox(&store);
    for round in 0..10 {
        let contend = |n| {
            let (store, outbox) = (store.clone(), outbox.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await;
                let expected = Expected::Version(round);
                let appended = outbox.append(&mut tx, "a", expected, noted("a", n)).await;
                S::commit(tx).await;
                appended
            })
        };
        let results: Vec<_> = futures_util::future::join_all((0..4).map(contend)).await;
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [round + 1]);
        for lost in lost {
            assert_eq!(conflict(lost), (round, round + 1));
        }
    }
    let versions: Vec<_> = all(&store).await.iter().map(|event| event.version.unwrap()).collect();
    assert_eq!(versions, (1..=10).collect::<Vec<_>>());
}

async fn appending_is_refused_for_other_keys_and_without_a_log<S: Store>(store: S) {
    let mut tx = store.begin().await;
    let events = [noted("a", 1), noted("b", 2)];
    let refused = outbox(&store).append(&mut tx, "a", Expected::Any, events).await.unwrap_err();
    assert!(
        matches!(&refused, AppendError::OtherKey { key, actual, .. } if key == "a" && actual == "b")
    );
    let without = Outbox::new(store.database(), "tests");
    let refused = without.append(&mut tx, "a", Expected::Any, noted("a", 1)).await.unwrap_err();
    assert!(matches!(refused, AppendError::NotLogged));
    S::commit(tx).await;
    assert!(all(&store).await.is_empty());
}

async fn appending_nothing_checks_the_version<S: Store>(store: S) {
    let outbox = outbox(&store);
    let mut tx = store.begin().await;
    assert_eq!(outbox.append(&mut tx, "a", Expected::New, ()).await.unwrap(), 0);
    outbox.append(&mut tx, "a", Expected::New, noted("a", 1)).await.unwrap();
    assert_eq!(conflict(outbox.append(&mut tx, "a", Expected::New, ()).await), (0, 1));
    assert_eq!(outbox.append(&mut tx, "a", Expected::Version(1), ()).await.unwrap(), 1);
    assert_eq!(outbox.append(&mut tx, "a", Expected::Any, ()).await.unwrap(), 1);
    S::commit(tx).await;
}

async fn a_consumed_event_is_kept_once_as_it_came<S: Store>(store: S) {
    let body = r#"{"data":{"odd":  1},"specversion":"1.0","id":"7","source":"far",
        "type":"far.Off.v1","time":"-000044-03-15T12:00:00Z","correlationid":"c"}"#;
    let mut delivery = RawDelivery::new(body, Metadata::new("m", 3));
    delivery.attributes.insert("hue".into(), Attribute::text("red"));
    for new in [true, false] {
        let mut tx = store.begin().await;
        assert_eq!(log(&store).keep(&mut tx, "tests", &delivery).await.unwrap(), new);
        S::commit(tx).await;
    }
    let events = all(&store).await;
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.message.body, body);
    assert_eq!((event.message.key.as_str(), event.message.tag.as_str()), ("7", "far.Off.v1"));
    assert_eq!(event.clone().into_delivery().attributes, delivery.attributes);
    let chain = Filter::all().correlation_id("c");
    assert_eq!(log(&store).read(&chain, Position::START, 9).await.unwrap(), events);
    assert_eq!(store.sql("select count(*) from fanfare_outbox").await, [0]);

    let mut tx = store.begin().await;
    let broken = RawDelivery::new("{}", Metadata::new("m", 1));
    let refused = log(&store).keep(&mut tx, "tests", &broken).await.unwrap_err();
    assert!(matches!(refused, SqlError::Unloggable(_)), "{refused}");
    S::rollback(tx).await;
}

/// A log whose event at position `n` was recorded 1000 - 10 n seconds ago.
async fn aged<S: Store>(store: &S, count: u32, missing: &[u32]) {
    for n in 1..=count {
        let mut tx = store.begin().await;
        outbox(store)
            .append(
                &mut tx,
                &format!("k{}", n % 3),
                Expected::Any,
                noted(&format!("k{}", n % 3), n),
            )
            .await
            .unwrap();
        S::commit(tx).await;
        let ago = S::seconds_ago(1000 - 10 * n);
        store
            .sql(&format!(
                "update fanfare_log set recorded_at = {ago} where position = {n} returning position"
            ))
            .await;
    }
    for n in missing {
        store
            .sql(&format!("delete from fanfare_log where position = {n} returning position"))
            .await;
    }
}

async fn a_time_is_found_by_position<S: Store>(store: S) {
    let now = now(&store).await;
    assert_eq!(log(&store).position_at(now).await.unwrap(), Position::START);
    aged(&store, 40, &[1, 2, 7, 8, 9, 20, 40]).await;
    let events = all(&store).await;
    assert_eq!(events.len(), 33);
    for event in &events {
        let found = log(&store).position_at(event.recorded_at).await.unwrap();
        assert_eq!(found, event.position);
        let before = event.recorded_at - jiff::SignedDuration::from_millis(1);
        let expected = events.iter().rev().find(|e| e.recorded_at <= before);
        let found = log(&store).position_at(before).await.unwrap();
        match expected {
            Some(expected) => assert_eq!(found, expected.position),
            None => assert!(found < events[0].position),
        }
    }
    let found = log(&store).position_at(jiff::Timestamp::MAX).await.unwrap();
    assert_eq!(found, events[32].position);
    let found = log(&store).position_at(jiff::Timestamp::MIN).await.unwrap();
    assert!(found < events[0].position);
}

async fn purging_deletes_the_old_and_remembers_versions<S: Store>(store: S) {
    aged(&store, 30, &[4, 5]).await;
    assert_eq!(log(&store).purge(Duration::from_secs(3_000)).await.unwrap(), 0);
    // Recorded 900 and more seconds ago: positions 1 to 10.
    assert_eq!(log(&store).purge(Duration::from_secs(895)).await.unwrap(), 8);
    assert_eq!(all(&store).await[0].position, Position::new(11));
    assert_eq!(log(&store).purge(Duration::ZERO).await.unwrap(), 20);
    assert!(all(&store).await.is_empty());
    assert_eq!(log(&store).high_water().await.unwrap(), Position::new(30));

    let mut tx = store.begin().await;
    let next = outbox(&store).append(&mut tx, "k1", Expected::Version(10), noted("k1", 0)).await;
    assert_eq!(next.unwrap(), 11);
    S::commit(tx).await;
    assert_eq!(all(&store).await[0].position, Position::new(31));
    let by_key: BTreeMap<_, _> = [("k1", 1), ("k2", 0)].into();
    for (key, count) in by_key {
        assert_eq!(log(&store).stream(key, 1).await.unwrap().len(), count);
    }
}
