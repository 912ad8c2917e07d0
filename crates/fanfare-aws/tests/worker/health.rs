//! What a probe sees of a worker.

use std::time::Duration;

use fanfare_aws::{Health, Worker};
use fanfare_core::{Delivery, HandlerError, Router};
use fanfare_sim::Fault;
use fanfare_topology::Kind;
use tokio::time::sleep;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_probe_sees_the_last_poll_and_the_oldest_that_is_in_flight() {
    let shop = Shop::new(Kind::Standard).await;
    async fn minute(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        sleep(Duration::from_secs(60)).await;
        Ok(())
    }
    let worker = Worker::new(shop.queue()).concurrency(10);
    let probe = worker.health();
    assert_eq!(probe.health(), Health::default(), "it does not run yet");
    let router: Router = Router::new("products").on(minute);
    let working = shop.work_with(worker, router);
    sleep(Duration::from_secs(25)).await;
    let health = probe.health();
    assert_eq!(health.last_poll, Some(Duration::from_secs(5)));
    assert_eq!((health.polls, health.in_flight, health.oldest_in_flight), (1, 0, None));
    assert!(!health.ended);

    shop.publish(4).await;
    sleep(Duration::from_secs(7)).await;
    let health = probe.health();
    let oldest = health.oldest_in_flight.unwrap();
    // The answer may have been on its way for as long as its request, up to a sixth of a lease.
    assert!((7..=12).contains(&oldest.as_secs()), "{oldest:?}");
    assert_eq!((health.in_flight, health.waiting), (4, 0));
    shop.drained().await;
    assert_eq!(probe.health().in_flight, 0);
    working.finish().await.unwrap();
    let health = probe.health();
    assert!(health.ended && health.polls == 0 && health.last_poll.is_none(), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_receive_is_no_poll() {
    let shop = Shop::new(Kind::Standard).await;
    for _ in 0..100 {
        shop.sim.inject("ReceiveMessage", Fault::ServerError);
    }
    let worker = Worker::new(shop.queue());
    let probe = worker.health();
    let working = shop.work_with(worker, noting().with_state(Seen::default()));
    sleep(Duration::from_secs(300)).await;
    assert_eq!(probe.health().last_poll, None);
    working.finish().await.unwrap();
}
