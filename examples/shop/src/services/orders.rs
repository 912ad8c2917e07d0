//! The orders service: takes orders, and follows what becomes of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare::{Delivery, EmitError, Emitter, Event, EventType, HandlerError, Router};
use serde::{Deserialize, Serialize};

use crate::journal;

/// A customer has placed an order.
#[derive(Debug, Clone, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
pub struct OrderPlaced {
    pub order_id: String,
    pub product_id: String,
    pub quantity: u32,
}

/// What this service wants to know of a delivery.
#[derive(EventType, Deserialize)]
#[event(type = "shop.delivery.DeliveryStarted.v1", topic = "deliveries")]
pub struct DeliveryStarted {
    pub order_id: String,
    pub delivery_id: String,
}

/// Where an order is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Placed,
    OnItsWay { delivery_id: String },
}

/// All orders and where they are.
#[derive(Clone, Default)]
pub struct OrderBook {
    orders: Arc<Mutex<BTreeMap<String, Status>>>,
}

impl OrderBook {
    /// Places an order: notes it, and tells the world.
    pub async fn place(&self, events: &Emitter, order: &OrderPlaced) -> Result<String, EmitError> {
        self.set(&order.order_id, Status::Placed);
        let OrderPlaced { order_id, product_id, quantity } = order;
        journal::say("orders", format_args!("{order_id} placed: {quantity} × {product_id}"));
        events.emit(order).await
    }

    pub fn status(&self, order_id: &str) -> Option<Status> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).get(order_id).cloned()
    }

    fn set(&self, order_id: &str, status: Status) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.insert(order_id.into(), status);
    }
}

async fn follow(book: OrderBook, started: Delivery<DeliveryStarted>) -> Result<(), HandlerError> {
    let DeliveryStarted { order_id, delivery_id } = started.event;
    journal::say("orders", format_args!("{order_id} is on its way with {delivery_id}"));
    book.set(&order_id, Status::OnItsWay { delivery_id });
    Ok(())
}

pub fn router() -> Router<OrderBook> {
    Router::new("orders").on(follow)
}
