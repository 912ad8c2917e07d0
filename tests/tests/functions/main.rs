//! Consumers as functions on the real LocalStack: its event source mappings call them, from SQS and from
//! Kinesis, and their effects are in a real PostgreSQL. Whatever goes wrong with an order, and with the
//! function, it is carried out once.
#![allow(clippy::unwrap_used)]

mod ground;

use anyhow::{Result, ensure};
use fanfare::topology::{Binding, Kind, Kinesis};
use fanfare_tests::trial::{Fault, Ordered};

use ground::Ground;

const CUSTOMERS: i64 = 4;

/// Orders with these numbers, of some customers in turn.
fn orders(numbers: std::ops::Range<i64>, fault: impl Fn(i64) -> Option<Fault>) -> Vec<Ordered> {
    let customer = |number| format!("c-{}", number % CUSTOMERS);
    numbers
        .map(|number| Ordered { customer: customer(number), number, fault: fault(number) })
        .collect()
}

/// That every order but the poisoned was carried out once, and of each customer in order if order is kept.
async fn check(ground: &Ground, orders: &[Ordered], ordered: bool) -> Result<()> {
    let effects = ground.effects().await?;
    let mut numbers: Vec<_> = effects.iter().map(|(number, _)| *number).collect();
    if ordered {
        for customer in 0..CUSTOMERS {
            let of_customer = numbers.iter().filter(|number| **number % CUSTOMERS == customer);
            ensure!(of_customer.is_sorted(), "c-{customer}: {numbers:?}");
        }
    }
    numbers.sort_unstable();
    let carried_out = orders.iter().filter(|order| order.fault != Some(Fault::Poison));
    let expected: Vec<_> = carried_out.map(|order| order.number).collect();
    ensure!(numbers == expected, "{numbers:?}");
    Ok(())
}

/// Failures and a poisoned order among others; a crash and a time-out; then every order again.
async fn orders_are_carried_out_once(name: &str, binding: impl Into<Binding>) -> Result<()> {
    let binding = binding.into();
    let Some(ground) = Ground::new(name, binding).await? else { return Ok(()) };
    let ordered = binding != Binding::Sns(Kind::Standard);
    let mut all = orders(0..12, |number| match number {
        3 | 10 => Some(Fault::Fails),
        6 => Some(Fault::Poison),
        _ => None,
    });
    let mut messages = ground.publish(&all).await?;
    ground.until("the orders to be carried out", 11).await?;
    check(&ground, &all, ordered).await?;
    if let Binding::Sns(_) = binding {
        let once_more = |number| i64::from(matches!(number, 3 | 10));
        let others = (0..12).filter(|number| *number != 6);
        let expected: Vec<_> = others.map(|number| (number, 1 + once_more(number))).collect();
        let mut tries = ground.tries().await?;
        tries.retain(|(number, _)| *number != 6);
        ensure!(tries == expected, "not only what failed came again: {tries:?}");
    }
    // Once, unless the time was up between the letter and the answer.
    let letters = ground.dead_letters().await?;
    let poison = Some("rejected: poison");
    ensure!(!letters.is_empty(), "the poisoned order is gone");
    ensure!(letters.iter().all(|letter| letter.reason.as_deref() == poison), "{letters:?}");
    ensure!(letters.iter().all(|letter| letter.event_id == letters[0].event_id), "{letters:?}");

    let worse = orders(12..24, |number| match number {
        13 => Some(Fault::Crashes),
        18 => Some(Fault::Hangs),
        _ => None,
    });
    messages.extend(ground.publish(&worse).await?);
    all.extend(worse);
    ground.until("the orders to be carried out in spite of a crash and a time-out", 23).await?;
    check(&ground, &all, ordered).await?;

    ground.publish_again(&messages).await?;
    let last = orders(24..28, |_| None);
    ground.publish(&last).await?;
    all.extend(last);
    ground.until("the last orders to be carried out", 27).await?;
    if let Binding::Sns(_) = binding {
        ground.drained().await?;
    }
    check(&ground, &all, ordered).await?;
    ground.remove().await
}

#[tokio::test]
async fn orders_from_a_queue_are_carried_out_once() -> Result<()> {
    orders_are_carried_out_once("standard", Kind::Standard).await
}

#[tokio::test]
async fn orders_from_a_fifo_queue_are_carried_out_once_and_in_order() -> Result<()> {
    orders_are_carried_out_once("fifo", Kind::Fifo).await
}

#[tokio::test]
async fn orders_from_a_stream_are_carried_out_once_and_in_order() -> Result<()> {
    orders_are_carried_out_once("kinesis", Kinesis::shards(2).aggregated()).await
}

/// A function that does not start leaves everything where it is, and the next release of it goes on.
async fn what_does_not_start_loses_nothing(name: &str, binding: impl Into<Binding>) -> Result<()> {
    let Some(ground) = Ground::new(name, binding.into()).await? else { return Ok(()) };
    let first = orders(0..8, |_| None);
    ground.publish(&first).await?;
    ground.until("the first release to carry out its orders", 8).await?;

    ground.release("broken").await?;
    let second = orders(8..16, |_| None);
    ground.publish(&second).await?;
    ground.failed_to_start().await?;
    ensure!(ground.effects().await?.len() == 8);

    ground.release("2").await?;
    ground.until("the second release to carry out the rest", 16).await?;
    check(&ground, &[first, second].into_iter().flatten().collect::<Vec<_>>(), false).await?;
    let effects = ground.effects().await?;
    ensure!(effects[..8].iter().all(|(_, release)| release == "1"), "{effects:?}");
    ensure!(effects[8..].iter().all(|(_, release)| release == "2"), "{effects:?}");
    ensure!(ground.dead_letters().await?.is_empty());
    ground.remove().await
}

#[tokio::test]
async fn a_release_that_does_not_start_loses_nothing_of_a_queue_and_the_next_goes_on() -> Result<()>
{
    what_does_not_start_loses_nothing("release-standard", Kind::Standard).await
}

#[tokio::test]
async fn a_release_that_does_not_start_loses_nothing_of_a_stream_and_the_next_goes_on() -> Result<()>
{
    what_does_not_start_loses_nothing("release-kinesis", Kinesis::shards(2)).await
}
