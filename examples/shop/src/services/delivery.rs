//! The delivery service: starts a delivery for each order, knowing nothing of the stock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare::{Delivery, Event, EventType, HandlerError, IntoEvents, Router};
use serde::{Deserialize, Serialize};

use crate::journal;

/// What this service wants to know of an order.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
pub struct OrderPlaced {
    pub order_id: String,
}

/// A delivery is on its way.
#[derive(Debug, Event, Serialize)]
#[event(type = "shop.delivery.DeliveryStarted.v1", topic = "deliveries", key = order_id)]
pub struct DeliveryStarted {
    pub order_id: String,
    pub delivery_id: String,
}

/// The deliveries of each order: one, if all goes well.
#[derive(Clone, Default)]
pub struct Deliveries {
    by_order: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Deliveries {
    fn start(&self, order_id: &str) -> String {
        let mut by_order = self.by_order.lock().unwrap_or_else(PoisonError::into_inner);
        let delivery_id = format!("d-{}", order_id.trim_start_matches("o-"));
        by_order.entry(order_id.into()).or_default().push(delivery_id.clone());
        delivery_id
    }

    pub fn of(&self, order_id: &str) -> usize {
        let by_order = self.by_order.lock().unwrap_or_else(PoisonError::into_inner);
        by_order.get(order_id).map_or(0, Vec::len)
    }
}

async fn start_delivery(
    deliveries: Deliveries,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents, HandlerError> {
    let order_id = order.event.order_id;
    let delivery_id = deliveries.start(&order_id);
    journal::say("delivery", format_args!("{order_id}: {delivery_id} started"));
    Ok(DeliveryStarted { order_id, delivery_id })
}

pub fn router() -> Router<Deliveries> {
    Router::new("delivery").on(start_delivery)
}

#[cfg(test)]
mod tests {
    use fanfare::topology::{Kind, Topology};
    use fanfare_testkit::Harness;

    use super::*;
    use crate::services::orders;

    #[tokio::test(start_paused = true)]
    async fn an_order_starts_one_delivery() {
        let topology = Topology::new("shop")
            .topic("orders", Kind::Standard)
            .topic("deliveries", Kind::Standard)
            .service(&router());
        let mut harness = Harness::new(topology).await.unwrap();
        let deliveries = Deliveries::default();
        harness.start(router().with_state(deliveries.clone()));

        let (order_id, product_id) = ("o-1".to_string(), "mug".to_string());
        let order = orders::OrderPlaced { order_id, product_id, quantity: 1 };
        harness.emitter("orders").emit(&order).await.unwrap();
        harness.quiet().await.unwrap();

        assert_eq!(deliveries.of("o-1"), 1);
        assert_eq!(harness.counts("delivery").handled, 1);
    }
}
