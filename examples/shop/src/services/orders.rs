//! The orders service: takes orders, and follows what becomes of them.

mod store;

use fanfare::{
    Delivery, Event, EventType, HandlerError, Router,
    sql::{Outbox, RecordError},
};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{
    database::{Sql, Store},
    journal,
};
pub use store::TABLES;

/// A customer has placed an order.
#[derive(Debug, Clone, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
pub struct OrderPlaced {
    pub order_id: String,
    pub product_id: String,
    pub quantity: u32,
}

/// A customer has paid for an order.
#[derive(Debug, Clone, Event, Serialize)]
#[event(type = "shop.orders.OrderPaid.v1", topic = "orders", key = order_id)]
pub struct OrderPaid {
    pub order_id: String,
}

/// A customer wants an order wrapped as a gift.
#[derive(Debug, Clone, Event, Serialize)]
#[event(type = "shop.orders.GiftWrapWanted.v1", topic = "orders", key = order_id)]
pub struct GiftWrapWanted {
    pub order_id: String,
}

/// An order has left the house. Part of its history: so that history has all of it, in one order, also
/// what others did.
#[derive(Debug, Clone, Event, Serialize)]
#[event(type = "shop.orders.OrderShipped.v1", topic = "orders", key = order_id)]
pub struct OrderShipped {
    pub order_id: String,
    pub delivery_id: String,
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
pub trait Orders: Send + 'static {
    /// Notes a new order; false if it is there already.
    fn add(&mut self, order: &OrderPlaced)
    -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Notes that an order is to be wrapped; false if there is no such order.
    fn wrap(&mut self, order_id: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Notes that an order is on its way; false if there is no such order.
    fn ship(
        &mut self,
        order_id: &str,
        delivery_id: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Where an order is.
    fn status(
        &mut self,
        order_id: &str,
    ) -> impl Future<Output = Result<Option<Status>, StoreError>> + Send;
}

/// Takes orders.
pub struct OrderBook<D: Sql> {
    store: Store<D>,
    outbox: Outbox,
}

impl<D: Sql> OrderBook<D> {
    /// Keeps the orders in `store`, and tells the world of them by `outbox`.
    pub fn new(store: Store<D>, outbox: Outbox) -> Self {
        OrderBook { store, outbox }
    }

    /// Places an order, which the customer pays at once: notes it, and in the same transaction records
    /// what the world is to be told, in this order. Gives the first event's id; none if the order was
    /// placed before. AWS is not asked.
    pub async fn place(&self, order: &OrderPlaced) -> Result<Option<String>, RecordError> {
        let mut tx = self.store.begin().await?;
        if !tx.add(order).await? {
            return Ok(None);
        }
        let event_id = self.outbox.record(&mut *tx, order).await?;
        let paid = OrderPaid { order_id: order.order_id.clone() };
        self.outbox.record(&mut *tx, &paid).await?;
        tx.commit().await.map_err(StoreError::from)?;
        // Only now is there something for the relay to find.
        self.outbox.wake();
        let OrderPlaced { order_id, product_id, quantity } = order;
        journal::say(
            "orders",
            format_args!("{order_id} placed and paid: {quantity} × {product_id}"),
        );
        Ok(Some(event_id))
    }

    /// Has an order wrapped as a gift.
    pub async fn wrap(&self, order_id: &str) -> Result<(), RecordError> {
        let mut tx = self.store.begin().await?;
        if tx.wrap(order_id).await? {
            let wanted = GiftWrapWanted { order_id: order_id.into() };
            self.outbox.record(&mut *tx, &wanted).await?;
            tx.commit().await.map_err(StoreError::from)?;
            self.outbox.wake();
            journal::say("orders", format_args!("{order_id} is to be wrapped as a gift"));
        }
        Ok(())
    }
}

async fn follow<S: Orders>(
    orders: &mut S,
    started: Delivery<DeliveryStarted>,
) -> Result<OrderShipped, HandlerError> {
    let DeliveryStarted { order_id, delivery_id } = started.event;
    if !orders.ship(&order_id, &delivery_id).await? {
        return Err(HandlerError::reject("no such order"));
    }
    journal::say("orders", format_args!("{order_id} is on its way with {delivery_id}"));
    Ok(OrderShipped { order_id, delivery_id })
}

/// Its handlers.
pub fn router<S: Orders>() -> Router {
    Router::new("orders").on_tx(follow::<S>)
}
