//! The stock in SQL.

use sqlx::query_as;

use super::{Mark, Stock, StoreError};
use crate::database::on_both;

/// A thousand of each product to begin with. Nothing makes reductions unique, so that an effect that
/// happened twice would be seen: it is the inbox that makes it happen once.
pub const TABLES: &str = "
    create table if not exists stock (product_id text primary key, quantity bigint not null);
    insert into stock values ('mug', 1000), ('teapot', 1000), ('kettle', 1000)
        on conflict do nothing;
    create table if not exists reductions (
        order_id text not null, product_id text not null, quantity bigint not null);
    create index if not exists reductions_of_an_order on reductions (order_id);
    create table if not exists marks (order_id text not null, mark text not null);
    create index if not exists marks_of_an_order on marks (order_id);";

on_both! {
    impl Stock {
        async fn reduce(
            &mut self,
            order_id: &str,
            product_id: &str,
            quantity: u32,
        ) -> Result<Option<i64>, StoreError> {
            let left: Option<(i64,)> = query_as(
                "update stock set quantity = quantity - $1
                where product_id = $2 and quantity >= $1 returning quantity",
            )
            .bind(i64::from(quantity))
            .bind(product_id)
            .fetch_optional(&mut *self)
            .await?;
            let Some((left,)) = left else { return Ok(None) };
            sqlx::query("insert into reductions values ($1, $2, $3)")
                .bind(order_id)
                .bind(product_id)
                .bind(i64::from(quantity))
                .execute(self)
                .await?;
            Ok(Some(left))
        }

        async fn mark(&mut self, order_id: &str, mark: Mark) -> Result<(), StoreError> {
            let mark = match mark {
                Mark::Sold => "sold",
                Mark::Gone => "gone",
            };
            let marked = sqlx::query("insert into marks values ($1, $2)").bind(order_id).bind(mark);
            marked.execute(self).await?;
            Ok(())
        }

        async fn marks(&mut self, order_id: &str) -> Result<(i64, i64), StoreError> {
            let marks = query_as(
                "select count(case mark when 'sold' then 1 end), count(case mark when 'gone' then 1 end)
                from marks where order_id = $1",
            );
            Ok(marks.bind(order_id).fetch_one(self).await?)
        }

        async fn left(&mut self, product_id: &str) -> Result<Option<i64>, StoreError> {
            let left = query_as("select quantity from stock where product_id = $1");
            let left: Option<(i64,)> = left.bind(product_id).fetch_optional(self).await?;
            Ok(left.map(|(left,)| left))
        }

        async fn taken(&mut self, order_id: &str) -> Result<(i64, i64), StoreError> {
            let taken = query_as(
                "select count(*), cast(coalesce(sum(quantity), 0) as bigint)
                from reductions where order_id = $1",
            );
            Ok(taken.bind(order_id).fetch_one(self).await?)
        }
    }
}
