//! How full requests are, and how long messages wait for that.

use std::time::Duration;

use fanfare_aws::{Aws, AwsPublisher, BufferedPublisher, provision};
use fanfare_core::{Destination, Emitter, PublishError, Publisher, RequestLimits};
use fanfare_sim::{RandomFaults, Sim};
use fanfare_topology::{Kind, Kinesis, Topology};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::{
    below::{Below, refused},
    message,
    support::*,
    to,
};

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_of_one_event_each_take_a_hundred_requests() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let shop = Shop::new(kind).await;
        let orders = Emitter::new("orders", BufferedPublisher::new(shop.publisher()));
        let emits = (0..1_000).map(|number| {
            let (orders, order) = (orders.clone(), order(&format!("o-{number}"), number));
            tokio::spawn(async move { orders.emit(&order).await })
        });
        for emitted in join_all(emits.collect::<Vec<_>>()).await {
            emitted.unwrap().unwrap();
        }
        assert_eq!(shop.sim.requests().count("PublishBatch"), 100, "{kind:?}");
        assert_eq!(shop.held(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn who_publishes_by_himself_waits_for_nobody() {
    let below = Below::new();
    let publisher = BufferedPublisher::new(below.clone());
    for number in 0..5 {
        let began = Instant::now();
        assert_eq!(publisher.publish(&[message("k", number)]).await.published(), 1);
        assert_eq!(began.elapsed(), Duration::from_millis(10), "the request itself");
    }
    assert_eq!(below.calls().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_again_and_again_fill_requests_too() {
    let below = Below::new();
    let publisher = BufferedPublisher::new(below.clone());
    let callers = (0..50).map(|caller| {
        let publisher = publisher.clone();
        async move {
            for n in 0..20 {
                let _ = publisher.publish(&[message("k", 100 * caller + n)]).await;
            }
        }
    });
    join_all(callers).await;
    let requests = below.calls().len();
    assert!((100..=110).contains(&requests), "{requests} requests for 1,000 messages");
}

#[tokio::test(start_paused = true)]
async fn no_message_waits_longer_than_the_linger_while_others_are_under_way() {
    let slow = Duration::from_millis(50);
    let below = Below::new().latency(move |_| slow);
    let publisher = BufferedPublisher::new(below.clone()).linger(Duration::from_millis(20));
    let mut callers = Vec::new();
    for number in 0..200 {
        let publisher = publisher.clone();
        callers.push(tokio::spawn(async move {
            let began = Instant::now();
            assert_eq!(publisher.publish(&[message("k", number)]).await.published(), 1);
            began.elapsed()
        }));
        sleep(Duration::from_millis(4)).await;
    }
    let mut longest = Duration::ZERO;
    for caller in callers {
        longest = longest.max(caller.await.unwrap());
    }
    assert!(longest <= slow + Duration::from_millis(21), "{longest:?}");
    // About five come together in 20 ms.
    let requests = below.calls().len();
    assert!((30..=50).contains(&requests), "{requests} requests for 200 messages");
}

#[tokio::test(start_paused = true)]
async fn requests_are_filled_by_bytes_and_by_destination_too() {
    let below = Below::new().limits(RequestLimits::new(10, 1_000));
    let publisher = BufferedPublisher::new(below.clone());
    let large = (0..6).map(|number| {
        let mut message = message("k", number);
        message.body = "x".repeat(400);
        message
    });
    let elsewhere = (6..9).map(|number| to(Destination::Queue("books".into()), "k", number));
    let batch: Vec<_> = large.chain(elsewhere).collect();
    assert_eq!(publisher.publish(&batch).await.published(), 9);
    let mut calls = below.calls();
    calls.sort_unstable();
    assert_eq!(calls, [vec![0, 1], vec![2, 3], vec![4, 5], vec![6, 7, 8]]);
}

#[tokio::test(start_paused = true)]
async fn each_caller_gets_the_outcomes_of_its_own_messages_in_its_own_order() {
    let fails = |number: usize| number % 3 == 1;
    let below = Below::new().judge(move |message| match fails(crate::number(message)) {
        true => Err(refused(message)),
        false => Ok(()),
    });
    let publisher = BufferedPublisher::new(below);
    let calls = (0..40).map(|call| {
        let publisher = publisher.clone();
        async move {
            let destination = |n| match n % 2 {
                0 => Destination::Topic("orders".into()),
                _ => Destination::Queue("books".into()),
            };
            let numbers: Vec<_> = (0..1 + call % 7).map(|n| 10 * call + n).collect();
            let batch: Vec<_> = numbers.iter().map(|n| to(destination(*n), "k", *n)).collect();
            let report = publisher.publish(&batch).await;
            let expected: Vec<_> = batch
                .iter()
                .map(|m| if fails(crate::number(m)) { Err(refused(m)) } else { Ok(()) })
                .collect();
            assert_eq!(report.outcomes(), expected);
        }
    });
    join_all(calls).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_messages_has_no_outcomes() {
    let publisher = BufferedPublisher::new(Below::new());
    assert_eq!(publisher.publish(&[]).await.outcomes(), []);
}

#[tokio::test(start_paused = true)]
async fn single_failures_are_made_up_for_below_the_buffer() {
    let shop = Shop::new(Kind::Standard).await;
    shop.sim.set_faults(Some(RandomFaults {
        seed: 7,
        throttle: 0.1,
        fail_entry: 0.1,
        ..RandomFaults::default()
    }));
    let orders = Emitter::new("orders", BufferedPublisher::new(shop.publisher()));
    let emits = (0..300).map(|number| {
        let (orders, order) = (orders.clone(), order("o", number));
        async move { orders.emit(&order).await }
    });
    let emitted: Vec<_> = join_all(emits).await.into_iter().filter(Result::is_ok).collect();
    assert_eq!((emitted.len(), shop.held()), (300, 300));
}

/// The records that a thousand callers' events make on a stream, and the requests that bring them.
async fn streamed(stream: Kinesis) -> (usize, u64) {
    let topology = Topology::new("shop").topic("orders", stream);
    let sim = Sim::new();
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    provision(&aws, &topology).await.unwrap();
    let publisher = AwsPublisher::new(aws, topology.bindings());
    let publisher = BufferedPublisher::new(publisher);
    let publish = |number: usize| {
        let publisher = publisher.clone();
        async move { publisher.publish(&[message(&format!("k-{}", number % 100), number)]).await }
    };
    let reports = join_all((0..1_000).map(publish)).await;
    assert!(reports.into_iter().all(|report| report.into_result().is_ok()));
    (sim.stream_records("shop-orders").len(), sim.requests().count("PutRecords"))
}

#[tokio::test(start_paused = true)]
async fn streams_have_records_of_many_callers_in_a_request() {
    let (records, requests) = streamed(Kinesis::shards(2)).await;
    assert_eq!(records, 1_000);
    assert!(requests <= 20, "{requests} requests: ten events of each of a hundred keys");
}

#[tokio::test(start_paused = true)]
async fn aggregates_have_events_of_many_callers() {
    let (records, requests) = streamed(Kinesis::shards(2).aggregated()).await;
    assert!(records <= 8, "{records} records for 1,000 events on two shards");
    assert!(requests <= 4, "{requests} requests");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_before_it_is_sent_is_so_in_a_buffer_too() {
    let shop = Shop::new(Kind::Standard).await;
    let publisher = BufferedPublisher::new(shop.publisher());
    let mut bad = message("k", 1);
    bad.body.clear();
    let report = publisher.publish(&[message("k", 0), bad]).await;
    assert_eq!(report.outcomes()[0], Ok(()));
    assert!(matches!(report.outcomes()[1], Err(PublishError::Malformed { .. })));
}
