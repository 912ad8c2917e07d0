//! Several queues with handlers that they share.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_aws::{Aws, Queue, Worker, WorkerError, Workers, provision};
use fanfare_core::{ConsumerError, Delivery, Emitter, HandlerError, Router};
use fanfare_sim::Sim;
use fanfare_topology::{Kind, Topology};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{ACCOUNT, OrderPlaced, order};

/// What handlers of several queues do.
#[derive(Clone)]
struct Work {
    takes: Duration,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    done: Arc<Mutex<Vec<&'static str>>>,
}

impl Default for Work {
    fn default() -> Self {
        let (running, most, done) = Default::default();
        Work { takes: Duration::from_millis(100), running, most, done }
    }
}

impl Work {
    fn done(&self, queue: &str) -> usize {
        self.done.lock().unwrap().iter().filter(|done| **done == queue).count()
    }
}

async fn work(
    (work, queue): (Work, &'static str),
    _: Delivery<OrderPlaced>,
) -> Result<(), HandlerError> {
    work.most.fetch_max(work.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    sleep(work.takes).await;
    work.running.fetch_sub(1, Ordering::SeqCst);
    work.done.lock().unwrap().push(queue);
    Ok(())
}

fn router(queue: &'static str) -> Router<(Work, &'static str)> {
    Router::new(queue).on(work)
}

/// Two services that have the same orders.
struct Town {
    sim: Sim,
    aws: Aws,
    topology: Topology,
}

impl Town {
    async fn new(kind: Kind) -> Town {
        let topology = Topology::new("town").topic("orders", kind);
        let topology = topology.service(&router("left")).service(&router("right"));
        let sim = Sim::new();
        let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
        provision(&aws, &topology).await.unwrap();
        Town { sim, aws, topology }
    }

    async fn publish(&self, count: usize) {
        let publisher = fanfare_aws::AwsPublisher::new(self.aws.clone(), self.topology.bindings());
        let orders = Emitter::new("orders", publisher);
        let events: Vec<_> = (0..count).map(|i| order(&format!("o-{i}"), i)).collect();
        orders.emit_all(events).await.unwrap().into_result().unwrap();
    }

    fn queue(&self, service: &str, kind: Kind) -> Queue {
        self.aws.queue(&self.topology.bindings(), service, kind)
    }

    fn held(&self, queue: &Queue) -> usize {
        self.sim.queue_stats(queue.name()).unwrap().total()
    }
}

#[tokio::test(start_paused = true)]
async fn queues_take_turns_and_together_never_have_more_handlers_than_there_are() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let town = Town::new(kind).await;
        town.publish(1_000).await;
        let (left, right) = (town.queue("left", kind), town.queue("right", kind));
        let state = Work::default();
        let stop = CancellationToken::new();
        let running = tokio::spawn(
            Workers::new(10)
                .add(Worker::new(left.clone()), router("left").with_state((state.clone(), "left")))
                .add(
                    Worker::new(right.clone()),
                    router("right").with_state((state.clone(), "right")),
                )
                .run(stop.clone().cancelled_owned()),
        );
        sleep(Duration::from_secs(10)).await;
        let (a, b) = (state.done("left"), state.done("right"));
        assert!(a + b > 900, "{kind:?}: handlers are busy: {a} and {b} of 1,000");
        assert!(a.abs_diff(b) <= 100, "{kind:?}: {a} and {b}");
        assert_eq!(state.most.load(Ordering::SeqCst), 10);
        while town.held(&left) + town.held(&right) > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        assert_eq!((state.done("left"), state.done("right")), (1_000, 1_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_alone_with_messages_has_all_handlers() {
    let kind = Kind::Standard;
    let town = Town::new(kind).await;
    let (left, right) = (town.queue("left", kind), town.queue("right", kind));
    let state = Work::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(
        Workers::new(20)
            .add(Worker::new(left.clone()), router("left").with_state((state.clone(), "left")))
            .run(stop.clone().cancelled_owned()),
    );
    town.publish(400).await;
    let start = Instant::now();
    while town.held(&left) > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() < Duration::from_millis(2_500), "{:?}", start.elapsed());
    assert_eq!(town.held(&right), 400);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_messages_come_late_has_its_turn_beside_a_long_backlog() {
    let kind = Kind::Standard;
    let town = Town::new(kind).await;
    town.publish(5_000).await;
    let (left, right) = (town.queue("left", kind), town.queue("right", kind));
    let client = aws_sdk_sqs::Client::new(&town.sim.sdk_config());
    let url = client.get_queue_url().queue_name(right.name()).send().await.unwrap();
    client.purge_queue().set_queue_url(url.queue_url).send().await.unwrap();
    // So fast that much is received ahead, and always something waits.
    let state = Work { takes: Duration::from_millis(10), ..Work::default() };
    let stop = CancellationToken::new();
    let running = tokio::spawn(
        Workers::new(10)
            .add(Worker::new(left.clone()), router("left").with_state((state.clone(), "left")))
            .add(Worker::new(right.clone()), router("right").with_state((state.clone(), "right")))
            .run(stop.clone().cancelled_owned()),
    );
    sleep(Duration::from_secs(2)).await;
    assert_eq!((state.done("left") > 1_500, state.done("right")), (true, 0));
    town.publish(100).await;
    // Its half of the handlers does 500 a second.
    sleep(Duration::from_millis(400)).await;
    assert_eq!(state.done("right"), 100);
    assert!(town.held(&left) > 1_000, "the other is far from its end");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_does_not_stop_the_others_and_is_told_in_the_end() {
    let kind = Kind::Standard;
    let town = Town::new(kind).await;
    town.publish(100).await;
    let (left, missing) = (town.queue("left", kind), town.queue("nobody", kind));
    let state = Work::default();
    let stop = CancellationToken::new();
    let failing = Worker::new(missing);
    let probe = failing.health();
    let running = tokio::spawn(
        Workers::new(10)
            .add(failing, router("nobody").with_state((state.clone(), "nobody")))
            .add(Worker::new(left.clone()), router("left").with_state((state.clone(), "left")))
            .run(stop.clone().cancelled_owned()),
    );
    while town.held(&left) > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!running.is_finished());
    assert!(probe.health().ended);
    stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.errors, [WorkerError::NoQueue { queue: "town-nobody".into() }]);
    assert_eq!(error.to_string(), "queue `town-nobody` does not exist: provision it first");
}

#[tokio::test(start_paused = true)]
async fn if_all_fail_they_are_not_waited_for_and_an_incomplete_consumer_begins_nothing() {
    let kind = Kind::Standard;
    let town = Town::new(kind).await;
    let state = Work::default();
    let missing = || Worker::new(town.queue("nobody", kind));
    let consumer = || router("nobody").with_state((state.clone(), "nobody"));
    let workers = Workers::new(10).add(missing(), consumer()).add(missing(), consumer());
    let error = workers.run(std::future::pending()).await.unwrap_err();
    assert_eq!(error.errors.len(), 2);

    let empty: Router = Router::new("left");
    let before = town.sim.requests().count("ReceiveMessage");
    let workers = Workers::new(10)
        .add(missing(), consumer())
        .add(Worker::new(town.queue("left", kind)), empty);
    let error = workers.run(std::future::pending()).await.unwrap_err();
    assert!(matches!(error.errors[..], [WorkerError::Consumer(ConsumerError::NoHandlers { .. })]));
    assert_eq!(town.sim.requests().count("ReceiveMessage"), before);
}
