//! The products service: keeps the stock. It knows that orders are placed, not who else cares.

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
    pub product_id: String,
    pub quantity: u32,
}

/// There is less of a product than before.
#[derive(Debug, Event, Serialize)]
#[event(type = "shop.products.StockReduced.v1", topic = "products", key = product_id)]
pub struct StockReduced {
    pub product_id: String,
    pub left: u32,
}

/// How much there is of each product.
#[derive(Clone)]
pub struct Stock {
    left: Arc<Mutex<BTreeMap<String, u32>>>,
}

/// Stock cannot be reduced.
#[derive(Debug, PartialEq, Eq)]
pub enum StockError {
    UnknownProduct,
    SoldOut,
}

impl Stock {
    /// `count` of each of the shop's products.
    pub fn of_each(count: u32) -> Self {
        let left = ["mug", "teapot", "kettle"].map(|product| (product.to_string(), count));
        Stock { left: Arc::new(Mutex::new(left.into())) }
    }

    pub fn reduce(&self, product_id: &str, quantity: u32) -> Result<u32, StockError> {
        let mut stock = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = stock.get_mut(product_id).ok_or(StockError::UnknownProduct)?;
        *left = left.checked_sub(quantity).ok_or(StockError::SoldOut)?;
        Ok(*left)
    }

    pub fn total(&self) -> u32 {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

async fn reduce_stock(
    stock: Stock,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents, HandlerError> {
    let OrderPlaced { order_id, product_id, quantity } = order.event;
    // A stocktaking in the way, so that the shop has something to retry.
    if product_id == "kettle" && order.metadata.attempt == 1 {
        journal::say("products", format_args!("{order_id}: {product_id} is being counted, later"));
        return Err(HandlerError::retry("the product is being counted"));
    }
    match stock.reduce(&product_id, quantity) {
        Ok(left) => {
            journal::say("products", format_args!("{order_id}: {product_id} reduced to {left}"));
            Ok(StockReduced { product_id, left })
        }
        Err(StockError::SoldOut) => Err(HandlerError::reject("sold out")),
        Err(StockError::UnknownProduct) => Err(HandlerError::reject("no such product")),
    }
}

pub fn router() -> Router<Stock> {
    Router::new("products").on(reduce_stock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(product_id: &str, quantity: u32) -> Delivery<OrderPlaced> {
        let (order_id, product_id) = ("o-1".into(), product_id.into());
        Delivery::of(OrderPlaced { order_id, product_id, quantity })
    }

    #[tokio::test]
    async fn an_order_reduces_the_stock() {
        let stock = Stock::of_each(10);
        assert!(reduce_stock(stock.clone(), order("mug", 3)).await.is_ok());
        assert_eq!(stock.total(), 27);
    }

    #[tokio::test]
    async fn an_order_for_more_than_there_is_is_rejected() {
        let stock = Stock::of_each(10);
        let error = reduce_stock(stock.clone(), order("mug", 11)).await.err().unwrap();
        assert!(!error.is_retryable());
        assert_eq!(stock.total(), 30);
    }
}
