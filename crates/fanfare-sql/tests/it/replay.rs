//! History handed to one consumer: whole, in order, and with what comes live behind it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fanfare_core::{
    Consumer, DeadLetter, DeadLetterError, DeadLetters, Delivery, Event, HandlerError,
    MemoryIdempotencyStore, Metadata, RawDelivery, Retry, Router, Task,
};
use fanfare_sql::{EventLog, Filter, Outbox, Position, Replay, ReplayError, Replayed};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    places::Happened,
    stores::{OnPostgres, Seen, Store, on_each},
};

/// An event that the consumer has no handler for.
#[derive(Debug, Event, Serialize)]
#[event(type = "tests.Ignored.v1", topic = "happenings", key = key)]
struct Ignored {
    key: String,
}

/// What a consumer has handled, and what it is to do.
#[derive(Clone)]
struct Memory {
    handled: Arc<Mutex<Vec<(String, i64, Metadata)>>>,
    /// How often each number still fails.
    failures: Arc<Mutex<HashMap<i64, u32>>>,
    /// How many events may still be handled: those behind wait for ever.
    budget: Arc<Semaphore>,
}

impl Memory {
    fn new() -> Self {
        let budget = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Memory { handled: Arc::default(), failures: Arc::default(), budget }
    }

    fn numbers(&self) -> Vec<i64> {
        self.handled.lock().unwrap().iter().map(|(_, number, _)| *number).collect()
    }

    fn by_key(&self) -> BTreeMap<String, Vec<i64>> {
        let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (key, number, _) in self.handled.lock().unwrap().iter() {
            keys.entry(key.clone()).or_default().push(*number);
        }
        keys
    }
}

async fn remember(memory: Memory, seen: Delivery<Seen>) -> Result<(), HandlerError> {
    memory.budget.acquire().await?.forget();
    tokio::task::yield_now().await;
    let Seen { key, number } = seen.event;
    if let Some(left) = memory.failures.lock().unwrap().get_mut(&number)
        && *left > 0
    {
        *left -= 1;
        return Err(HandlerError::retry("as it was told"));
    }
    memory.handled.lock().unwrap().push((key, number, seen.metadata));
    Ok(())
}

fn consumer(memory: &Memory) -> Consumer {
    let quick = Retry::fixed(Duration::from_millis(30));
    let consumer = Router::new("newcomer").on(remember).with_state(memory.clone());
    consumer.retry(quick.max_attempts(3))
}

#[derive(Default)]
struct Letters(Mutex<Vec<String>>);

impl DeadLetters for Letters {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        self.0.lock().unwrap().push(letter.reason.to_string());
        Ok(())
    }
}

fn outbox<S: Store>(store: &S) -> Outbox {
    Outbox::new(store.database(), "orders").logged()
}

fn replay<S: Store>(store: &S) -> Replay {
    Replay::new(&EventLog::new(store.database()), "newcomer-joins")
}

async fn record<S: Store>(store: &S, key: &str, number: u64) {
    let mut tx = store.begin().await;
    outbox(store).record(&mut tx, &Happened::new(key, number)).await.unwrap();
    S::commit(tx).await;
}

async fn to_the_end(replay: &Replay, memory: &Memory) -> Replayed {
    let letters = Letters::default();
    replay.run(&consumer(memory), &letters, std::future::pending()).await.unwrap()
}

on_each! {
    no_gap_and_no_inversion_between_history_and_live_events_whatever_is_cut,
    a_consumer_gets_what_its_queue_would_have_brought_and_nothing_else,
    a_key_waits_for_its_failing_event_and_others_go_on,
    a_replay_keeps_to_its_rate,
    a_replay_that_is_stopped_goes_on_to_the_same_end,
    two_runs_of_one_replay_do_not_go_on_side_by_side,
    a_filter_narrows_what_is_replayed,
}

async fn no_gap_and_no_inversion_between_history_and_live_events_whatever_is_cut<S: Store>(
    store: S,
) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut record_some = async |random: &mut fastrand::Rng, events: usize| {
        let mut left = events;
        while left > 0 {
            let together = random.usize(1..=left.min(4));
            let some: Vec<_> = (0..together)
                .map(|_| {
                    let key = format!("k{}", random.u8(0..6));
                    let number = numbers.entry(key.clone()).or_insert(0);
                    *number += 1;
                    Happened::new(key, *number)
                })
                .collect();
            let mut tx = store.begin().await;
            outbox(&store).record_all(&mut tx, some).await.unwrap();
            S::commit(tx).await;
            left -= together;
        }
    };
    let log = EventLog::new(store.database());
    record_some(&mut random, 120).await;
    // The queue is made: what is recorded from here on is in it, and a few from before that had
    // not been published.
    let before = random.u64(60..=120);
    record_some(&mut random, 30).await;

    let memory = Memory::new();
    let inbox = MemoryIdempotencyStore::default();
    let consumer = consumer(&memory).idempotency(inbox);
    for _ in 0..12 {
        let failing = random.i64(1..20);
        memory.failures.lock().unwrap().insert(failing, random.u32(0..3));
    }
    let batch = random.usize(1..40);
    let mut cuts = 0;
    loop {
        let budget = random.usize(1..60);
        let available = memory.budget.available_permits();
        memory.budget.forget_permits(available);
        memory.budget.add_permits(budget);
        let (replay, consumer) = (replay(&store).batch(batch), consumer.clone());
        let run = tokio::spawn(async move {
            replay.run(&consumer, &Letters::default(), std::future::pending()).await
        });
        let empty = async {
            while memory.budget.available_permits() > 0 || random.u8(0..4) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::pin!(run);
        tokio::select! {
            ended = &mut run => match ended.unwrap() {
                // The last statement of the run that was cut came through after this one had begun.
                Err(ReplayError::Superseded { .. }) if cuts > 0 => continue,
                ended => {
                    assert!(ended.unwrap().complete);
                    break;
                }
            },
            () = empty => {
                run.abort();
                let _ = run.await;
                cuts += 1;
            }
        }
        if cuts % 2 == 0 {
            record_some(&mut random, 5).await;
        }
    }
    assert!(cuts > 0, "seed {seed}");
    let progress = replay(&store).progress().await.unwrap().unwrap();
    assert!(progress.is_complete());
    assert_eq!(progress.total, 150);
    record_some(&mut random, 20).await;

    let live = log.read(&Filter::all(), Position::new(before), 10_000).await.unwrap();
    memory.budget.add_permits(10_000);
    let mut waiting: Vec<RawDelivery> = live.into_iter().map(|e| e.into_delivery()).collect();
    while !waiting.is_empty() {
        let given = waiting.clone();
        let letters = Letters::default();
        let outcomes: Vec<_> = consumer.process(given, 8, &letters, &|| true).collect().await;
        let mut again: Vec<usize> = Vec::new();
        for (index, outcome) in outcomes {
            if outcome.disposition() != fanfare_core::Disposition::Acknowledge {
                again.push(index);
            }
        }
        again.sort_unstable();
        waiting = again.into_iter().map(|index| waiting[index].clone()).collect();
    }
    for (key, handled) in memory.by_key() {
        let last = i64::try_from(numbers[&key]).unwrap();
        assert_eq!(handled, (1..=last).collect::<Vec<_>>(), "{key}, seed {seed}");
    }
    assert_eq!(memory.by_key().len(), numbers.len());
}

async fn a_consumer_gets_what_its_queue_would_have_brought_and_nothing_else<S: Store>(store: S) {
    let outbox = outbox(&store);
    let mut tx = store.begin().await;
    outbox.record(&mut tx, &Happened::new("a", 1)).await.unwrap();
    outbox.record(&mut tx, &Ignored { key: "a".into() }).await.unwrap();
    let to_others = Task::to("others", Happened::new("a", 2));
    let to_it = Task::to("newcomer", Happened::new("b", 3));
    outbox.record_all(&mut tx, (to_others, to_it)).await.unwrap();
    S::commit(tx).await;
    let memory = Memory::new();
    let letters = Letters::default();
    let replayed =
        replay(&store).run(&consumer(&memory), &letters, std::future::pending()).await.unwrap();
    assert!(replayed.complete);
    assert_eq!((replayed.handled, replayed.dead_lettered, replayed.ignored), (2, 0, 0));
    let handled = memory.handled.lock().unwrap().clone();
    assert_eq!(handled.iter().map(|(_, n, _)| *n).collect::<Vec<_>>(), [1, 3]);
    for (key, _, metadata) in handled {
        assert!(metadata.replayed);
        assert_eq!((metadata.group, metadata.attempt), (Some(key), 1));
    }
    assert!(letters.0.lock().unwrap().is_empty());
}

async fn a_key_waits_for_its_failing_event_and_others_go_on<S: Store>(store: S) {
    for number in 1..=10 {
        record(&store, "a", number).await;
        record(&store, "b", 100 + number).await;
    }
    let memory = Memory::new();
    // The third fails twice; the fifth as often as it may.
    memory.failures.lock().unwrap().extend([(3, 2), (5, 99)]);
    let letters = Letters::default();
    let replay = replay(&store).batch(4);
    let replayed = replay.run(&consumer(&memory), &letters, std::future::pending()).await.unwrap();
    assert_eq!((replayed.handled, replayed.dead_lettered, replayed.complete), (19, 1, true));
    let keys = memory.by_key();
    assert_eq!(keys["a"], [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    assert_eq!(keys["b"], (101..=110).collect::<Vec<_>>());
    let numbers = memory.numbers();
    let at = |number| numbers.iter().position(|n| *n == number).unwrap();
    assert!(at(103) < at(3), "others waited: {numbers:?}");
    assert_eq!(letters.0.lock().unwrap().len(), 1);
    let progress = replay.progress().await.unwrap().unwrap();
    assert_eq!((progress.done, progress.total), (20, 20));
}

async fn a_replay_keeps_to_its_rate<S: Store>(store: S) {
    for number in 1..=30 {
        record(&store, "a", number).await;
    }
    let memory = Memory::new();
    let start = Instant::now();
    assert!(to_the_end(&replay(&store).rate(60), &memory).await.complete);
    // All but the last tenth of a second's worth are waited for.
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(memory.numbers(), (1..=30).collect::<Vec<_>>());
}

async fn a_replay_that_is_stopped_goes_on_to_the_same_end<S: Store>(store: S) {
    for number in 1..=40 {
        record(&store, "a", number).await;
    }
    let (memory, letters) = (Memory::new(), Letters::default());
    let replay = replay(&store).batch(8).rate(200);
    assert_eq!(replay.progress().await.unwrap(), None);
    let enough = async {
        while memory.numbers().len() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let stopped = replay.run(&consumer(&memory), &letters, enough).await.unwrap();
    assert!(!stopped.complete);
    let progress = replay.progress().await.unwrap().unwrap();
    assert_eq!(progress.done, stopped.handled);
    assert!(!progress.is_complete() && progress.done >= 10 && progress.done < 40, "{progress:?}");
    for number in 41..=45 {
        record(&store, "a", number).await;
    }
    let rest = to_the_end(&replay, &memory).await;
    assert_eq!((rest.complete, rest.handled), (true, 40 - stopped.handled));
    assert_eq!(memory.numbers(), (1..=40).collect::<Vec<_>>());
    let again = to_the_end(&replay, &memory).await;
    assert_eq!((again.complete, again.handled), (true, 0));
}

async fn two_runs_of_one_replay_do_not_go_on_side_by_side<S: Store>(store: S) {
    for number in 1..=60 {
        record(&store, "a", number).await;
    }
    let memory = Memory::new();
    let replay = replay(&store).batch(5).rate(300);
    let letters = Letters::default();
    let consumer = consumer(&memory).idempotency(MemoryIdempotencyStore::default());
    let (one, two) = tokio::join!(
        replay.run(&consumer, &letters, std::future::pending()),
        replay.run(&consumer, &letters, std::future::pending()),
    );
    let refused = [one, two].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(matches!(refused.as_slice(), [ReplayError::Superseded { .. }]), "{refused:?}");
    assert_eq!(memory.numbers(), (1..=60).collect::<Vec<_>>());
}

async fn a_filter_narrows_what_is_replayed<S: Store>(store: S) {
    for number in 1..=10 {
        record(&store, if number % 2 == 0 { "a" } else { "b" }, number).await;
    }
    let memory = Memory::new();
    let filter = Filter::all().key("a").tag("tests.Happened.v1").tag("tests.Ignored.v1");
    assert!(to_the_end(&replay(&store).filter(filter), &memory).await.complete);
    assert_eq!(memory.numbers(), [2, 4, 6, 8, 10]);
}

mod while_somebody_writes {
    crate::stores::on!(crate::stores::OnPostgres:
        what_was_published_before_the_queue_was_there_is_replayed_even_above_the_mark,
    );
}

async fn what_was_published_before_the_queue_was_there_is_replayed_even_above_the_mark(
    store: OnPostgres,
) {
    let mut slow = store.begin().await;
    outbox(&store).record(&mut slow, &Happened::new("a", 1)).await.unwrap();
    // Committed, published, and in no queue of the newcomer's.
    record(&store, "b", 2).await;
    assert_eq!(EventLog::new(store.database()).high_water().await.unwrap(), Position::START);
    let memory = Memory::new();
    let running = {
        let (replay, memory) = (replay(&store), memory.clone());
        tokio::spawn(async move { to_the_end(&replay, &memory).await })
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while replay(&store).progress().await.unwrap().is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!running.is_finished());
    OnPostgres::commit(slow).await;
    assert!(running.await.unwrap().complete);
    let mut numbers = memory.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}
