//! What was ordered, in SQL.

use sqlx::query_as;

use super::{OrderPlaced, Purchases, StoreError};
use crate::database::on_both;

/// Nothing makes purchases unique, so that an effect that happened twice would be seen.
pub const TABLES: &str = "
    create table if not exists purchases (
        order_id text not null, product_id text not null, quantity bigint not null);
    create index if not exists purchases_of_an_order on purchases (order_id);
    create table if not exists payments (order_id text not null);";

on_both! {
    impl Purchases {
        async fn remember(&mut self, order: &OrderPlaced) -> Result<(), StoreError> {
            sqlx::query("insert into purchases values ($1, $2, $3)")
                .bind(&order.order_id)
                .bind(&order.product_id)
                .bind(i64::from(order.quantity))
                .execute(self)
                .await?;
            Ok(())
        }

        async fn paid(&mut self, order_id: &str) -> Result<(), StoreError> {
            sqlx::query("insert into payments values ($1)").bind(order_id).execute(self).await?;
            Ok(())
        }

        async fn known(&mut self, order_id: &str) -> Result<i64, StoreError> {
            let count = query_as("select count(*) from purchases where order_id = $1");
            let (count,): (i64,) = count.bind(order_id).fetch_one(self).await?;
            Ok(count)
        }

        async fn best(&mut self) -> Result<Option<(String, i64)>, StoreError> {
            let best = query_as(
                "select product_id, cast(sum(quantity) as bigint) from purchases
                where order_id in (select order_id from payments)
                group by product_id order by sum(quantity) desc, product_id limit 1",
            );
            Ok(best.fetch_optional(self).await?)
        }
    }
}
