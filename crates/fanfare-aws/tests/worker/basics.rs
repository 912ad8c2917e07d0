//! Settling, order, shutdown and each fault.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_aws::{Worker, WorkerError};
use fanfare_core::{
    ConsumerError, Delivery, HandlerError, MemoryIdempotencyStore, Outcome, Reason, Retry, Router,
};
use fanfare_sim::{Fault, RandomFaults};
use fanfare_topology::Kind;
use tokio::time::{Instant, sleep};

use crate::support::*;

async fn takes_five_seconds(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    sleep(Duration::from_secs(5)).await;
    seen.note(order.event);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_thousand_messages_take_at_most_205_requests_to_receive_and_delete() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1_000).await;
    let before = shop.aws.requests();
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    shop.drained().await;
    let requests = shop.aws.requests() - before;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..1_000).collect::<Vec<_>>());
    assert!(requests <= 205, "{requests} requests: {:?}", shop.sim.requests());
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_polls_three_times_a_minute() {
    let shop = Shop::new(Kind::Standard).await;
    let working = shop.work(noting().with_state(Seen::default()));
    sleep(Duration::from_secs(3_600)).await;
    working.finish().await.unwrap();
    let polls = shop.sim.requests().count("ReceiveMessage");
    assert!((179..=181).contains(&polls), "{polls} polls in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_slows_receiving() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(100).await;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    async fn slow(
        (running, most): (Arc<AtomicUsize>, Arc<AtomicUsize>),
        _: Delivery<OrderPlaced>,
    ) -> Result<(), HandlerError> {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(Duration::from_secs(5)).await;
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
    let router = Router::new("products").on(slow).with_state((running, Arc::clone(&most)));
    let working = shop.work_with(Worker::new(shop.queue()).concurrency(20), router);
    sleep(Duration::from_secs(2)).await;
    let in_flight = shop.sim.queue_stats(shop.queue().name()).unwrap().in_flight;
    assert_eq!(in_flight, 20, "no more is received than can be handled");
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 20);
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_comes_again_later_and_later() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    async fn fail(
        times: Arc<std::sync::Mutex<Vec<Instant>>>,
        order: Delivery<OrderPlaced>,
    ) -> Result<(), HandlerError> {
        times.lock().unwrap().push(Instant::now());
        if order.metadata.attempt < 6 { Err(HandlerError::retry("not yet")) } else { Ok(()) }
    }
    let retry = Retry::exponential(Duration::from_secs(4), Duration::from_secs(60));
    let consumer = Router::new("products").on(fail).with_state(Arc::clone(&times)).retry(retry);
    let working = shop.work(consumer);
    shop.drained().await;
    working.finish().await.unwrap();
    let times = times.lock().unwrap().clone();
    let gaps: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(gaps.len(), 5);
    for (gap, full) in gaps.iter().zip([4, 8, 16, 32, 60]) {
        assert!((full / 2..=full + 1).contains(gap), "{gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_parked_with_reason_event_id_and_receive_count() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let shop = Shop::new(kind).await;
        let id = shop.orders().emit(&order("o-1", 1)).await.unwrap();
        async fn reject(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
            Err(HandlerError::reject("no such product"))
        }
        let router: Router = Router::new("products").on(reject);
        let working = shop.work(router);
        shop.drained().await;
        working.finish().await.unwrap();
        let letters = shop.queue().dead_letters().await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].reason.as_deref(), Some("rejected: no such product"));
        assert_eq!(letters[0].event_id, Some(id));
        assert_eq!(letters[0].receive_count, Some(1));
        let name = shop.bindings.dead_letter_queue_name("products", kind);
        let parked = shop.sim.messages(&name).remove(0);
        assert_eq!(parked.attribute("type"), Some("shop.orders.OrderPlaced.v1"));
        assert!(parked.body.contains("\"order_id\":\"o-1\""), "the body is untouched");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_deleted_only_when_the_dead_letter_queue_has_it() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    for fault in [Fault::Throttle, Fault::BreakConnection, Fault::ServerError] {
        shop.sim.inject("SendMessage", fault);
    }
    async fn reject(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        Err(HandlerError::reject("never"))
    }
    let seen = Seen::default();
    let working = shop.work(seen.observe(Router::<()>::new("products").on(reject).into()));
    shop.drained().await;
    working.finish().await.unwrap();
    let failed = seen.outcomes().iter().filter(|o| matches!(o, Outcome::Failed { .. })).count();
    assert_eq!(failed, 3);
    assert_eq!(seen.outcomes()[3], Outcome::DeadLettered(Reason::Rejected("never".into())));
    assert_eq!(shop.dead(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_delivery_has_its_effect_once() {
    let shop = Shop::new(Kind::Standard).await;
    shop.sim.inject("ReceiveMessage", Fault::DuplicateDelivery);
    shop.publish(1).await;
    let seen = Seen::default();
    let consumer = noting().with_state(seen.clone()).idempotency(MemoryIdempotencyStore::default());
    let working = shop.work(seen.observe(consumer));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0]);
    assert_eq!(seen.outcomes(), [Outcome::Handled { published: 0 }, Outcome::Duplicate]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_fails_is_tried_again_alone() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(10).await;
    shop.sim.inject("DeleteMessageBatch", Fault::FailEntry(4));
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..10).collect::<Vec<_>>(), "nothing came twice");
    assert_eq!(shop.sim.requests().count("DeleteMessageBatch"), 2);
}

#[tokio::test(start_paused = true)]
async fn settling_survives_every_fault() {
    let faults = [
        Fault::Throttle,
        Fault::ServerError,
        Fault::BreakConnection,
        Fault::LoseAnswer,
        Fault::Hang,
        Fault::ExpireReceipts,
    ];
    for fault in faults {
        for action in ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
            let shop = Shop::new(Kind::Standard).await;
            shop.publish(5).await;
            shop.sim.inject(action, fault.clone());
            async fn second_time(
                seen: Seen,
                order: Delivery<OrderPlaced>,
            ) -> Result<(), HandlerError> {
                if order.metadata.attempt == 1 {
                    return Err(HandlerError::retry("first time"));
                }
                seen.note(order.event);
                Ok(())
            }
            let seen = Seen::default();
            let consumer = Router::new("products").on(second_time).with_state(seen.clone());
            let working = shop.work(consumer.idempotency(MemoryIdempotencyStore::default()));
            shop.drained().await;
            working.finish().await.unwrap();
            assert_eq!(seen.numbers(), [0, 1, 2, 3, 4], "{action} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn receiving_survives_every_fault_and_never_ends_the_worker() {
    let faults = [
        Fault::Throttle,
        Fault::ServerError,
        Fault::BreakConnection,
        Fault::LoseAnswer,
        Fault::Hang,
        Fault::Refuse { status: 403, code: "ExpiredToken".into(), message: String::new() },
        Fault::Refuse { status: 403, code: "OverLimit".into(), message: String::new() },
    ];
    for fault in faults {
        let shop = Shop::new(Kind::Standard).await;
        for _ in 0..5 {
            shop.sim.inject("ReceiveMessage", fault.clone());
        }
        shop.publish(3).await;
        let seen = Seen::default();
        let working = shop.work(noting().with_state(seen.clone()));
        shop.drained().await;
        working.finish().await.unwrap();
        assert_eq!(seen.numbers(), [0, 1, 2], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_queue_and_denied_access_end_the_worker_with_an_error() {
    let shop = Shop::new(Kind::Standard).await;
    let missing = shop.aws.queue(&shop.bindings, "nobody", Kind::Standard);
    let working = shop.work_with(Worker::new(missing), noting().with_state(Seen::default()));
    let error = working.task.await.unwrap().unwrap_err();
    assert_eq!(error, WorkerError::NoQueue { queue: "shop-nobody".into() });
    assert_eq!(error.to_string(), "queue `shop-nobody` does not exist: provision it first");

    let denied =
        Fault::Refuse { status: 403, code: "AccessDenied".into(), message: "not you".into() };
    shop.sim.inject("ReceiveMessage", denied);
    let error = shop.work(noting().with_state(Seen::default())).task.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "receiving from queue `shop-products` is denied: AccessDenied: not you"
    );
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_cannot_work_is_refused_before_anything_is_received() {
    let shop = Shop::new(Kind::Standard).await;
    let router: Router = Router::new("products");
    let error = shop.work(router).task.await.unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::Consumer(ConsumerError::NoHandlers { .. })));
    assert_eq!(shop.sim.requests().count("ReceiveMessage"), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_what_was_begun_and_settles_it() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(10).await;
    let seen = Seen::default();
    let working =
        shop.work(Router::new("products").on(takes_five_seconds).with_state(seen.clone()));
    sleep(Duration::from_secs(1)).await;
    shop.publish(5).await;
    working.finish().await.unwrap();
    assert!(seen.events().len() >= 10, "what was begun is finished");
    let visible = shop.sim.queue_stats(shop.queue().name()).unwrap();
    assert_eq!(visible.in_flight, 0, "what was held is settled: {visible:?}");
    assert_eq!(seen.events().len() + visible.visible, 15, "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_receive_under_way_and_gives_back_what_it_brings() {
    let shop = Shop::new(Kind::Standard).await;
    let seen = Seen::default();
    let working = shop.work(noting().with_state(seen.clone()));
    sleep(Duration::from_secs(5)).await;
    working.stop.cancel();
    sleep(Duration::from_secs(1)).await;
    shop.publish(3).await;
    working.finish().await.unwrap();
    let queue = shop.sim.queue_stats(shop.queue().name()).unwrap();
    assert_eq!((queue.visible, queue.in_flight), (3, 0), "visible at once, for another worker");
    assert!(seen.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_within_its_wait_time() {
    let shop = Shop::new(Kind::Standard).await;
    let worker = Worker::new(shop.queue()).wait_time(Duration::from_secs(2));
    let working = shop.work_with(worker, noting().with_state(Seen::default()));
    sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    working.finish().await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_back_what_does_not_finish_in_time() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(4).await;
    async fn stuck(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        std::future::pending().await
    }
    let router: Router = Router::new("products").on(stuck);
    let worker = Worker::new(shop.queue()).drain_timeout(Duration::from_secs(10));
    let working = shop.work_with(worker, router);
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    working.finish().await.unwrap();
    let took = began.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&took), "{took:?}");
    assert_eq!(shop.sim.queue_stats(shop.queue().name()).unwrap().visible, 4, "visible at once");
}

#[tokio::test(start_paused = true)]
async fn shutdown_releases_the_groups_tail_unprocessed() {
    let shop = Shop::new(Kind::Fifo).await;
    let events: Vec<_> = (0..10).map(|i| order("a", i)).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
    let seen = Seen::default();
    let working =
        shop.work(Router::new("products").on(takes_five_seconds).with_state(seen.clone()));
    sleep(Duration::from_secs(1)).await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0], "only the one that had begun");
    let queue = shop.sim.queue_stats(shop.queue().name()).unwrap();
    assert_eq!((queue.visible, queue.in_flight), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn on_fifo_order_per_key_survives_failures() {
    let shop = Shop::new(Kind::Fifo).await;
    let events: Vec<_> = (0..40).map(|i| order(["a", "b", "c", "d"][i % 4], i)).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
    async fn every_third_fails_once(
        seen: Seen,
        order: Delivery<OrderPlaced>,
    ) -> Result<(), HandlerError> {
        if order.event.number.is_multiple_of(3)
            && !seen.outcomes().is_empty()
            && order.metadata.attempt < 2
        {
            return Err(HandlerError::retry("once"));
        }
        seen.note(order.event);
        Ok(())
    }
    let seen = Seen::default();
    let consumer = Router::new("products").on(every_third_fails_once).with_state(seen.clone());
    let retry = Retry::exponential(Duration::from_secs(1), Duration::from_secs(2));
    let working = shop.work(seen.observe(consumer.retry(retry)));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), (0..40).collect::<Vec<_>>());
    for key in ["a", "b", "c", "d"] {
        let numbers: Vec<_> =
            seen.events().into_iter().filter(|e| e.order_id == key).map(|e| e.number).collect();
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    assert!(seen.outcomes().iter().any(|o| matches!(o, Outcome::Blocked { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_group_id_on_a_standard_queue_promises_no_order() {
    let shop = Shop::new(Kind::Standard).await;
    let sqs = aws_sdk_sqs::Client::new(&shop.sim.sdk_config());
    let url = format!("http://sim.localhost/{ACCOUNT}/{}", shop.queue().name());
    for number in 0..3 {
        let body = serde_json::json!({
            "specversion": "1.0", "id": format!("e-{number}"), "source": "orders",
            "type": "shop.orders.OrderPlaced.v1", "data": order("a", number),
        });
        let send = sqs.send_message().queue_url(&url).message_body(body.to_string());
        send.message_group_id("tenant").send().await.unwrap();
    }
    async fn first_fails(order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        assert_eq!(order.metadata.group, None);
        let fails = order.event.number == 0 && order.metadata.attempt == 1;
        if fails { Err(HandlerError::retry("once")) } else { Ok(()) }
    }
    let seen = Seen::default();
    let working = shop.work(seen.observe(Router::<()>::new("products").on(first_fails).into()));
    shop.drained().await;
    working.finish().await.unwrap();
    let handled = seen.outcomes().iter().filter(|o| matches!(o, Outcome::Handled { .. })).count();
    assert_eq!(handled, 3);
    assert!(!seen.outcomes().iter().any(|o| matches!(o, Outcome::Blocked { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_handler_ends_nothing_but_its_delivery() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(3).await;
    async fn panics(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        assert!(order.metadata.attempt > 1, "a bug");
        seen.note(order.event);
        Ok(())
    }
    let seen = Seen::default();
    let working = shop.work(Router::new("products").on(panics).with_state(seen.clone()));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn under_all_faults_at_once_nothing_is_lost_and_effects_happen_once() {
    for seed in 0..10 {
        let shop = Shop::new(Kind::Standard).await;
        shop.publish(200).await;
        shop.sim.set_faults(Some(RandomFaults {
            seed,
            throttle: 0.1,
            server_error: 0.05,
            lose_answer: 0.05,
            fail_entry: 0.05,
            duplicate: 0.1,
            expire_receipt: 0.05,
            reorder: 0.2,
            ..RandomFaults::default()
        }));
        let seen = Seen::default();
        let consumer =
            noting().with_state(seen.clone()).idempotency(MemoryIdempotencyStore::default());
        let working = shop.work(consumer);
        shop.drained().await;
        working.finish().await.unwrap();
        // What SQS itself moved away after ten receives counts as kept, too.
        let kept = seen.numbers().len() + shop.dead();
        assert!(kept >= 200, "seed {seed}: {kept}");
        let mut unique = seen.numbers();
        unique.dedup();
        assert_eq!(unique.len(), seen.numbers().len(), "seed {seed}: an effect happened twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifo_group_that_outlives_its_visibility_keeps_its_order() {
    let shop = Shop::new(Kind::Fifo).await;
    let events: Vec<_> = (0..10).map(|i| order("a", i)).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
    async fn slow(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        sleep(Duration::from_secs(20)).await;
        seen.note(order.event);
        Ok(())
    }
    let seen = Seen::default();
    let working = shop.work(Router::new("products").on(slow).with_state(seen.clone()));
    shop.drained().await;
    working.finish().await.unwrap();
    let numbers: Vec<_> = seen.events().iter().map(|event| event.number).collect();
    assert_eq!(
        numbers,
        (0..10).collect::<Vec<_>>(),
        "each once, in order, without an idempotency store"
    );
    assert_eq!(shop.dead(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_poison_message_does_not_take_its_group_along() {
    let shop = Shop::new(Kind::Fifo).await;
    let events: Vec<_> = (0..6).map(|i| order("a", i)).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
    async fn poison(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        if order.event.number == 0 {
            return Err(HandlerError::retry("always"));
        }
        seen.note(order.event);
        Ok(())
    }
    let seen = Seen::default();
    let working = shop.work(Router::new("products").on(poison).with_state(seen.clone()));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [1, 2, 3, 4, 5]);
    let letters = shop.queue().dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason.as_deref(), Some("failed for good at attempt 10: always"));
}

#[tokio::test(start_paused = true)]
async fn slow_deliveries_do_not_keep_idle_slots_from_receiving() {
    let shop = Shop::new(Kind::Standard).await;
    async fn some_are_stuck(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        if order.event.number < 21 {
            sleep(Duration::from_secs(50)).await;
        }
        seen.note(order.event);
        Ok(())
    }
    let seen = Seen::default();
    let working = shop.work(Router::new("products").on(some_are_stuck).with_state(seen.clone()));
    shop.publish(21).await;
    sleep(Duration::from_secs(1)).await;
    let quick: Vec<_> = (21..26).map(|i| order("q", i)).collect();
    shop.orders().emit_all(quick).await.unwrap().into_result().unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(seen.numbers(), [21, 22, 23, 24, 25], "nine slots are free");
    shop.drained().await;
    working.finish().await.unwrap();
}
