//! The view in SQL. Its tables have their generation in their names.

use sqlx::{AssertSqlSafe, query, query_as};

use super::{Look, OrderPlaced, OrderShipped, OrderViews};
use crate::{database::on_both, services::StoreError};

/// Makes the table of a generation.
pub(super) fn create(table: &str) -> String {
    format!(
        "create table if not exists {table} (
            order_id text primary key, product_id text not null, quantity bigint not null,
            gift integer not null default 0, delivery_id text)"
    )
}

on_both! {
    impl OrderViews {
        async fn insert(&mut self, table: &str, order: &OrderPlaced) -> Result<(), StoreError> {
            let insert = format!(
                "insert into {table} (order_id, product_id, quantity) values ($1, $2, $3)"
            );
            query(AssertSqlSafe(insert))
                .bind(&order.order_id)
                .bind(&order.product_id)
                .bind(i64::from(order.quantity))
                .execute(self)
                .await?;
            Ok(())
        }

        async fn set_gift(&mut self, table: &str, order_id: &str) -> Result<(), StoreError> {
            let update = format!("update {table} set gift = 1 where order_id = $1");
            query(AssertSqlSafe(update)).bind(order_id).execute(self).await?;
            Ok(())
        }

        async fn set_delivery(
            &mut self,
            table: &str,
            order: &OrderShipped,
        ) -> Result<(), StoreError> {
            let update = format!("update {table} set delivery_id = $1 where order_id = $2");
            query(AssertSqlSafe(update))
                .bind(&order.delivery_id)
                .bind(&order.order_id)
                .execute(self)
                .await?;
            Ok(())
        }

        async fn look(&mut self, table: &str, limit: i64) -> Result<Look, StoreError> {
            let count = format!("select count(*), count(delivery_id) from {table}");
            let (orders, on_their_way) =
                query_as(AssertSqlSafe(count)).fetch_one(&mut *self).await?;
            let rows = format!(
                "select order_id || ': ' || quantity || ' × ' || product_id
                    || case gift when 1 then ', a gift' else '' end
                    || coalesce(', on its way with ' || delivery_id, ', placed')
                from {table} order by length(order_id) desc, order_id desc limit $1"
            );
            let rows: Vec<(String,)> =
                query_as(AssertSqlSafe(rows)).bind(limit).fetch_all(self).await?;
            Ok(Look { lines: rows.into_iter().map(|(line,)| line).collect(), orders, on_their_way })
        }
    }
}
