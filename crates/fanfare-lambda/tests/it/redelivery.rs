use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{GivenBack, Redelivery, Retry};
use fanfare_lambda::{any, sqs};

use crate::world::{
    World, context, event, failures, grouped, invoke, invoke_in, message, notification, order,
};

/// What was given back, in calls.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<Vec<Vec<GivenBack>>>>);

impl Redelivery for Queue {
    async fn give_back(&self, messages: Vec<GivenBack>) {
        tokio::task::yield_now().await;
        self.0.lock().unwrap().push(messages);
    }
}

impl Queue {
    /// Receipts and seconds, of the one call that there was.
    fn given_back(&self) -> Vec<(String, u64)> {
        let calls = self.0.lock().unwrap();
        assert_eq!(calls.len(), 1);
        calls[0].iter().map(|given| (given.receipt.clone(), given.after.as_secs())).collect()
    }
}

fn is(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|&(receipt, after)| (receipt.into(), after)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_failed_comes_again_when_its_handler_says_or_the_back_off_does() {
    let (world, queue) = (World::default(), Queue::default());
    let retry = Retry::fixed(Duration::from_secs(100));
    let function = sqs(world.consumer().retry(retry)).redelivery(queue.clone());
    let orders = ["later-7", "a", "fail-1"].map(message);
    assert_eq!(invoke(&function, event(orders)).await.unwrap(), failures(&["later-7", "fail-1"]));
    let given_back = queue.given_back();
    assert_eq!(given_back[0], ("later-7-receipt".into(), 7));
    assert_eq!(given_back[1].0, "fail-1-receipt");
    assert!((1..=100).contains(&given_back[1].1), "{given_back:?}");
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_group_comes_again_with_its_head() {
    let (world, queue) = (World::default(), Queue::default());
    let batch = [grouped("g", "later-9"), grouped("h", "a"), grouped("g", "b"), grouped("g", "c")];
    let function = any(world.consumer()).redelivery(queue.clone());
    assert_eq!(invoke(&function, event(batch)).await.unwrap(), failures(&["later-9", "b", "c"]));
    let expected = is(&[("later-9-receipt", 9), ("b-receipt", 9), ("c-receipt", 9)]);
    assert_eq!(queue.given_back(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_begun_or_abandoned_comes_again_at_once() {
    let (world, queue) = (World::default(), Queue::default());
    let function = sqs(world.consumer()).redelivery(queue.clone()).concurrency(1);
    let orders = ["slow-850000", "b"].map(message);
    let time = context(Duration::from_secs(1_000));
    let response = invoke_in(&function, event(orders), time).await.unwrap();
    assert_eq!(response, failures(&["b"]));
    let time = context(Duration::from_secs(1_000));
    let response = invoke_in(&function, event([message("stuck")]), time).await.unwrap();
    assert_eq!(response, failures(&["stuck"]));
    let calls = queue.0.lock().unwrap().clone();
    let receipts = ["b-receipt", "stuck-receipt"];
    let expected = receipts.map(|receipt| vec![GivenBack::new(receipt, Duration::ZERO)]);
    assert_eq!(calls, expected);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_failed_or_there_is_no_queue_nothing_is_given_back() {
    let (world, queue) = (World::default(), Queue::default());
    let function = any(world.consumer()).redelivery(queue.clone());
    invoke(&function, event([message("a")])).await.unwrap();
    invoke(&function, event([order("1", "k", "fail-1")])).await.unwrap();
    invoke(&function, event([notification("fail-1")])).await.unwrap_err();
    assert!(queue.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_answer_does_not_take_the_batch_along() {
    struct Silent;
    impl Redelivery for Silent {
        async fn give_back(&self, _: Vec<GivenBack>) {
            std::future::pending().await
        }
    }
    let function = sqs(World::default().consumer()).redelivery(Silent);
    let batch = event([message("a"), message("fail-1")]);
    assert_eq!(invoke(&function, batch).await.unwrap(), failures(&["fail-1"]));
}
