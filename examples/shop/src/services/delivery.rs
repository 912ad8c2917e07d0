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
        let number = by_order.values().map(Vec::len).sum::<usize>() + 1;
        let delivery_id = format!("d-{number}");
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
