//! Deliveries whose lease is lost while the batch function has them.
#![allow(clippy::unwrap_used)]

mod support;

use fanfare_core::{Cancellation, Delivery, HandlerError, Outcome, RawDelivery, Router};
use support::*;

const HANDLED: Outcome = Outcome::Handled { published: 0 };

/// Does what the order's id says, and loses the lease on what `lose` names.
async fn act(
    (recorder, lose): (Recorder, Vec<(String, Cancellation)>),
    order: Delivery<OrderPlaced>,
) -> Result<(), HandlerError> {
    let id = order.event.order_id;
    for (_, lost) in lose.iter().filter(|(at, _)| *at == id) {
        lost.cancel();
    }
    let seen = if order.cancellation.is_cancelled() { "lost" } else { "ours" };
    recorder.note(format!("{id} {seen}"));
    match id.split('-').nth(1) {
        Some("retry") => Err(HandlerError::retry("not yet")),
        Some("reject") => Err(HandlerError::reject("never")),
        Some("panic") => panic!("a handler's bug"),
        _ => Ok(()),
    }
}

/// Runs a batch, where the lease on the second of each pair is lost in the handler of the first.
async fn run(batch: Vec<RawDelivery>, lose: &[(&str, usize)]) -> (Vec<Outcome>, Bench) {
    let bench = Bench::new();
    let lose = lose.iter().map(|(at, lost)| ((*at).into(), batch[*lost].cancellation.clone()));
    let state = (bench.recorder.clone(), lose.collect());
    let outcomes = bench.run(Router::new("products").on(act).with_state(state), batch).await;
    (outcomes, bench)
}

fn group(ids: &[&str]) -> Vec<RawDelivery> {
    ids.iter().map(|id| placed(id).group("a").raw()).collect()
}

#[tokio::test]
async fn whatever_a_handler_answers_it_is_lost_with_its_lease() {
    for what in ["a-succeed", "a-retry", "a-reject", "a-panic"] {
        let (outcomes, bench) = run(vec![placed(what).raw()], &[(what, 0)]).await;
        assert_eq!(outcomes, [Outcome::Lost], "{what}");
        assert_eq!(bench.recorder.notes(), [format!("{what} lost")], "its handler is told");
        assert_eq!(bench.dead_letters(), [], "{what}");
    }
}

#[tokio::test]
async fn an_exhausted_delivery_is_not_dead_lettered_once_its_lease_is_lost() {
    let (outcomes, bench) = run(vec![placed("a-retry").attempt(99).raw()], &[("a-retry", 0)]).await;
    assert_eq!(outcomes, [Outcome::Lost]);
    assert_eq!(bench.dead_letters(), []);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_dead_lettered_once_its_lease_is_lost() {
    let strange = placed("a").tag("shop.orders.Strange.v1").raw();
    strange.cancellation.cancel();
    let (outcomes, bench) = run(vec![strange], &[]).await;
    assert_eq!(outcomes, [Outcome::Lost]);
    assert_eq!(bench.dead_letters(), []);
}

#[tokio::test]
async fn what_was_lost_before_its_turn_is_not_begun_nor_what_is_behind_it() {
    let batch = group(&["1", "2", "3"]);
    let (outcomes, bench) = run(batch, &[("1", 1)]).await;
    assert_eq!(outcomes, [HANDLED, Outcome::Lost, Outcome::Released]);
    assert_eq!(bench.recorder.notes(), ["1 ours"]);
}

#[tokio::test]
async fn the_group_of_a_lost_one_ends_and_others_go_on() {
    let mut batch = group(&["1", "2", "3"]);
    batch.push(placed("4").group("b").raw());
    batch.push(placed("5").raw());
    let (outcomes, bench) = run(batch, &[("1", 0), ("1", 2)]).await;
    assert_eq!(outcomes, [Outcome::Lost, Outcome::Released, Outcome::Lost, HANDLED, HANDLED]);
    assert_eq!(bench.recorder.notes(), ["1 lost", "4 ours", "5 ours"]);
}

#[tokio::test]
async fn the_tail_of_a_failed_one_is_lost_where_its_lease_is() {
    let batch = group(&["1-retry", "2", "3"]);
    let (outcomes, _) = run(batch, &[("1-retry", 2)]).await;
    assert!(matches!(outcomes[0], Outcome::Failed { .. }));
    assert!(matches!(outcomes[1], Outcome::Blocked { .. }));
    assert_eq!(outcomes[2], Outcome::Lost);
}
