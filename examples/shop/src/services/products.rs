//! The products service: keeps the stock. It knows that orders are placed, not who else cares.

mod store;

use fanfare::{Delivery, Event, EventType, HandlerError, Router};
use serde::{Deserialize, Serialize};

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

/// An order is paid: what it took is sold.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPaid.v1", topic = "orders")]
pub struct OrderPaid {
    pub order_id: String,
}

/// An order is on its way: what it took is no longer in the house.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderShipped.v1", topic = "orders")]
pub struct OrderShipped {
    pub order_id: String,
}

/// There is less of a product than before.
#[derive(Debug, Event, Serialize)]
#[event(type = "shop.products.StockReduced.v1", topic = "products", key = product_id)]
pub struct StockReduced {
    pub product_id: String,
    pub left: i64,
}

/// What has become of what an order took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Sold,
    Gone,
}

/// How much there is of each product.
pub trait Stock: Send + 'static {
    /// Takes some for an order and gives what is left; none if there is not as much.
    fn reduce(
        &mut self,
        order_id: &str,
        product_id: &str,
        quantity: u32,
    ) -> impl Future<Output = Result<Option<i64>, StoreError>> + Send;

    /// Notes that what an order took is sold, or gone.
    fn mark(
        &mut self,
        order_id: &str,
        mark: Mark,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How often what an order took was marked as sold, and as gone.
    fn marks(
        &mut self,
        order_id: &str,
    ) -> impl Future<Output = Result<(i64, i64), StoreError>> + Send;

    /// How much is left of a product; none if it is not sold here.
    fn left(
        &mut self,
        product_id: &str,
    ) -> impl Future<Output = Result<Option<i64>, StoreError>> + Send;

    /// How often the stock was reduced for an order, and by how much in all.
    fn taken(
        &mut self,
        order_id: &str,
    ) -> impl Future<Output = Result<(i64, i64), StoreError>> + Send;
}

/// Registered with `on_tx`, so that the stock, the memory of the order's event and the event that
/// follows are committed together: the stock is reduced once, however often the order comes.
async fn reduce_stock<S: Stock>(
    stock: &mut S,
    order: Delivery<OrderPlaced>,
) -> Result<StockReduced, HandlerError> {
    let OrderPlaced { order_id, product_id, quantity } = order.event;
    // A stocktaking in the way, so that the shop has something to retry.
    if product_id == "kettle" && order.metadata.attempt == 1 {
        journal::say("products", format_args!("{order_id}: {product_id} is being counted, later"));
        return Err(HandlerError::retry("the product is being counted"));
    }
    let Some(left) = stock.reduce(&order_id, &product_id, quantity).await? else {
        return Err(HandlerError::reject(match stock.left(&product_id).await? {
            Some(_) => "sold out",
            None => "no such product",
        }));
    };
    journal::say("products", format_args!("{order_id}: {product_id} reduced to {left}"));
    Ok(StockReduced { product_id, left })
}

/// This and the next do not mind which of an order's events they see first: a standard topic keeps no
/// order.
async fn mark_sold<S: Stock>(
    stock: &mut S,
    order: Delivery<OrderPaid>,
) -> Result<(), HandlerError> {
    Ok(stock.mark(&order.event.order_id, Mark::Sold).await?)
}

async fn mark_gone<S: Stock>(
    stock: &mut S,
    order: Delivery<OrderShipped>,
) -> Result<(), HandlerError> {
    Ok(stock.mark(&order.event.order_id, Mark::Gone).await?)
}

/// Its handlers.
pub fn router<S: Stock>() -> Router {
    Router::new("products").on_tx(reduce_stock::<S>).on_tx(mark_sold::<S>).on_tx(mark_gone::<S>)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A stock without a database: the handler does not know the difference.
    struct Shelf(BTreeMap<&'static str, i64>);

    impl Stock for Shelf {
        async fn reduce(
            &mut self,
            _: &str,
            product_id: &str,
            quantity: u32,
        ) -> Result<Option<i64>, StoreError> {
            let left = self.0.get_mut(product_id).filter(|left| **left >= i64::from(quantity));
            Ok(left.map(|left| {
                *left -= i64::from(quantity);
                *left
            }))
        }

        async fn mark(&mut self, _: &str, _: Mark) -> Result<(), StoreError> {
            unreachable!("nothing was paid or sent")
        }

        async fn marks(&mut self, _: &str) -> Result<(i64, i64), StoreError> {
            unreachable!("no handler asks")
        }

        async fn left(&mut self, product_id: &str) -> Result<Option<i64>, StoreError> {
            Ok(self.0.get(product_id).copied())
        }

        async fn taken(&mut self, _: &str) -> Result<(i64, i64), StoreError> {
            unreachable!("no handler asks")
        }
    }

    fn order(product_id: &str, quantity: u32) -> Delivery<OrderPlaced> {
        let (order_id, product_id) = ("o-1".into(), product_id.into());
        Delivery::of(OrderPlaced { order_id, product_id, quantity })
    }

    #[tokio::test]
    async fn an_order_reduces_the_stock() {
        let mut shelf = Shelf([("mug", 10)].into());
        let reduced = reduce_stock(&mut shelf, order("mug", 3)).await.unwrap();
        assert_eq!((reduced.left, shelf.0["mug"]), (7, 7));
    }

    #[tokio::test]
    async fn an_order_for_more_than_there_is_or_for_what_is_not_sold_is_rejected() {
        let mut shelf = Shelf([("mug", 10)].into());
        for (order, reason) in
            [(order("mug", 11), "sold out"), (order("cup", 1), "no such product")]
        {
            let error = reduce_stock(&mut shelf, order).await.unwrap_err();
            assert!(!error.is_retryable());
            assert_eq!(error.to_string(), reason);
        }
        assert_eq!(shelf.0["mug"], 10);
    }
}
