//! When what failed comes again, and how often it is tried.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use fanfare_core::{
    BoxError, Consumer, ConsumerError, Delivery, EventType, HandlerError, Metadata, Outcome,
    Policy, RawDelivery, Reason, Retry, Router,
};
use support::{
    ledger::{Connection, Ledger},
    *,
};

const OWN: Duration = Duration::from_secs(7);
const OTHERS: Duration = Duration::from_secs(70);

fn act(id: &str) -> Result<(), HandlerError> {
    match id {
        "retry" => Err(HandlerError::retry("not now")),
        "later" => Err(HandlerError::retry_after(Duration::from_secs(99), "later")),
        "panic" => panic!("a handler's bug"),
        _ => Err(HandlerError::reject("never")),
    }
}

async fn place(order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    act(&order.event.order_id)
}

async fn ship(shipped: Delivery<Shipped>) -> Result<(), HandlerError> {
    act(&shipped.event.order_id)
}

async fn place_tx(_: &mut Connection, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    act(&order.event.order_id)
}

async fn ship_tx(_: &mut Connection, shipped: Delivery<Shipped>) -> Result<(), HandlerError> {
    act(&shipped.event.order_id)
}

/// Consumers of both kinds, where orders have a retry of their own: of three attempts.
fn consumers() -> [Consumer; 3] {
    let own = Retry::fixed(OWN).max_attempts(3);
    let others = Retry::fixed(OTHERS).max_attempts(5);
    let router =
        || Router::<()>::new("delivery").undecodable(Policy::Keep).unknown_tags(Policy::Keep);
    let layer = tower::layer::layer_fn(|inner: fanfare_core::HandlerService| {
        tower::ServiceExt::map_err(inner, |error: BoxError| error)
    });
    let plain = || router().on(place).on(ship).retry::<OrderPlaced>(own);
    let transactional = router().retry::<OrderPlaced>(own).on_tx(place_tx).on_tx(ship_tx);
    let consumers: [Consumer; 3] =
        [plain().into(), plain().layer(layer).into(), transactional.into()];
    consumers.map(|consumer| consumer.retry(others).inbox(Ledger::default()))
}

fn delivery(tag: &'static str, id: &str, attempt: u32) -> RawDelivery {
    placed(id).tag(tag).attempt(attempt).raw()
}

async fn run(consumer: Consumer, delivery: RawDelivery) -> Outcome {
    Bench::new().run(consumer, vec![delivery]).await.remove(0)
}

fn after(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Failed { after, .. } => Some(*after),
        _ => None,
    }
}

#[tokio::test]
async fn a_handlers_own_retry_goes_before_the_one_for_all_others() {
    for consumer in consumers() {
        for (tag, delay, last) in [(OrderPlaced::TAG, OWN, 3), (Shipped::TAG, OTHERS, 5)] {
            for failing in ["retry", "panic"] {
                let before = run(consumer.clone(), delivery(tag, failing, last - 1)).await;
                assert_eq!(after(&before), Some(delay), "{tag}: {before:?}");
                let end = run(consumer.clone(), delivery(tag, failing, last)).await;
                let exhausted = |attempts| matches!(&end, Outcome::DeadLettered(Reason::Exhausted { attempts: a, .. }) if *a == attempts);
                assert!(exhausted(last), "{tag}: {end:?}");
            }
            let asked = run(consumer.clone(), delivery(tag, "later", 1)).await;
            assert_eq!(after(&asked), Some(Duration::from_secs(99)), "its handler says when");
        }
    }
}

#[tokio::test]
async fn what_is_kept_goes_by_its_handlers_retry_and_what_has_no_handler_by_the_other() {
    for consumer in consumers() {
        let mut misfit = delivery(OrderPlaced::TAG, "o-1", 2);
        misfit.body = misfit.body.replace(r#""order_id":"o-1""#, r#""order_id":1"#);
        let stranger = delivery("shop.orders.OrderPlaced.v2", "o-1", 3);
        let garbage = RawDelivery::new("{", Metadata::new("garbage", 3));
        for (delivery, delay) in [(misfit, OWN), (stranger, OTHERS), (garbage, OTHERS)] {
            assert_eq!(after(&run(consumer.clone(), delivery).await), Some(delay));
        }
    }
}

#[tokio::test]
async fn until_redrive_nothing_is_given_up_by_the_consumer() {
    for consumer in consumers() {
        let consumer = consumer.retry(Retry::fixed(OTHERS).until_redrive());
        for failing in ["retry", "panic", "later"] {
            let outcome = run(consumer.clone(), delivery(Shipped::TAG, failing, 1_000)).await;
            assert!(after(&outcome).is_some(), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_retry_for_an_event_without_a_handler_is_an_error() {
    let router = Router::<()>::new("delivery").on(ship).retry::<OrderPlaced>(Retry::default());
    let error = Consumer::from(router).check().unwrap_err();
    let tag = OrderPlaced::TAG;
    assert_eq!(error, ConsumerError::RetryOfUnhandled { consumer: "delivery".into(), tag });
    let early = Router::<()>::new("delivery").retry::<Shipped>(Retry::default()).on(ship);
    assert_eq!(Consumer::from(early).check(), Ok(()), "which comes first does not matter");
}
