//! What becomes of the buffer when callers, clones, publishers and runtimes end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_aws::BufferedPublisher;
use fanfare_core::{Message, PublishError, PublishReport, Publisher};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::{below::Below, message};

/// Begins to publish a message, and does not wait for its outcome.
fn begin(publisher: &BufferedPublisher<impl Publisher + 'static>, number: usize) {
    let batch = [message("k", number)];
    let call = std::pin::pin!(publisher.publish(&batch));
    assert!(call.now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_flush_sends_at_once_what_is_there_and_waits_for_it() {
    let below = Below::new().latency(|_| Duration::from_secs(2));
    let publisher = BufferedPublisher::new(below.clone()).linger(Duration::from_secs(60));
    begin(&publisher, 0);
    sleep(Duration::from_secs(1)).await;
    // Behind a request that is under way, and for a minute.
    begin(&publisher, 1);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(below.calls(), [[0]]);
    let began = Instant::now();
    publisher.flush().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(below.calls(), [[0], [1]]);
    publisher.flush().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn after_a_flush_messages_wait_for_others_again() {
    let below = Below::new().latency(|_| Duration::from_secs(10));
    let publisher = BufferedPublisher::new(below.clone()).linger(Duration::from_secs(1));
    begin(&publisher, 0);
    assert!(publisher.flush().now_or_never().is_none(), "given up");
    sleep(Duration::from_millis(100)).await;
    begin(&publisher, 1);
    sleep(Duration::from_millis(900)).await;
    assert_eq!(below.calls(), [[0]]);
    begin(&publisher, 2);
    sleep(Duration::from_millis(101)).await;
    assert_eq!(below.calls(), [vec![0], vec![1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_buffer_is_sent_when_the_last_clone_is_gone() {
    let below = Below::new();
    let publisher = BufferedPublisher::new(below.clone()).linger(Duration::from_secs(1));
    for number in 0..12 {
        begin(&publisher, number);
    }
    drop(publisher);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(below.numbers(), (0..12).collect::<Vec<_>>());
}

/// Panics at the first call.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<usize>>);

impl Publisher for Panics {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let call = {
            let mut calls = self.0.lock().unwrap();
            *calls += 1;
            *calls
        };
        assert!(call > 1, "the first call");
        PublishReport::new(vec![Ok(()); batch.len()])
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_panics_fails_its_messages_and_no_others() {
    let publisher = BufferedPublisher::new(Panics::default());
    let error = publisher.publish(&[message("k", 0)]).await.into_result().unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(
        error.to_string(),
        "topic `orders` did not accept shop.orders.OrderPlaced.v1 in 1 attempts, last: the task that published it ended early"
    );
    assert!(matches!(error, PublishError::Unavailable { .. }));
    assert_eq!(publisher.publish(&[message("k", 1)]).await.published(), 1);
}

#[test]
fn a_runtime_that_ends_takes_nobody_in_another_along() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let below = Below::new();
    let publisher = BufferedPublisher::new(below.clone()).linger(Duration::from_secs(3_600));
    // One ends with a message under way, and with others that wait.
    let ended = runtime();
    ended.block_on(async {
        for number in 0..11 {
            begin(&publisher, number);
        }
        tokio::task::yield_now().await;
    });
    drop(ended);
    let published = runtime().block_on(async { publisher.publish(&[message("k", 11)]).await });
    assert_eq!(published.published(), 1);
    // What waited when its runtime ended has failed with that.
    assert_eq!(below.calls(), [(0..10).collect::<Vec<_>>(), vec![11]]);
}
