//! The read side: orders with their delivery, one row for each, in a database of its own that no
//! service writes to. It follows orders' event log, a moment behind, and can be made anew from it.

// Events are their fields, in the words of their service.
#![allow(missing_docs)]

mod store;

use std::sync::Arc;

use fanfare::{
    BoxError, Consumer, Delivery, EventType, HandlerError, Router,
    sql::{EventLog, Generation, Projection, View},
};
use serde::Deserialize;

use crate::{
    database::{Sql, Store},
    service::Service,
    services::StoreError,
};

/// What the view wants to know of an order.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
pub struct OrderPlaced {
    pub order_id: String,
    pub product_id: String,
    pub quantity: u32,
}

/// What the view wants to know of a wish.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.GiftWrapWanted.v1", topic = "orders")]
pub struct GiftWrapWanted {
    pub order_id: String,
}

/// What the view wants to know of a delivery.
#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderShipped.v1", topic = "orders")]
pub struct OrderShipped {
    pub order_id: String,
    pub delivery_id: String,
}

/// The rows of the view, in a table of each generation.
pub trait OrderViews: Send + 'static {
    /// A row for a new order.
    fn insert(
        &mut self,
        table: &str,
        order: &OrderPlaced,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The order is a gift.
    fn set_gift(
        &mut self,
        table: &str,
        order_id: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The order is on its way.
    fn set_delivery(
        &mut self,
        table: &str,
        order: &OrderShipped,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The last `limit` rows as text, and how many there are in all, and how many on their way.
    fn look(
        &mut self,
        table: &str,
        limit: i64,
    ) -> impl Future<Output = Result<Look, StoreError>> + Send;
}

/// What a look into the view shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub lines: Vec<String>,
    pub orders: i64,
    pub on_their_way: i64,
}

/// The handlers' state: the table of their generation.
type Table = Arc<str>;

async fn placed<V: OrderViews>(
    table: Table,
    view: &mut V,
    order: Delivery<OrderPlaced>,
) -> Result<(), HandlerError> {
    Ok(view.insert(&table, &order.event).await?)
}

async fn wanted<V: OrderViews>(
    table: Table,
    view: &mut V,
    order: Delivery<GiftWrapWanted>,
) -> Result<(), HandlerError> {
    Ok(view.set_gift(&table, &order.event.order_id).await?)
}

async fn shipped<V: OrderViews>(
    table: Table,
    view: &mut V,
    order: Delivery<OrderShipped>,
) -> Result<(), HandlerError> {
    Ok(view.set_delivery(&table, &order.event).await?)
}

/// How the view is made.
pub struct ShopView<D: Sql> {
    store: Store<D>,
}

impl<D: Sql> ShopView<D> {
    /// Opens the view's database.
    pub async fn open(home: &D::Home) -> anyhow::Result<Self> {
        let store = D::open(home, "view").await?;
        store.fanfare.migrate().await?;
        Ok(ShopView { store })
    }

    /// What keeps the view up to date with the log of `orders`.
    pub fn projection(&self, orders: &Service<D>) -> Projection<Self> {
        let log = EventLog::new(&orders.store.fanfare);
        let view = ShopView { store: self.store.clone() };
        Projection::new("orders", &log, &self.store.fanfare, view)
    }

    /// Looks into a generation.
    pub async fn look(&self, generation: Generation, limit: i64) -> anyhow::Result<Look> {
        Ok(self.store.read().await?.look(&table(generation), limit).await?)
    }
}

impl<D: Sql> View for ShopView<D> {
    fn consumer(&self, generation: Generation) -> Consumer {
        Router::new("view")
            .on_tx(placed::<D::Connection>)
            .on_tx(wanted::<D::Connection>)
            .on_tx(shipped::<D::Connection>)
            .with_state(table(generation).into())
    }

    async fn prepare(&self, generation: Generation) -> Result<(), BoxError> {
        Ok(self.store.script(&store::create(&table(generation))).await?)
    }

    async fn retire(&self, generation: Generation) -> Result<(), BoxError> {
        let table = table(generation);
        Ok(self.store.script(&format!("drop table if exists {table}")).await?)
    }
}

fn table(generation: Generation) -> String {
    format!("orders_{generation}")
}
