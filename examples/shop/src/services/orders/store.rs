//! The orders in SQL.

use sqlx::query_as;

use super::{OrderPlaced, Orders, Status, StoreError};
use crate::database::on_both;

pub const TABLES: &str = "
    create table if not exists orders (
        order_id text primary key, product_id text not null, quantity bigint not null,
        gift_wrap integer not null default 0, delivery_id text);";

on_both! {
    impl Orders {
        async fn add(&mut self, order: &OrderPlaced) -> Result<bool, StoreError> {
            let added = sqlx::query(
                "insert into orders (order_id, product_id, quantity) values ($1, $2, $3)
                on conflict do nothing",
            )
            .bind(&order.order_id)
            .bind(&order.product_id)
            .bind(i64::from(order.quantity))
            .execute(self)
            .await?;
            Ok(added.rows_affected() == 1)
        }

        async fn wrap(&mut self, order_id: &str) -> Result<bool, StoreError> {
            let wrapped = sqlx::query("update orders set gift_wrap = 1 where order_id = $1");
            Ok(wrapped.bind(order_id).execute(self).await?.rows_affected() == 1)
        }

        async fn ship(
            &mut self,
            order_id: &str,
            delivery_id: &str,
        ) -> Result<bool, StoreError> {
            let sent = sqlx::query("update orders set delivery_id = $1 where order_id = $2")
                .bind(delivery_id)
                .bind(order_id)
                .execute(self)
                .await?;
            Ok(sent.rows_affected() == 1)
        }

        async fn status(&mut self, order_id: &str) -> Result<Option<Status>, StoreError> {
            let order = query_as("select delivery_id from orders where order_id = $1");
            let order: Option<(Option<String>,)> =
                order.bind(order_id).fetch_optional(self).await?;
            Ok(order.map(|(delivery_id,)| match delivery_id {
                Some(delivery_id) => Status::OnItsWay { delivery_id },
                None => Status::Placed,
            }))
        }
    }
}
