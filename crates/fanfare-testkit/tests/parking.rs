//! Behind a dead letter, on every host: what follows it waits in the dead-letter queue, and is handled
//! in order when that is redriven.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    Consumer, Delivery, Event, HandlerError, InboxKey, MemoryIdempotencyStore, MemoryParkedGroups,
    ParkedGroups, Router, Turn,
};
use fanfare_testkit::Harness;
use fanfare_topology::{Binding, Kind, Kinesis, Topology};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderChanged.v1", topic = "orders", key = order_id)]
struct OrderChanged {
    order_id: String,
    version: u32,
}

/// Brings the service a standard queue, where letters of a stream can be sent back to.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.notes.Noted.v1", topic = "notes", key = text)]
struct Noted {
    text: String,
}

/// What was handled, and whether version 1 of `poison` can be.
#[derive(Clone, Default)]
struct State {
    handled: Arc<Mutex<Vec<(String, u32)>>>,
    cured: Arc<AtomicBool>,
}

impl State {
    fn versions(&self, of: &str) -> Vec<u32> {
        let handled = self.handled.lock().unwrap();
        handled.iter().filter(|(order, _)| order == of).map(|(_, version)| *version).collect()
    }
}

async fn follow(state: State, order: Delivery<OrderChanged>) -> Result<(), HandlerError> {
    let OrderChanged { order_id, version } = order.event;
    if order_id == "poison" && version == 1 && !state.cured.load(Ordering::SeqCst) {
        return Err(HandlerError::reject("not understood"));
    }
    state.handled.lock().unwrap().push((order_id, version));
    Ok(())
}

async fn read(_: State, _: Delivery<Noted>) -> Result<(), HandlerError> {
    Ok(())
}

fn router() -> Router<State> {
    Router::new("delivery").on(follow).on(read)
}

/// A shop with its orders bound like this, its delivery under way.
struct Shop {
    harness: Harness,
    topology: Topology,
    state: State,
    parked: MemoryParkedGroups,
    kind: Kind,
}

impl Shop {
    async fn new(binding: Binding, on_lambda: bool) -> Self {
        let topology = Topology::new("shop").topic("orders", binding);
        let topology = topology.topic("notes", Kind::Standard).service(&router());
        let harness = Harness::new(topology.clone()).await.unwrap();
        let mut harness = if on_lambda { harness.on_lambda() } else { harness };
        let (state, parked) = (State::default(), MemoryParkedGroups::default());
        let consumer: Consumer = router().with_state(state.clone());
        let consumer = consumer.idempotency(MemoryIdempotencyStore::default());
        harness.start(consumer.park_groups(parked.clone()));
        let kind = if binding == Kind::Fifo.into() { Kind::Fifo } else { Kind::Standard };
        Shop { harness, topology, state, parked, kind }
    }

    async fn change(&mut self, order: &str, versions: std::ops::Range<u32>) {
        let emitter = self.harness.emitter("orders");
        for version in versions {
            emitter.emit(&OrderChanged { order_id: order.into(), version }).await.unwrap();
        }
        self.harness.quiet().await.unwrap();
    }

    /// Sends what is in the dead-letter queue back, and waits until it has been dealt with.
    async fn redrive(&mut self) {
        let bindings = self.topology.bindings();
        let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        let queue = arn(&bindings.queue_name("delivery", self.kind));
        let letters = arn(&bindings.dead_letter_queue_name("delivery", self.kind));
        let sqs = aws_sdk_sqs::Client::new(&self.harness.sim().sdk_config());
        let start = sqs.start_message_move_task().source_arn(letters);
        start.destination_arn(queue).send().await.unwrap();
        // Hundreds of messages a second are moved.
        tokio::time::sleep(Duration::from_secs(30)).await;
        self.harness.quiet().await.unwrap();
    }

    fn letters(&self) -> usize {
        let name = self.topology.bindings().dead_letter_queue_name("delivery", self.kind);
        self.harness.sim().messages(&name).len()
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_dead_letter_a_key_waits_for_the_redrive_and_is_handled_in_order() {
    let kinesis = Binding::from(Kinesis::shards(1));
    for binding in [Binding::from(Kind::Fifo), kinesis] {
        for on_lambda in [false, true] {
            let mut shop = Shop::new(binding, on_lambda).await;
            shop.change("poison", 0..4).await;
            shop.change("other", 0..3).await;
            assert_eq!(shop.state.versions("poison"), [0], "{binding:?}, {on_lambda}");
            assert_eq!(shop.state.versions("other"), [0, 1, 2]);
            assert_eq!(shop.letters(), 3);
            shop.redrive().await;
            assert_eq!(shop.state.versions("poison"), [0], "it is not cured");
            assert_eq!(shop.letters(), 3);
            shop.state.cured.store(true, Ordering::SeqCst);
            shop.change("poison", 4..5).await;
            assert_eq!(shop.letters(), 4);
            // A standard queue keeps no order, and what comes before its turn goes back.
            for _ in 0..10 {
                if shop.letters() > 0 {
                    shop.redrive().await;
                }
            }
            shop.change("poison", 5..6).await;
            assert_eq!(
                shop.state.versions("poison"),
                [0, 1, 2, 3, 4, 5],
                "{binding:?}, {on_lambda}"
            );
            assert_eq!(shop.letters(), 0);
            let event = InboxKey::new("delivery", "orders", "any");
            assert_eq!(shop.parked.turn("poison", &event).await.unwrap(), Turn::Free);
        }
    }
}
