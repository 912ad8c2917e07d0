//! The recommendation service: knows what was ordered and paid, and recommends what sells best. It may
//! come when the others have been at work for years.

mod store;

use fanfare::{Delivery, EventType, HandlerError, Router};
use serde::Deserialize;

use super::StoreError;
use crate::journal;
pub use store::TABLES;

/// What this service wants to know of an order.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
pub struct OrderPlaced {
    pub order_id: String,
    pub product_id: String,
    pub quantity: u32,
}

/// An order is paid: now it counts.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPaid.v1", topic = "orders")]
pub struct OrderPaid {
    pub order_id: String,
}

/// What was ordered.
pub trait Purchases: Send + 'static {
    /// Remembers what an order asks for.
    fn remember(
        &mut self,
        order: &OrderPlaced,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that an order is paid.
    fn paid(&mut self, order_id: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How often an order is remembered.
    fn known(&mut self, order_id: &str) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// What sells best, and how much of it was paid for.
    fn best(&mut self) -> impl Future<Output = Result<Option<(String, i64)>, StoreError>> + Send;
}

async fn remember<S: Purchases>(
    purchases: &mut S,
    order: Delivery<OrderPlaced>,
) -> Result<(), HandlerError> {
    purchases.remember(&order.event).await?;
    // One who is told the past does not tell the world about each of its days.
    if !order.metadata.replayed {
        journal::say("recommendation", format_args!("{}: learnt", order.event.order_id));
    }
    Ok(())
}

async fn count<S: Purchases>(
    purchases: &mut S,
    order: Delivery<OrderPaid>,
) -> Result<(), HandlerError> {
    Ok(purchases.paid(&order.event.order_id).await?)
}

/// Its handlers.
pub fn router<S: Purchases>() -> Router {
    Router::new("recommendation").on_tx(remember::<S>).on_tx(count::<S>)
}
