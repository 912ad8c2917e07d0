//! What settling costs, and how soon it happens.

use std::time::Duration;

use fanfare_core::{Delivery, HandlerError, Router};
use fanfare_topology::Kind;
use tokio::time::{Instant, sleep};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn publish_receive_and_delete_take_at_most_0_31_requests_for_each_message() {
    let shop = Shop::new(Kind::Standard).await;
    let before = shop.aws.requests();
    shop.publish(1_000).await;
    let working = shop.work(noting().with_state(Seen::default()));
    shop.drained().await;
    let requests = shop.aws.requests() - before;
    working.finish().await.unwrap();
    assert!(requests <= 310, "{requests} requests: {:?}", shop.sim.requests());
}

#[tokio::test(start_paused = true)]
async fn what_ends_at_other_times_shares_requests_too() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1_000).await;
    async fn varies(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        sleep(Duration::from_millis((order.event.number as u64 * 7) % 20)).await;
        seen.note(order.event);
        Ok(())
    }
    let seen = Seen::default();
    let working = shop.work(Router::new("products").on(varies).with_state(seen.clone()));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..1_000).collect::<Vec<_>>());
    let deletes = shop.sim.requests().count("DeleteMessageBatch");
    assert!(deletes <= 120, "{deletes} deletes");
}

#[tokio::test(start_paused = true)]
async fn the_only_message_is_settled_without_waiting_for_others() {
    let shop = Shop::new(Kind::Standard).await;
    let working = shop.work(noting().with_state(Seen::default()));
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    shop.publish(1).await;
    shop.drained().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_gives_back_what_it_has() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(40).await;
    async fn stuck(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        std::future::pending().await
    }
    let router: Router = Router::new("products").on(stuck);
    let working = shop.work(router);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(shop.sim.queue_stats(shop.queue().name()).unwrap().in_flight, 30);
    working.task.abort();
    assert!(working.task.await.is_err());
    sleep(Duration::from_millis(100)).await;
    let queue = shop.sim.queue_stats(shop.queue().name()).unwrap();
    assert_eq!((queue.visible, queue.in_flight), (40, 0));
}
