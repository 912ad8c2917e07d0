//! Handlers that run in transactions.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use fanfare_core::{
    Admitted, BoxFuture, ConnectionType, Consumer, Delivery, Followed, HandlerError, Inbox,
    InboxError, InboxKey, Loan, RawDelivery, Router, Slot, UnitOfWork,
};
use fanfare_topology::Kinesis;

use crate::support::*;

/// What a handler gets as its connection.
struct Connection;

/// Remembers keys, and how many deliveries each unit had.
#[derive(Clone, Default)]
struct Memory {
    known: Arc<Mutex<HashSet<InboxKey>>>,
    units: Arc<Mutex<Vec<usize>>>,
}

struct Unit {
    memory: Memory,
    slot: Slot<Box<Connection>>,
    admitted: Vec<InboxKey>,
}

impl Inbox for Memory {
    fn connection_type(&self) -> ConnectionType {
        ConnectionType::of::<Connection>()
    }

    fn records_events(&self) -> bool {
        true
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn UnitOfWork>, InboxError>> {
        let slot = Slot::new(Box::new(Connection));
        let unit = Unit { memory: self.clone(), slot, admitted: Vec::new() };
        Box::pin(async move { Ok(Box::new(unit) as Box<dyn UnitOfWork>) })
    }
}

impl UnitOfWork for Unit {
    fn admit<'a>(
        &'a mut self,
        keys: &'a [InboxKey],
    ) -> BoxFuture<'a, Result<Vec<Admitted>, InboxError>> {
        Box::pin(async move {
            let known = self.memory.known.lock().unwrap();
            self.admitted = keys.to_vec();
            let admit = |key| match known.contains(key) {
                true => Admitted::Duplicate(Vec::new()),
                false => Admitted::New,
            };
            Ok(keys.iter().map(admit).collect())
        })
    }

    fn lend(&mut self, _: bool) -> BoxFuture<'_, Result<Loan, InboxError>> {
        Box::pin(async { self.slot.lend().ok_or_else(|| InboxError::retryable("lent")) })
    }

    fn keep(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn commit<'a>(
        self: Box<Self>,
        handled: &'a [&'a RawDelivery],
        _: &'a [Followed<'a>],
        withdrawn: &'a [&'a InboxKey],
    ) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            let mut known = self.memory.known.lock().unwrap();
            known.extend(self.admitted.into_iter().filter(|key| !withdrawn.contains(&key)));
            self.memory.units.lock().unwrap().push(handled.len());
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_take_as_many_deliveries_as_are_ready() {
    for keys in [3, 2_000] {
        let shop = Shop::new(Kinesis::shards(1)).await;
        let events: Vec<_> = (0..2_000).map(|i| order(format!("key-{}", i % keys), i)).collect();
        shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
        let (seen, memory) = (Seen::default(), Memory::default());
        let handler = {
            let seen = seen.clone();
            move |_: &mut Connection, order: Delivery<OrderPlaced>| {
                let (first, n) = (order.metadata.attempt == 1, order.event.number);
                if !(first && n % 100 == 0) {
                    seen.note(&order);
                }
                std::future::ready(match first && n % 100 == 0 {
                    true => Err(HandlerError::retry("not yet")),
                    false => Ok(()),
                })
            }
        };
        let router: Router = Router::new("products").on_tx(handler);
        let working = shop.work(Consumer::from(router).inbox(memory.clone()));
        until(|| seen.len() >= 2_000).await;
        working.finish().await.unwrap();
        assert_eq!(seen.numbers(), (0..2_000).collect::<Vec<_>>());
        seen.assert_in_order();
        let units = memory.units.lock().unwrap().clone();
        assert!(units.len() < 120, "{keys} keys, {} transactions: {units:?}", units.len());
    }
}
