//! The deliveries in SQL.

use sqlx::query_as;

use super::{Deliveries, StoreError};
use crate::database::on_both;

/// Nothing makes deliveries unique, so that an effect that happened twice would be seen.
pub const TABLES: &str = "
    create table if not exists deliveries (delivery_id text not null, order_id text not null);
    create index if not exists deliveries_of_an_order on deliveries (order_id);
    create table if not exists payments (order_id text not null);";

on_both! {
    impl Deliveries {
        async fn start(&mut self, order_id: &str, delivery_id: &str) -> Result<(), StoreError> {
            sqlx::query("insert into deliveries values ($1, $2)")
                .bind(delivery_id)
                .bind(order_id)
                .execute(self)
                .await?;
            Ok(())
        }

        async fn paid(&mut self, order_id: &str) -> Result<(), StoreError> {
            sqlx::query("insert into payments values ($1)").bind(order_id).execute(self).await?;
            Ok(())
        }

        async fn of(&mut self, order_id: &str) -> Result<i64, StoreError> {
            let count = query_as("select count(*) from deliveries where order_id = $1");
            let (count,): (i64,) = count.bind(order_id).fetch_one(self).await?;
            Ok(count)
        }
    }
}
