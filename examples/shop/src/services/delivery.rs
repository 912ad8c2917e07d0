//! The delivery service: starts a delivery for each order, knowing nothing of the stock.

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
}

/// An order is paid: nothing is to be collected at the door.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPaid.v1", topic = "orders")]
pub struct OrderPaid {
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
pub trait Deliveries: Send + 'static {
    /// Starts one.
    fn start(
        &mut self,
        order_id: &str,
        delivery_id: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that an order is paid.
    fn paid(&mut self, order_id: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many an order has.
    fn of(&mut self, order_id: &str) -> impl Future<Output = Result<i64, StoreError>> + Send;
}

async fn start_delivery<S: Deliveries>(
    deliveries: &mut S,
    order: Delivery<OrderPlaced>,
) -> Result<DeliveryStarted, HandlerError> {
    let order_id = order.event.order_id;
    let delivery_id = format!("d-{}", order_id.trim_start_matches("o-"));
    deliveries.start(&order_id, &delivery_id).await?;
    journal::say("delivery", format_args!("{order_id}: {delivery_id} started"));
    Ok(DeliveryStarted { order_id, delivery_id })
}

async fn note_payment<S: Deliveries>(
    deliveries: &mut S,
    order: Delivery<OrderPaid>,
) -> Result<(), HandlerError> {
    Ok(deliveries.paid(&order.event.order_id).await?)
}

/// Its handlers.
pub fn router<S: Deliveries>() -> Router {
    Router::new("delivery").on_tx(start_delivery::<S>).on_tx(note_payment::<S>)
}

#[cfg(test)]
mod tests {
    use fanfare::{
        Consumer,
        sql::SqlInbox,
        topology::{Kind, Topology},
    };
    use fanfare_testkit::Harness;
    use sqlx::{Sqlite, SqliteConnection};

    use super::*;
    use crate::{
        database::{Folder, Sql},
        services::orders,
    };

    /// The whole service, on a database of its own: on the real clock, as databases want it.
    #[tokio::test]
    async fn an_order_starts_one_delivery_however_often_it_comes() {
        let folder = Folder::fresh().unwrap();
        let store = Sqlite::open(&folder, "delivery").await.unwrap();
        store.migrate(TABLES).await.unwrap();
        let router = router::<SqliteConnection>();
        let topology = Topology::new("shop")
            .topic("orders", Kind::Standard)
            .topic("deliveries", Kind::Standard)
            .service(&router);
        let mut harness = Harness::new(topology).await.unwrap();
        harness.sim().inject("ReceiveMessage", fanfare::sim::Fault::DuplicateDelivery);
        harness.start(Consumer::from(router).inbox(SqlInbox::new(&store.fanfare)));

        let (order_id, product_id) = ("o-1".to_string(), "mug".to_string());
        let order = orders::OrderPlaced { order_id, product_id, quantity: 1 };
        harness.emitter("orders").emit(&order).await.unwrap();
        harness.quiet().await.unwrap();

        let counts = harness.counts("delivery");
        assert_eq!((counts.handled, counts.duplicates), (1, 1));
        assert_eq!(store.read().await.unwrap().of("o-1").await.unwrap(), 1);
        drop(store);
        Sqlite::remove(folder).await.unwrap();
    }
}
