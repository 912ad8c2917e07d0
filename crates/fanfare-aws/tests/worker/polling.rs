//! How much is received, and by how many polls at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_aws::Worker;
use fanfare_core::{Delivery, HandlerError, Router};
use fanfare_topology::Kind;
use tokio::time::{Instant, sleep};

use crate::{
    support::*,
    wire::{Sent, Way, Wire},
};

/// Every request takes this long to arrive.
const LATENCY: Duration = Duration::from_millis(20);

fn slow(_: &Sent) -> Way {
    Way::Slow(LATENCY)
}

/// Takes its time; counts how many run at once.
#[derive(Clone, Default)]
struct Running {
    time: Duration,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

async fn run(running: Running, _: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    running.most.fetch_max(running.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    sleep(running.time).await;
    running.now.fetch_sub(1, Ordering::SeqCst);
    running.done.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn while_nothing_comes_one_poll_is_under_way() {
    let shop = Shop::new(Kind::Standard).await;
    let wire = Wire::new(&shop.sim, slow);
    let working = wire.shop(&shop).work(noting().with_state(Seen::default()));
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(wire.most_polls(), 1);
    let polls = wire.sent("ReceiveMessage").len();
    assert!((178..=181).contains(&polls), "{polls} polls in an hour");
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_now_and_then_is_no_reason_for_a_second_poll() {
    let shop = Shop::new(Kind::Standard).await;
    let wire = Wire::new(&shop.sim, slow);
    let working = wire.shop(&shop).work(noting().with_state(Seen::default()));
    for _ in 0..100 {
        shop.publish(2).await;
        sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(wire.most_polls(), 1);
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_polled_for_side_by_side_and_then_it_is_one_poll_again() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(10_000).await;
    let wire = Wire::new(&shop.sim, slow);
    let running = Running { time: Duration::from_millis(5), ..Running::default() };
    let worker = Worker::new(wire.shop(&shop).queue());
    let probe = worker.health();
    let router = Router::new("products").on(run).with_state(running.clone());
    let start = Instant::now();
    let working = shop.work_with(worker, router);
    let mut most_held = 0;
    while shop.held() > 0 {
        most_held = most_held.max(probe.health().in_flight);
        sleep(Duration::from_millis(1)).await;
    }
    // 30 handlers of 5 ms do 6,000 a second.
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2_500), "handlers were kept busy: {took:?}");
    assert_eq!(running.most.load(Ordering::SeqCst), 30);
    let polls = wire.most_polls();
    assert!((8..=16).contains(&polls), "{polls} polls at once");
    assert!(most_held <= 30 + 300, "{most_held} held at once");
    let requests = wire.sent("ReceiveMessage").len() + wire.sent("DeleteMessageBatch").len();
    assert!(requests <= 2_100, "{requests} requests for 10,000 messages");
    sleep(Duration::from_secs(2)).await;
    wire.most_polls();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(wire.most_polls(), 1);
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slow_handlers_have_next_to_nothing_received_ahead() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(300).await;
    let wire = Wire::new(&shop.sim, slow);
    let running = Running { time: Duration::from_secs(1), ..Running::default() };
    let worker = Worker::new(wire.shop(&shop).queue());
    let probe = worker.health();
    let working =
        shop.work_with(worker, Router::new("products").on(run).with_state(running.clone()));
    let mut most_held = 0;
    while running.done.load(Ordering::SeqCst) < 300 {
        most_held = most_held.max(probe.health().in_flight);
        sleep(Duration::from_millis(10)).await;
    }
    assert!((30..=37).contains(&most_held), "{most_held} held at once");
    assert!(wire.most_polls() <= 3, "as many as fill thirty slots");
    shop.drained().await;
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_run_at_once_as_there_may_be_however_much_is_received() {
    for concurrency in [1, 3, 10, 25] {
        let shop = Shop::new(Kind::Standard).await;
        shop.publish(400).await;
        let wire = Wire::new(&shop.sim, slow);
        let running = Running { time: Duration::from_millis(1), ..Running::default() };
        let worker = Worker::new(wire.shop(&shop).queue()).concurrency(concurrency);
        let working =
            shop.work_with(worker, Router::new("products").on(run).with_state(running.clone()));
        shop.drained().await;
        working.finish().await.unwrap();
        assert_eq!(running.most.load(Ordering::SeqCst), concurrency);
        assert_eq!(running.done.load(Ordering::SeqCst), 400);
    }
}
