//! What a handler may rely on while it runs, and what becomes of a lease that is lost.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_aws::Worker;
use fanfare_core::{Delivery, HandlerError, Outcome, Router};
use fanfare_sim::Fault;
use fanfare_topology::Kind;
use tokio::time::{Instant, sleep};

use crate::{
    support::*,
    wire::{Way, Wire},
};

const RENEW: &str = "ChangeMessageVisibilityBatch";

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What handlers did and when, since the start.
#[derive(Clone)]
struct Diary {
    start: Instant,
    notes: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Diary {
    fn new() -> Self {
        Diary { start: Instant::now(), notes: Arc::default() }
    }

    fn note(&self, what: impl Into<String>) {
        self.notes.lock().unwrap().push((self.start.elapsed().as_secs(), what.into()));
    }

    fn notes(&self) -> Vec<(u64, String)> {
        self.notes.lock().unwrap().clone()
    }

    fn texts(&self) -> Vec<String> {
        self.notes().into_iter().map(|(_, text)| text).collect()
    }
}

async fn takes_five_minutes(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    sleep(seconds(300)).await;
    assert!(!order.cancellation.is_cancelled());
    seen.note(order.event);
    Ok(())
}

/// Begins, waits until its lease is lost, and says that all is well.
async fn waits_for_loss(diary: Diary, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    let OrderPlaced { order_id, number } = order.event;
    diary.note(format!("{order_id}{number} begins"));
    order.cancellation.cancelled().await;
    diary.note(format!("{order_id}{number} is lost"));
    Ok(())
}

async fn succeeds(diary: Diary, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    let (event, attempt) = (order.event, order.metadata.attempt);
    diary.note(format!("{}{} at attempt {attempt}", event.order_id, event.number));
    Ok(())
}

async fn publish_group(shop: &Shop, count: usize) {
    let events: Vec<_> = (0..count).map(|i| order("a", i)).collect();
    shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_take_much_longer_than_the_visibility_time_out() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let shop = Shop::new(kind).await;
        shop.publish(20).await;
        let seen = Seen::default();
        let router = Router::new("products").on(takes_five_minutes).with_state(seen.clone());
        let working = shop.work(seen.observe(router));
        shop.drained().await;
        working.finish().await.unwrap();
        assert_eq!(seen.numbers(), (0..20).collect::<Vec<_>>(), "{kind:?}: each once");
        assert_eq!(seen.outcomes(), vec![Outcome::Handled { published: 0 }; 20]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_handler_does_not_lapse() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let shop = Shop::new(kind).await;
        shop.publish(200).await;
        /// So fast at first that much is received ahead, and then so slow that it waits for minutes.
        async fn slows_down(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
            assert_eq!(order.metadata.attempt, 1);
            if order.event.number >= 100 {
                sleep(seconds(60)).await;
            }
            seen.note(order.event);
            Ok(())
        }
        let seen = Seen::default();
        let worker = Worker::new(shop.queue()).concurrency(10);
        let probe = worker.health();
        let consumer = Router::new("products").on(slows_down).with_state(seen.clone());
        let working = shop.work_with(worker, seen.observe(consumer));
        sleep(seconds(30)).await;
        assert!(probe.health().waiting >= 10, "{kind:?}: {:?}", probe.health());
        shop.drained().await;
        working.finish().await.unwrap();
        assert_eq!(seen.numbers(), (0..200).collect::<Vec<_>>(), "{kind:?}");
        assert_eq!(seen.outcomes(), vec![Outcome::Handled { published: 0 }; 200]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_of_a_group_waits_for_minutes_and_does_not_lapse() {
    let shop = Shop::new(Kind::Fifo).await;
    publish_group(&shop, 10).await;
    let seen = Seen::default();
    let router = Router::new("products").on(takes_five_minutes).with_state(seen.clone());
    let working = shop.work(seen.observe(router));
    shop.drained().await;
    working.finish().await.unwrap();
    let numbers: Vec<_> = seen.events().iter().map(|event| event.number).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(seen.outcomes().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn renewing_takes_a_tenth_of_a_request_for_each_message() {
    for counts in [vec![30], vec![7, 13], vec![1, 2, 3, 4]] {
        let shop = Shop::new(Kind::Standard).await;
        let wire = Wire::new(&shop.sim, |_| Way::Through);
        let seen = Seen::default();
        let router = Router::new("products").on(takes_five_minutes).with_state(seen.clone());
        let working = wire.shop(&shop).work(router);
        for (round, count) in counts.iter().enumerate() {
            let events = (0..*count).map(|i| order("o", round * 100 + i)).collect::<Vec<_>>();
            shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
            sleep(seconds(6)).await;
        }
        let before = wire.sent(RENEW).len();
        sleep(seconds(250)).await;
        let renewals = wire.sent(RENEW).split_off(before);
        let entries: usize = renewals.iter().map(|sent| sent.entries()).sum();
        assert!(renewals.len() * 10 <= entries, "{counts:?}: {} for {entries}", renewals.len());
        let held: usize = counts.iter().sum();
        assert!((24..=26).contains(&(entries / held)), "{counts:?}: every ten seconds: {entries}");
        shop.drained().await;
        working.finish().await.unwrap();
        assert_eq!(seen.events().len(), held);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_at_once_is_never_renewed() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(500).await;
    let working = shop.work(noting().with_state(Seen::default()));
    shop.drained().await;
    sleep(seconds(100)).await;
    working.finish().await.unwrap();
    assert_eq!(shop.sim.requests().count(RENEW), 0);
}

#[tokio::test(start_paused = true)]
async fn a_groups_slice_is_renewed_together() {
    let shop = Shop::new(Kind::Fifo).await;
    publish_group(&shop, 9).await;
    let wire = Wire::new(&shop.sim, |_| Way::Through);
    let seen = Seen::default();
    let router = Router::new("products").on(takes_five_minutes).with_state(seen.clone());
    let working = wire.shop(&shop).work(router);
    sleep(seconds(290)).await;
    let renewals: Vec<_> = wire.sent(RENEW).iter().map(|sent| sent.entries()).collect();
    assert_eq!(renewals, vec![9; 28], "one request each time, for all that wait");
    shop.drained().await;
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_for_a_while_are_made_up_for() {
    let faults = [
        vec![Fault::Throttle; 4],
        vec![Fault::ServerError; 4],
        vec![Fault::Hang, Fault::BreakConnection],
        vec![Fault::LoseAnswer; 4],
        vec![Fault::FailEntry(3); 4],
    ];
    for faults in faults {
        let shop = Shop::new(Kind::Standard).await;
        shop.publish(10).await;
        for fault in &faults {
            shop.sim.inject(RENEW, fault.clone());
        }
        let seen = Seen::default();
        let router = Router::new("products").on(takes_five_minutes).with_state(seen.clone());
        let working = shop.work(seen.observe(router));
        shop.drained().await;
        working.finish().await.unwrap();
        assert_eq!(seen.outcomes(), vec![Outcome::Handled { published: 0 }; 10], "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_told_to_its_handler_and_its_message_left_to_another() {
    let shop = Shop::new(Kind::Standard).await;
    let diary = Diary::new();
    let wire =
        Wire::new(&shop.sim, |sent| if sent.action == RENEW { Way::Cut } else { Way::Through });
    let seen = Seen::default();
    shop.publish(1).await;
    let consumer = Router::new("products").on(waits_for_loss).with_state(diary.clone());
    let first = wire.shop(&shop).work(seen.observe(consumer));
    sleep(seconds(5)).await;
    first.stop.cancel();
    let second = shop.work(Router::new("products").on(succeeds).with_state(diary.clone()));
    shop.drained().await;
    first.finish().await.unwrap();
    second.finish().await.unwrap();
    let notes = diary.notes();
    assert_eq!(notes[0], (0, "o-00 begins".into()));
    // A second before anybody else can have it.
    assert_eq!(notes[1..], [(29, "o-00 is lost".into()), (30, "o-00 at attempt 2".into())]);
    assert_eq!(seen.outcomes(), [Outcome::Lost]);
    assert!(wire.sent("DeleteMessageBatch").is_empty(), "it is not settled");
    let changes: Vec<_> = wire.sent(RENEW).iter().map(|sent| sent.at - diary.start).collect();
    assert!(changes.iter().all(|at| *at < seconds(30)), "nor given back: {changes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_groups_tail_is_not_begun_and_comes_again_in_order() {
    let shop = Shop::new(Kind::Fifo).await;
    let diary = Diary::new();
    let wire =
        Wire::new(&shop.sim, |sent| if sent.action == RENEW { Way::Cut } else { Way::Through });
    publish_group(&shop, 5).await;
    let first = Router::new("products").on(waits_for_loss).with_state(diary.clone());
    let first = wire.shop(&shop).work(first);
    sleep(seconds(5)).await;
    first.stop.cancel();
    let second = shop.work(Router::new("products").on(succeeds).with_state(diary.clone()));
    shop.drained().await;
    first.finish().await.unwrap();
    second.finish().await.unwrap();
    let first = ["a0 begins", "a0 is lost"].map(String::from);
    let again = (0..5).map(|number| format!("a{number} at attempt 2"));
    assert_eq!(diary.texts(), first.into_iter().chain(again).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_same_worker_does_not_begin_a_group_again_while_a_lost_handler_of_it_runs() {
    let shop = Shop::new(Kind::Fifo).await;
    let diary = Diary::new();
    publish_group(&shop, 3).await;
    /// The first time it does not care that its lease is lost.
    async fn deaf_at_first(diary: Diary, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        let (number, attempt) = (order.event.number, order.metadata.attempt);
        diary.note(format!("{number} begins at attempt {attempt}"));
        if attempt == 1 {
            sleep(seconds(100)).await;
        }
        diary.note(format!("{number} ends at attempt {attempt}"));
        Ok(())
    }
    // The message is no longer theirs at the first renewal.
    shop.sim.inject(RENEW, Fault::ExpireReceipts);
    let worker = Worker::new(shop.queue()).visibility_timeout(seconds(30));
    let consumer = Router::new("products").on(deaf_at_first).with_state(diary.clone());
    let working = shop.work_with(worker, consumer);
    shop.drained().await;
    working.finish().await.unwrap();
    let texts = diary.texts();
    assert_eq!(texts[..2], ["0 begins at attempt 1", "0 ends at attempt 1"]);
    assert_eq!(texts[2], "0 begins at attempt 2");
    let ends: Vec<_> = texts.iter().filter(|text| text.contains("ends at attempt 2")).collect();
    assert_eq!(ends, ["0 ends at attempt 2", "1 ends at attempt 2", "2 ends at attempt 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_no_longer_good_loses_its_lease_at_once() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    shop.sim.inject(RENEW, Fault::ExpireReceipts);
    let diary = Diary::new();
    let working = shop.work(Router::new("products").on(waits_for_loss).with_state(diary.clone()));
    sleep(seconds(20)).await;
    assert_eq!(diary.notes(), [(0, "o-00 begins".into()), (10, "o-00 is lost".into())]);
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_up_to_its_limit_and_no_longer() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    let wire = Wire::new(&shop.sim, |_| Way::Through);
    let diary = Diary::new();
    let shop = wire.shop(&shop);
    let worker = Worker::new(shop.queue()).lease_limit(seconds(125));
    let consumer = Router::new("products").on(waits_for_loss).with_state(diary.clone());
    let working = shop.work_with(worker, consumer);
    sleep(seconds(130)).await;
    let notes = diary.notes();
    assert_eq!(notes[..2], [(0, "o-00 begins".into()), (124, "o-00 is lost".into())]);
    assert_eq!(notes[2], (125, "o-00 begins".into()), "it comes again");
    let last = wire.sent(RENEW).into_iter().rfind(|sent| sent.at < diary.start + seconds(124));
    let last = last.unwrap();
    let granted = last.body["Entries"][0]["VisibilityTimeout"].as_u64().unwrap();
    assert_eq!((last.at - diary.start).as_secs() + granted, 125, "no longer than the limit");
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handlers_that_hang_do_not_keep_the_others_from_being_handled() {
    let shop = Shop::new(Kind::Standard).await;
    let diary = Diary::new();
    async fn hangs(diary: Diary, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        let OrderPlaced { order_id, .. } = order.event;
        if order_id == "hangs" {
            std::future::pending::<()>().await;
        }
        diary.note(order_id);
        Ok(())
    }
    let worker = Worker::new(shop.queue()).concurrency(2).lease_limit(seconds(60));
    let consumer = Router::new("products").on(hangs).with_state(diary.clone());
    let working = shop.work_with(worker, consumer);
    shop.orders().emit(&order("hangs", 0)).await.unwrap();
    sleep(seconds(70)).await;
    shop.orders().emit(&order("good", 0)).await.unwrap();
    sleep(seconds(40)).await;
    assert_eq!(diary.texts(), [""; 0], "it hangs with both handlers, for the second time with one");
    sleep(seconds(200)).await;
    assert_eq!(diary.texts(), ["good"], "each is told at the limit, and dropped as long after");
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_lease_is_asked_for_beyond_the_twelve_hours_of_sqs() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    let diary = Diary::new();
    let worker = Worker::new(shop.queue())
        .visibility_timeout(seconds(3_600))
        .lease_limit(seconds(1_000_000));
    let consumer = Router::new("products").on(waits_for_loss).with_state(diary.clone());
    let working = shop.work_with(worker, consumer);
    sleep(seconds(43_190)).await;
    let lost = (43_200 - 60 - 1, "o-00 is lost".to_string());
    assert_eq!(diary.notes()[1], lost);
    working.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_under_way_does_not_undo_that_a_message_is_given_back() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    let slow =
        |sent: &crate::wire::Sent| match sent.body["Entries"][0]["VisibilityTimeout"].as_u64() {
            Some(30) => Way::Slow(seconds(4)),
            _ => Way::Through,
        };
    let wire = Wire::new(&shop.sim, slow);
    let diary = Diary::new();
    async fn fails_at_first(
        diary: Diary,
        order: Delivery<OrderPlaced>,
    ) -> Result<(), HandlerError> {
        diary.note(format!("attempt {}", order.metadata.attempt));
        if order.metadata.attempt > 1 {
            return Ok(());
        }
        // While the renewal that was sent after ten seconds is under way.
        sleep(seconds(12)).await;
        Err(HandlerError::retry_after(seconds(100), "later"))
    }
    let consumer = Router::new("products").on(fails_at_first).with_state(diary.clone());
    let working = wire.shop(&shop).work(consumer);
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(diary.notes(), [(0, "attempt 1".into()), (114, "attempt 2".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_its_own_lease_is_not_settled_and_its_message_comes_again() {
    let shop = Shop::new(Kind::Standard).await;
    shop.publish(1).await;
    let diary = Diary::new();
    async fn lets_go(diary: Diary, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
        diary.note(format!("attempt {}", order.metadata.attempt));
        if order.metadata.attempt == 1 {
            order.cancellation.cancel();
        }
        Ok(())
    }
    let working = shop.work(Router::new("products").on(lets_go).with_state(diary.clone()));
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(diary.notes(), [(0, "attempt 1".into()), (30, "attempt 2".into())]);
}
