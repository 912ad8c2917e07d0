use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{Cancellation, Delivery, HandlerError, Router};
use fanfare_lambda::{Context, kinesis, sns, sqs};
use tokio::time::Instant;

use crate::world::{
    OrderPlaced, World, context, event, failures, grouped, invoke_in, message, notification, order,
};

/// Enough of them that the moments between here and the call do not count.
fn seconds(seconds: u64) -> Context {
    context(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_in_the_last_fifth() {
    let world = World::default();
    let function = sqs(world.consumer()).concurrency(1);
    let orders = ["slow-400000", "slow-450000", "a", "b"].map(message);
    let response = invoke_in(&function, event(orders), seconds(1_000)).await.unwrap();
    assert_eq!(response, failures(&["a", "b"]));
    assert_eq!(world.done(), ["slow-400000", "slow-450000"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_when_the_time_is_up_is_abandoned_and_its_neighbours_results_count() {
    let world = World::default();
    let function = sqs(world.consumer()).dead_letters(world.clone());
    let start = Instant::now();
    let orders = ["a", "stuck", "reject", "slow-900000", "slow-999900"].map(message);
    let response = invoke_in(&function, event(orders), seconds(1_000)).await.unwrap();
    assert_eq!(response, failures(&["stuck", "slow-999900"]));
    let took = start.elapsed();
    let (least, most) = (Duration::from_secs(950), Duration::from_secs(999));
    assert!((least..=most).contains(&took), "{took:?}");
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(world.done(), ["a", "slow-900000"], "what was abandoned goes on no more");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_handler_is_cancelled_and_one_that_was_done_is_not() {
    type Kept = Arc<Mutex<Vec<Cancellation>>>;
    async fn keep(kept: Kept, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        kept.lock().unwrap().push(order.cancellation);
        if order.metadata.message_id == "stuck" {
            std::future::pending().await
        }
        Ok(())
    }
    let kept = Kept::default();
    let consumer = Router::new("delivery").on(keep).with_state(Arc::clone(&kept));
    let batch = event(["a", "stuck"].map(message));
    let response = invoke_in(&sqs(consumer), batch, seconds(1_000)).await.unwrap();
    assert_eq!(response, failures(&["stuck"]));
    let cancelled: Vec<_> = kept.lock().unwrap().iter().map(Cancellation::is_cancelled).collect();
    assert_eq!(cancelled, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_group_behind_an_abandoned_handler_is_reported_with_it() {
    let world = World::default();
    let batch = [grouped("g", "stuck"), grouped("h", "a"), grouped("g", "b")];
    let response = invoke_in(&sqs(world.consumer()), event(batch), seconds(1_000)).await.unwrap();
    assert_eq!(response, failures(&["stuck", "b"]));
    assert_eq!(world.begun(), ["stuck", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_from_an_abandoned_handler_and_a_topic_fails() {
    let world = World::default();
    let batch = event([order("1", "k1", "a"), order("2", "k2", "stuck"), order("3", "k3", "b")]);
    let response = invoke_in(&kinesis(world.consumer()), batch, seconds(1_000)).await.unwrap();
    assert_eq!(response, failures(&["2"]));
    let batch = event([notification("stuck")]);
    assert!(invoke_in(&sns(world.consumer()), batch, seconds(1_000)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn where_no_time_is_left_everything_is_reported_and_nothing_begun() {
    let world = World::default();
    let orders = ["a", "b"].map(message);
    let late = Context::default();
    let response = invoke_in(&sqs(world.consumer()), event(orders), late).await.unwrap();
    assert_eq!(response, failures(&["a", "b"]));
    assert!(world.begun().is_empty());
}
