//! Handlers in transactions of a real database.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{
    BoxError, Call, Consumer, DeadLetter, DeadLetterError, DeadLetters, Delivery, EventType,
    HandlerError, HandlerService, IntoEvents, Message, Metadata, Outcome, PendingEvent,
    PublishReport, Publisher, RawDelivery, Router,
};
use fanfare_sql::{EventLog, Filter, Outbox, Position, SqlInbox};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{
    places::Happened,
    stores::{Store, on_each},
};

/// What handlers are told to do.
#[derive(EventType, Deserialize)]
#[event(type = "tests.Asked.v1", topic = "asked")]
struct Asked {
    id: String,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(crate) enum What {
    Succeed,
    /// Answers with an event.
    Answer,
    Fail,
    Reject,
    /// A statement that the database refuses.
    Violate,
    /// The same, and goes on as if nothing had happened.
    PassOver,
    /// A row that the database refuses at the commit.
    ViolateLate,
    /// Waits to be let go, and then fails or succeeds.
    WaitThenFail,
    WaitThenSucceed,
    /// A statement that takes long.
    Linger,
}

/// A consumer's ports and what its handlers share.
pub(crate) struct Bench<S> {
    pub(crate) store: S,
    pub(crate) state: State,
    published: Published,
}

#[derive(Clone)]
pub(crate) struct State {
    /// Which were begun, in order.
    pub(crate) begun: Arc<Mutex<Vec<String>>>,
    gate: Arc<Semaphore>,
}

impl State {
    /// Lets one that waits go on.
    pub(crate) fn let_go(&self) {
        self.gate.add_permits(1);
    }
}

#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<Message>>>);

impl Publisher for Published {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.0.lock().unwrap().extend_from_slice(batch);
        PublishReport::new(batch.iter().map(|_| Ok(())).collect())
    }
}

struct Dead;

impl DeadLetters for Dead {
    async fn put(&self, _: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        Ok(())
    }
}

async fn handle<S: Store>(
    state: State,
    tx: &mut S::Connection,
    asked: Delivery<Asked>,
) -> Result<impl IntoEvents, HandlerError> {
    let Asked { id, what } = asked.event;
    state.begun.lock().unwrap().push(id.clone());
    let effect = format!("insert into effects (id) values ('{id}')");
    S::execute(tx, &effect).await?;
    let violation = "insert into effects (id) values (null)";
    match what {
        What::Succeed | What::Answer => {}
        What::Fail => return Err(HandlerError::retry("not now")),
        What::Reject => return Err(HandlerError::reject("never")),
        What::Violate => S::execute(tx, violation).await?,
        What::PassOver => drop(S::execute(tx, violation).await),
        What::ViolateLate => S::execute(tx, "insert into late (parent) values (7)").await?,
        What::WaitThenFail | What::WaitThenSucceed => {
            state.gate.acquire().await?.forget();
            if what == What::WaitThenFail {
                return Err(HandlerError::retry("in the end"));
            }
        }
        What::Linger => S::execute(tx, "select pg_sleep(5)").await?,
    }
    Ok((what == What::Answer).then(|| Happened::new(id, 1)))
}

impl<S: Store> Bench<S> {
    pub(crate) async fn new(store: S) -> Self {
        store.sql("create table effects (n integer, id text not null)").await;
        store.sql("create table parents (id integer primary key)").await;
        let late =
            "create table late (parent integer references parents deferrable initially deferred)";
        store.sql(late).await;
        let state = State { begun: Arc::default(), gate: Arc::new(Semaphore::new(0)) };
        Bench { store, state, published: Published::default() }
    }

    pub(crate) fn inbox(&self) -> SqlInbox {
        SqlInbox::new(self.store.database())
    }

    pub(crate) fn consumer(&self, inbox: SqlInbox) -> Consumer {
        let router = Router::new("products").on_tx(handle::<S>);
        let consumer = router.with_state(self.state.clone()).inbox(inbox);
        consumer.publisher(self.published.clone())
    }

    /// A consumer with a layer around its handlers.
    pub(crate) fn layered<L>(&self, layer: L) -> Consumer
    where
        L: tower::Layer<HandlerService> + Send + Sync + 'static,
        L::Service: tower::Service<Call, Response = Vec<PendingEvent>, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower::Service<Call>>::Future: Send + 'static,
    {
        let router = Router::new("products").on_tx(handle::<S>).layer(layer);
        let consumer = router.with_state(self.state.clone()).inbox(self.inbox());
        consumer.publisher(self.published.clone())
    }

    /// Handles a batch; its outcomes in order.
    pub(crate) async fn run(&self, inbox: SqlInbox, batch: Vec<RawDelivery>) -> Vec<Outcome> {
        run(&self.consumer(inbox), batch).await
    }

    /// How often each effect is there.
    pub(crate) async fn effects(&self) -> BTreeMap<String, usize> {
        let begun = self.state.begun.lock().unwrap().clone();
        let mut effects = BTreeMap::new();
        for id in begun {
            let sql = format!("select cast(count(*) as bigint) from effects where id = '{id}'");
            let times = self.store.sql(&sql).await[0];
            if times > 0 {
                effects.insert(id, usize::try_from(times).unwrap());
            }
        }
        effects
    }

    pub(crate) async fn effects_are(&self, ids: &[&str]) {
        let once: BTreeMap<_, _> = ids.iter().map(|id| (id.to_string(), 1)).collect();
        assert_eq!(self.effects().await, once);
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        self.store.sql(&format!("select cast(count(*) as bigint) from {table}")).await[0]
    }

    pub(crate) fn published(&self) -> Vec<Message> {
        self.published.0.lock().unwrap().clone()
    }
}

pub(crate) async fn run(consumer: &Consumer, batch: Vec<RawDelivery>) -> Vec<Outcome> {
    consumer.check().unwrap();
    let (count, may_begin) = (batch.len(), || true);
    let mut outcomes: Vec<_> =
        consumer.process(batch, 10, &Dead, &may_begin).collect::<Vec<_>>().await;
    outcomes.sort_by_key(|(index, _)| *index);
    assert_eq!(outcomes.len(), count);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

pub(crate) fn asked(id: &str, what: What) -> RawDelivery {
    asked_again(id, what, 1)
}

pub(crate) fn asked_again(id: &str, what: What, attempt: u32) -> RawDelivery {
    let body = serde_json::json!({
        "specversion": "1.0", "id": id, "source": "orders 'ü'", "type": "tests.Asked.v1",
        "data": { "id": id, "what": what },
    });
    RawDelivery::new(body.to_string(), Metadata::new(id, attempt))
}

const HANDLED: Outcome = Outcome::Handled { published: 0 };
const ANSWERED: Outcome = Outcome::Handled { published: 1 };

pub(crate) fn is_failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { .. })
}

on_each! {
    a_poison_message_is_undone_by_itself_and_its_neighbours_have_their_effect,
    one_that_is_alone_has_its_effect_once,
    what_follows_is_recorded_in_the_same_transaction,
    what_was_handled_is_kept_in_the_log_before_what_follows,
    what_follows_is_stored_and_published_where_there_is_no_outbox,
    what_was_stored_is_recorded_once_when_an_outbox_comes,
    consumers_do_not_share_what_they_have_handled,
    what_is_old_is_forgotten_in_batches_and_what_is_young_is_not,
    a_purge_that_runs_regularly_ends_when_it_is_told_to,
    an_inbox_without_its_tables_says_so,
}

async fn a_poison_message_is_undone_by_itself_and_its_neighbours_have_their_effect<S: Store>(
    store: S,
) {
    let bench = Bench::new(store).await;
    let poison = [What::Fail, What::Violate, What::Reject];
    let mut batch: Vec<_> = (0..9)
        .map(|n| asked(&n.to_string(), if n % 3 == 1 { poison[n / 3] } else { What::Succeed }))
        .collect();
    let outcomes = bench.run(bench.inbox(), batch.clone()).await;
    bench.effects_are(&["0", "2", "3", "5", "6", "8"]).await;
    assert!(is_failed(&outcomes[1]) && is_failed(&outcomes[4]), "{outcomes:?}");
    assert!(matches!(outcomes[7], Outcome::DeadLettered(_)));
    assert_eq!((&outcomes[0], &outcomes[8]), (&HANDLED, &HANDLED));
    assert_eq!(bench.count("fanfare_inbox").await, 6, "what failed is not remembered");

    // Now they succeed, and the others come again.
    for n in [1, 4, 7] {
        batch[n] = asked(&n.to_string(), What::Succeed);
    }
    let outcomes = bench.run(bench.inbox(), batch).await;
    let of = |n: usize| if n % 3 == 1 { HANDLED } else { Outcome::Duplicate };
    assert_eq!(outcomes, (0..9).map(of).collect::<Vec<_>>());
    assert!(bench.effects().await.values().all(|times| *times == 1));
}

async fn one_that_is_alone_has_its_effect_once<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    for (what, expected) in [
        (What::Violate, None),
        (What::Fail, None),
        (What::Succeed, Some(HANDLED)),
        (What::Succeed, Some(Outcome::Duplicate)),
    ] {
        let outcome = bench.run(bench.inbox(), vec![asked("a", what)]).await.remove(0);
        assert_eq!(Some(outcome.clone()).filter(|o| !is_failed(o)), expected, "{outcome:?}");
    }
    bench.effects_are(&["a"]).await;
}

async fn what_follows_is_recorded_in_the_same_transaction<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let outbox = Outbox::new(bench.store.database(), "products").logged();
    let batch = || vec![asked("a", What::Answer), asked("b", What::Fail), asked("c", What::Answer)];
    let first = bench.run(bench.inbox().outbox(&outbox), batch()).await;
    assert_eq!((&first[0], &first[2]), (&ANSWERED, &ANSWERED));
    let second = bench.run(bench.inbox().outbox(&outbox), batch()).await;
    assert_eq!((&second[0], &second[2]), (&Outcome::Duplicate, &Outcome::Duplicate));
    assert_eq!(bench.count("fanfare_outbox").await, 2, "each once");
    assert_eq!(bench.count("fanfare_log").await, 2, "and in the log");
    assert_eq!((bench.count("fanfare_inbox_followed").await, bench.published().len()), (0, 0));
}

async fn what_was_handled_is_kept_in_the_log_before_what_follows<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let outbox = Outbox::new(bench.store.database(), "products").logged();
    let batch =
        || vec![asked("a", What::Answer), asked("b", What::Fail), asked("c", What::Succeed)];
    let inbox = || bench.inbox().outbox(&outbox).logged();
    for _ in 0..2 {
        let outcomes = bench.run(inbox(), batch()).await;
        assert!(is_failed(&outcomes[1]), "{outcomes:?}");
    }
    let log = EventLog::new(bench.store.database());
    let kept = log.read(&Filter::all(), Position::START, 10).await.unwrap();
    let tags: Vec<_> = kept.iter().map(|event| event.message.tag.as_str()).collect();
    assert_eq!(tags, ["tests.Asked.v1", "tests.Asked.v1", "tests.Happened.v1"]);
    assert_eq!(kept[0].message.body, batch()[0].body, "byte for byte");
    assert_eq!((kept[0].message.id.as_str(), kept[1].message.id.as_str()), ("a", "c"));
}

async fn what_follows_is_stored_and_published_where_there_is_no_outbox<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let batch =
        || vec![asked("a", What::Answer), asked("b", What::Answer), asked("c", What::Succeed)];
    let first = bench.run(bench.inbox(), batch()).await;
    let second = bench.run(bench.inbox(), batch()).await;
    assert_eq!(first, [ANSWERED, ANSWERED, HANDLED]);
    assert_eq!(second, [Outcome::Duplicate, Outcome::Duplicate, Outcome::Duplicate]);
    let published = bench.published();
    assert_eq!(published.len(), 4);
    assert_eq!(published[..2], published[2..], "byte for byte the same events");
}

async fn what_was_stored_is_recorded_once_when_an_outbox_comes<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let batch = || vec![asked("a", What::Answer)];
    let _ = bench.run(bench.inbox(), batch()).await;
    let outbox = Outbox::new(bench.store.database(), "products").logged();
    for _ in 0..2 {
        let outcomes = bench.run(bench.inbox().outbox(&outbox), batch()).await;
        assert_eq!(outcomes, [Outcome::Duplicate]);
    }
    assert_eq!(bench.count("fanfare_outbox").await, 1);
}

async fn consumers_do_not_share_what_they_have_handled<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    for name in ["products", "delivery"] {
        let router = Router::new(name).on_tx(handle::<S>).with_state(bench.state.clone());
        let consumer = router.inbox(bench.inbox()).publisher(bench.published.clone());
        assert_eq!(run(&consumer, vec![asked("a", What::Succeed)]).await, [HANDLED]);
    }
    assert_eq!(bench.effects().await["a"], 2);
}

async fn what_is_old_is_forgotten_in_batches_and_what_is_young_is_not<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let batch = (0..2_150).map(|n| asked(&n.to_string(), What::Succeed)).collect();
    let _ = bench.run(bench.inbox(), batch).await;
    let _ = bench.run(bench.inbox(), vec![asked("a", What::Answer)]).await;
    let old = S::seconds_ago(3_600);
    for table in ["fanfare_inbox", "fanfare_inbox_followed"] {
        bench.store.sql(&format!("update {table} set handled_at = {old}")).await;
    }
    let _ = bench.run(bench.inbox(), vec![asked("b", What::Answer)]).await;
    let inbox = bench.inbox();
    assert_eq!(inbox.purge(SqlInbox::RETENTION).await.unwrap(), 0);
    assert_eq!(inbox.purge(Duration::from_secs(1_800)).await.unwrap(), 2_151);
    assert_eq!(bench.count("fanfare_inbox").await, 1);
    assert_eq!(bench.count("fanfare_inbox_followed").await, 1);
    let batch = vec![asked("a", What::Answer), asked("b", What::Answer)];
    assert_eq!(bench.run(bench.inbox(), batch).await, [ANSWERED, Outcome::Duplicate]);
}

async fn a_purge_that_runs_regularly_ends_when_it_is_told_to<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let _ = bench.run(bench.inbox(), vec![asked("a", What::Succeed)]).await;
    let (inbox, stop) = (bench.inbox(), tokio_util::sync::CancellationToken::new());
    let stopped = stop.clone().cancelled_owned();
    let purging = tokio::spawn(async move { inbox.purge_hourly(Duration::ZERO, stopped).await });
    while bench.count("fanfare_inbox").await > 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    purging.await.unwrap();
}

async fn an_inbox_without_its_tables_says_so<S: Store>(store: S) {
    let bench = Bench::new(store).await;
    let elsewhere = bench.store.database().clone().prefix("elsewhere_").unwrap();
    let outcomes = bench.run(SqlInbox::new(&elsewhere), vec![asked("a", What::Succeed)]).await;
    let Outcome::Failed { error, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(error.contains("Database::migrate"), "{error}");
}
