//! The order of each key, across calls, requests and failures.

use std::{collections::BTreeMap, time::Duration};

use fanfare_aws::BufferedPublisher;
use fanfare_core::{Message, Opened, PublishError, PublishReport, Publisher, RequestLimits, seal};
use fanfare_sim::RandomFaults;
use fanfare_topology::Kind;
use futures_util::future::join_all;
use tokio::{
    task::{JoinHandle, yield_now},
    time::sleep,
};

use crate::{
    below::{Below, refused},
    message, number,
    support::*,
};

/// Calls in the order in which they are made here.
async fn begin<P: Publisher + 'static>(
    publisher: &BufferedPublisher<P>,
    batch: Vec<Message>,
) -> JoinHandle<PublishReport> {
    let publisher = publisher.clone();
    let task = tokio::spawn(async move { publisher.publish(&batch).await });
    yield_now().await;
    task
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_message_of_its_key_that_is_tried_again() {
    // The request with the first message takes as long as retries would.
    let slow = |batch: &[Message]| match batch.iter().any(|message| number(message) == 0) {
        true => Duration::from_secs(5),
        false => Duration::from_millis(10),
    };
    let below = Below::new().ordered().latency(slow);
    let publisher = BufferedPublisher::new(below.clone());
    let first = begin(&publisher, vec![message("a", 0), message("b", 1)]).await;
    sleep(Duration::from_secs(1)).await;
    let later = begin(&publisher, vec![message("a", 2), message("c", 3)]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(below.calls(), [vec![0, 1], vec![3]], "another key goes on");
    assert_eq!(first.await.unwrap().published(), 2);
    assert_eq!(later.await.unwrap().published(), 2);
    assert_eq!(below.calls(), [vec![0, 1], vec![3], vec![2]]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_blocks_the_rest_of_its_key_in_its_call_and_in_no_other() {
    let limits = RequestLimits::new(10, 262_144);
    for limits in [limits, limits.repeating_keys()] {
        let below = Below::new().ordered().limits(limits).judge(|message| match number(message) {
            1 => Err(refused(message)),
            _ => Ok(()),
        });
        let publisher = BufferedPublisher::new(below.clone());
        let one = vec![message("a", 0), message("a", 1), message("a", 2), message("b", 3)];
        let calls = [
            begin(&publisher, one).await,
            begin(&publisher, vec![message("a", 4), message("b", 5)]).await,
            begin(&publisher, vec![message("a", 6)]).await,
        ];
        let [one, two, three] = calls.map(|call| async { call.await.unwrap() });
        let (refused, blocked) = (Err(refused(&message("a", 1))), Err(PublishError::Blocked));
        assert_eq!(one.await.outcomes(), [Ok(()), refused, blocked, Ok(())]);
        assert_eq!((two.await.published(), three.await.published()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_more_than_the_buffer_takes_is_blocked_to_its_end() {
    let below = Below::new().ordered().judge(|message| match number(message) {
        1 => Err(refused(message)),
        _ => Ok(()),
    });
    let publisher = BufferedPublisher::new(below.clone()).capacity(3, 1 << 20);
    let batch: Vec<_> = (0..8).map(|number| message("a", number)).collect();
    let report = publisher.publish(&batch).await;
    assert_eq!(below.numbers(), [0, 1]);
    assert_eq!(report.published(), 1);
    assert!(report.outcomes()[2..].iter().all(|outcome| *outcome == Err(PublishError::Blocked)));
}

#[tokio::test(start_paused = true)]
async fn keys_that_may_be_repeated_leave_together() {
    let below = Below::new().ordered().limits(RequestLimits::new(500, 1 << 20).repeating_keys());
    let publisher = BufferedPublisher::new(below.clone());
    let publish = |n: usize| {
        let publisher = publisher.clone();
        async move { publisher.publish(&[message(["a", "b"][n % 2], n)]).await }
    };
    join_all((0..100).map(publish)).await;
    assert_eq!(below.calls().len(), 1);
    let (even, odd): (Vec<_>, Vec<_>) = below.numbers().into_iter().partition(|n| n % 2 == 0);
    assert!(even.is_sorted() && odd.is_sorted());
}

/// One call's events and their outcomes.
type Called = Vec<(OrderPlaced, Result<(), PublishError>)>;

/// Random calls of random keys, with faults and bounds, on a FIFO topic.
async fn trial(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let shop = Shop::new(Kind::Fifo).await;
    shop.sim.set_faults(Some(RandomFaults {
        seed,
        throttle: 0.15,
        server_error: 0.1,
        lose_answer: 0.1,
        fail_entry: 0.25,
        ..RandomFaults::default()
    }));
    let publisher = BufferedPublisher::new(shop.publisher())
        .capacity(random.usize(1..60), random.usize(300..100_000))
        .linger(Duration::from_millis(random.u64(0..30)));
    let (mut calls, mut count) = (Vec::new(), 0);
    for _ in 0..40 {
        let events: Vec<_> = (0..random.usize(1..6))
            .map(|_| {
                count += 1;
                order(["a", "b", "c", "d", "e"][random.usize(..5)], count)
            })
            .collect();
        let call = begin(&publisher, seal("orders", events.clone()).unwrap()).await;
        match random.u8(..10) {
            // Its messages may be sent or not.
            0 => call.abort(),
            _ => calls.push((events, call)),
        }
        if random.bool() {
            sleep(Duration::from_millis(random.u64(0..40))).await;
        }
    }
    let mut called: Vec<Called> = Vec::new();
    for (events, call) in calls {
        let report = call.await.unwrap();
        called.push(events.into_iter().zip(report.outcomes().to_vec()).collect());
    }
    publisher.flush().await;
    check(seed, &shop, &called);
}

fn check(seed: u64, shop: &Shop, called: &[Called]) {
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for stored in shop.sim.messages(shop.queue().name()) {
        let (_, event) = Opened::open(&stored.body).unwrap().read::<OrderPlaced>().unwrap();
        by_key.entry(event.order_id).or_default().push(event.number);
    }
    for (key, numbers) in &by_key {
        assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}, {key}: {numbers:?}");
    }
    for call in called {
        let mut failed = Vec::new();
        for (event, outcome) in call {
            let there = by_key.get(&event.order_id).is_some_and(|n| n.contains(&event.number));
            match outcome {
                Ok(()) => {
                    assert!(there, "seed {seed}: {event:?} is lost");
                    assert!(!failed.contains(&&event.order_id), "seed {seed}: {event:?}");
                }
                Err(PublishError::Blocked) => {
                    assert!(!there, "seed {seed}: {event:?} was sent all the same");
                    assert!(failed.contains(&&event.order_id), "seed {seed}: {event:?}");
                }
                Err(_) => failed.push(&event.order_id),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_calls_and_faults_leave_each_key_in_order() {
    for seed in 0..20 {
        trial(seed).await;
    }
}
