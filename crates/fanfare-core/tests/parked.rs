//! Behind a dead letter: what becomes of the rest of its group.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use fanfare_core::{
    Attribute, BoxError, Cancellation, ClaimCheck, Consumer, Delivery, EventType, GROUP_ATTRIBUTE,
    HandlerError, InboxKey, MemoryClaimCheck, MemoryParkedGroups, Metadata, Outcome, ParkedGroups,
    ParkedGroupsError, Pointer, Policy, RawDelivery, Reason, Router, Turn,
};
use support::{
    ledger::{Connection, Ledger},
    *,
};

/// What is rejected until it is cured.
#[derive(Clone)]
struct State {
    ledger: Ledger,
    cured: Arc<AtomicBool>,
    /// Is cancelled while the next event is handled.
    cancel: Arc<Mutex<Option<Cancellation>>>,
}

impl State {
    fn act(&self, id: &str) -> Result<(), HandlerError> {
        if let Some(cancellation) = self.cancel.lock().unwrap().take() {
            cancellation.cancel();
        }
        let poison = id.starts_with("poison") && !self.cured.load(Ordering::SeqCst);
        if poison { Err(HandlerError::reject("never")) } else { Ok(()) }
    }
}

async fn place(state: State, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    state.act(&order.event.order_id)?;
    state.ledger.note(order.event.order_id);
    Ok(())
}

async fn ship(
    state: State,
    tx: &mut Connection,
    shipped: Delivery<Shipped>,
) -> Result<(), HandlerError> {
    state.act(&shipped.event.order_id)?;
    tx.effects.push(shipped.event.order_id);
    Ok(())
}

/// Parked groups that count what they are asked, and fail when told to.
#[derive(Clone, Default)]
struct Store {
    parked: MemoryParkedGroups,
    asked: Arc<Mutex<Vec<String>>>,
    down: Arc<AtomicBool>,
}

impl Store {
    fn note(&self, what: &str, group: &str) -> Result<(), ParkedGroupsError> {
        self.asked.lock().unwrap().push(format!("{what} {group}"));
        let down = self.down.load(Ordering::SeqCst);
        if down { Err(BoxError::from("down").into()) } else { Ok(()) }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl ParkedGroups for Store {
    async fn turn(&self, group: &str, event: &InboxKey) -> Result<Turn, ParkedGroupsError> {
        self.note("turn", group)?;
        tokio::task::yield_now().await;
        self.parked.turn(group, event).await
    }

    async fn park(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        self.note("park", group)?;
        self.parked.park(group, event).await
    }

    async fn handled(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        self.note("handled", group)?;
        self.parked.handled(group, event).await
    }

    async fn release(&self, consumer: &str, group: &str) -> Result<u64, ParkedGroupsError> {
        self.parked.release(consumer, group).await
    }
}

/// A service, its store and its dead-letter queue.
struct World {
    bench: Bench,
    state: State,
    store: Store,
}

impl World {
    fn new() -> Self {
        let state =
            State { ledger: Ledger::default(), cured: Arc::default(), cancel: Arc::default() };
        World { bench: Bench::new(), state, store: Store::default() }
    }

    fn router(&self) -> Router<State> {
        Router::new("delivery").on(place).on_tx(ship)
    }

    fn consumer(&self, router: Router<State>) -> Consumer {
        let consumer = router.with_state(self.state.clone()).inbox(self.state.ledger.clone());
        consumer.park_groups(self.store.clone())
    }

    async fn run(&self, batch: Vec<RawDelivery>) -> Vec<Outcome> {
        self.bench.run(self.consumer(self.router()), batch).await
    }

    fn effects(&self) -> Vec<String> {
        self.state.ledger.effects()
    }

    fn letters(&self) -> Vec<String> {
        self.bench.dead_letters().into_iter().map(|(id, _)| id).collect()
    }
}

fn orders(group: &str, ids: &[&str]) -> Vec<RawDelivery> {
    ids.iter().map(|id| placed(id).group(group).raw()).collect()
}

fn shipments(group: &str, ids: &[&str]) -> Vec<RawDelivery> {
    ids.iter().map(|id| placed(id).tag(Shipped::TAG).group(group).raw()).collect()
}

fn parked(behind: &str) -> Outcome {
    Outcome::DeadLettered(Reason::Parked { behind: behind.into() })
}

fn rejected() -> Outcome {
    Outcome::DeadLettered(Reason::Rejected("never".into()))
}

const HANDLED: Outcome = Outcome::Handled { published: 0 };

#[tokio::test]
async fn the_rest_of_a_group_follows_its_dead_letter_at_once_and_others_go_on() {
    for batch in [orders, shipments] {
        let world = World::new();
        let mut deliveries = batch("a", &["a1", "poison", "a3", "a4"]);
        deliveries.extend(batch("b", &["b1", "b2"]));
        let outcomes = world.run(deliveries).await;
        let behind = || parked("poison-id");
        assert_eq!(outcomes, [HANDLED, rejected(), behind(), behind(), HANDLED, HANDLED]);
        assert_eq!(world.letters(), ["poison-id", "a3-id", "a4-id"]);
        let mut effects = world.effects();
        effects.sort_unstable();
        assert_eq!(effects, ["a1", "b1", "b2"]);
    }
}

#[tokio::test]
async fn what_comes_later_waits_and_a_redrive_is_handled_in_order() {
    for batch in [orders, shipments] {
        let world = World::new();
        world.run(batch("a", &["poison", "a2"])).await;
        assert_eq!(world.run(batch("a", &["a3"])).await, [parked("poison-id")]);
        let early = world.run(batch("a", &["a3", "a2"])).await;
        assert_eq!(early, [parked("poison-id"), parked("poison-id")], "before their turn");
        let again = world.run(batch("a", &["poison", "a2", "a3"])).await;
        assert_eq!(again, [rejected(), parked("poison-id"), parked("poison-id")], "not cured");
        world.state.cured.store(true, Ordering::SeqCst);
        let redriven = world.run(batch("a", &["poison", "a4", "a2", "poison", "a3"])).await;
        assert_eq!(redriven, [HANDLED, parked("a2-id"), HANDLED, Outcome::Duplicate, HANDLED]);
        assert_eq!(world.run(batch("a", &["a5", "a4"])).await, [parked("a4-id"), HANDLED]);
        assert_eq!(world.run(batch("a", &["a5", "a6"])).await, [HANDLED, HANDLED]);
        assert_eq!(world.effects(), ["poison", "a2", "a3", "a4", "a5", "a6"]);
    }
}

#[tokio::test]
async fn the_store_is_asked_once_for_each_group_that_is_free_and_never_for_what_has_none() {
    let world = World::new();
    let mut batch = shipments("a", &["a1", "a2", "a3"]);
    batch.extend(orders("b", &["b1", "b2"]));
    batch.extend([placed("c1").raw(), placed("poison").raw()]);
    let outcomes = world.run(batch).await;
    assert_eq!(outcomes[..6], [HANDLED, HANDLED, HANDLED, HANDLED, HANDLED, HANDLED]);
    assert_eq!(outcomes[6], rejected());
    assert_eq!(world.store.asked(), ["turn a", "turn b"]);
    assert_eq!(world.state.ledger.units(), [3], "a group's deliveries share a unit of work");
}

#[tokio::test]
async fn what_a_queue_without_order_brings_back_is_of_the_group_that_its_letter_names() {
    let redriven = |ids: &[&str]| -> Vec<RawDelivery> {
        let deliveries = ids.iter().map(|id| placed(id).raw());
        let named = deliveries.map(|mut delivery| {
            delivery.attributes.insert(GROUP_ATTRIBUTE.into(), Attribute::text("a"));
            delivery
        });
        named.collect()
    };
    let world = World::new();
    world.run(orders("a", &["poison", "a2", "a3"])).await;
    world.state.cured.store(true, Ordering::SeqCst);
    let outcomes = world.run(redriven(&["a2", "poison", "a2", "a3"])).await;
    assert_eq!(outcomes, [parked("poison-id"), HANDLED, HANDLED, HANDLED]);
    assert_eq!(world.run(orders("a", &["a4"])).await, [HANDLED]);
}

#[tokio::test]
async fn where_the_store_fails_the_group_comes_again() {
    let world = World::new();
    world.store.down.store(true, Ordering::SeqCst);
    let outcomes = world.run(orders("a", &["a1", "a2"])).await;
    assert!(matches!(&outcomes[0], Outcome::Failed { error, .. } if error.contains("down")));
    assert!(matches!(outcomes[1], Outcome::Blocked { .. }));
    assert!(world.effects().is_empty());
    world.store.down.store(false, Ordering::SeqCst);
    assert_eq!(world.run(orders("a", &["a1", "a2"])).await, [HANDLED, HANDLED]);
}

#[tokio::test]
async fn what_the_dead_letter_queue_does_not_take_is_tried_again_in_its_place() {
    let world = World::new();
    world.bench.refuse_dead_letters();
    for _ in 0..2 {
        let outcomes = world.run(orders("a", &["poison", "a2"])).await;
        assert!(matches!(outcomes[0], Outcome::Failed { .. }), "{outcomes:?}");
        assert!(matches!(outcomes[1], Outcome::Blocked { .. }), "{outcomes:?}");
    }
    world.state.cured.store(true, Ordering::SeqCst);
    assert_eq!(world.run(orders("a", &["poison", "a2"])).await, [HANDLED, HANDLED]);
}

#[tokio::test]
async fn what_is_no_event_is_known_by_its_body_and_what_is_let_go_makes_room() {
    let world = World::new();
    let garbage = |id: &str| RawDelivery::new("{", Metadata::new(id, 1).in_group("a"));
    let outcomes = world.run(vec![garbage("first"), orders("a", &["a2"]).remove(0)]).await;
    assert!(matches!(outcomes[0], Outcome::DeadLettered(Reason::Undecodable(_))));
    assert!(
        matches!(&outcomes[1], Outcome::DeadLettered(Reason::Parked { behind }) if behind.starts_with("sha256:")),
        "{outcomes:?}"
    );
    let tolerant = world.consumer(world.router().undecodable(Policy::Acknowledge));
    let redriven = vec![garbage("redriven"), orders("a", &["a2"]).remove(0)];
    let outcomes = world.bench.run(tolerant, redriven).await;
    assert!(matches!(outcomes[0], Outcome::Ignored(_)));
    assert_eq!(outcomes[1], HANDLED);
}

#[tokio::test]
async fn what_is_for_others_is_let_go_behind_a_dead_letter_too() {
    let world = World::new();
    let other = placed("other").tag("shop.orders.OrderPaid.v1").group("a").raw();
    let newer = placed("newer").tag("shop.orders.OrderPlaced.v2").group("a").raw();
    let mut batch = orders("a", &["poison"]);
    batch.extend([other, newer]);
    let outcomes = world.bench.run(world.consumer(world.router()).unfiltered(), batch).await;
    assert!(matches!(outcomes[1], Outcome::Ignored(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], parked("poison-id"));
}

#[tokio::test]
async fn a_lost_lease_parks_nothing_and_ends_nobodys_turn() {
    let world = World::new();
    let lost = orders("a", &["poison"]);
    lost[0].cancellation.cancel();
    assert_eq!(world.run(lost).await, [Outcome::Lost]);
    world.run(orders("a", &["poison", "a2"])).await;
    world.state.cured.store(true, Ordering::SeqCst);
    let lost = orders("a", &["poison"]);
    *world.state.cancel.lock().unwrap() = Some(lost[0].cancellation.clone());
    assert_eq!(world.run(lost).await, [Outcome::Lost]);
    assert_eq!(world.run(orders("a", &["a2"])).await, [parked("poison-id")]);
    assert_eq!(world.run(orders("a", &["poison", "a2"])).await, [HANDLED, HANDLED]);
}

#[tokio::test]
async fn a_pointer_waits_unfetched_and_is_the_same_event_when_it_can_be_fetched() {
    let world = World::new();
    let payloads = MemoryClaimCheck::new("bucket");
    let consumer = || world.consumer(world.router()).claim_check(payloads.clone());
    let order = |id: &str| orders("a", &[id]).remove(0);
    let pointer = || {
        let mut pointer = order("first");
        pointer.body = Pointer::new("bucket", "payload").to_body();
        pointer
    };
    let outcomes = world.bench.run(consumer(), vec![order("poison"), pointer()]).await;
    assert_eq!(outcomes, [rejected(), parked("poison-id")], "nobody looked for its payload");
    world.state.cured.store(true, Ordering::SeqCst);
    let outcomes = world.bench.run(consumer(), vec![order("poison"), pointer(), order("a3")]).await;
    assert!(matches!(outcomes[1], Outcome::DeadLettered(Reason::Unclaimed(_))), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::DeadLettered(Reason::Parked { .. })), "{outcomes:?}");
    payloads.put("payload", &order("first").body).await.unwrap();
    let outcomes = world.bench.run(consumer(), vec![pointer(), order("a3")]).await;
    assert_eq!(outcomes, [HANDLED, HANDLED]);
    assert_eq!(world.effects(), ["poison", "first", "a3"]);
}

#[tokio::test]
async fn operators_give_one_event_up_or_the_order_of_a_group() {
    let world = World::new();
    world.run(orders("a", &["poison", "a2", "a3"])).await;
    let poison = InboxKey::new("delivery", "orders", "poison-id");
    world.store.handled("a", &poison).await.unwrap();
    assert_eq!(world.run(orders("a", &["a3", "a2"])).await, [parked("a2-id"), HANDLED]);
    assert_eq!(world.store.release("delivery", "a").await.unwrap(), 1);
    assert_eq!(world.run(orders("a", &["a4", "a3"])).await, [HANDLED, HANDLED]);
}
