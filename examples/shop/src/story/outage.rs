//! AWS is down.

use anyhow::{bail, ensure};

use super::Story;
use crate::{
    database::Sql,
    journal::{note, say},
};

impl<D: Sql> Story<'_, D> {
    pub(super) async fn an_outage(&mut self) -> anyhow::Result<()> {
        let before = self.placed.len();
        // What was recorded before is not to be counted among what waits.
        self.drained().await?;
        self.shop.published.cut_off(true);
        say("all", "no topic takes anything");
        self.place(&[("mug", 1), ("kettle", 1), ("teapot", 3)]).await?;
        for placed in &self.placed[before..] {
            self.book.wrap(&placed.order.order_id).await?;
        }
        let orders = &self.services["orders"];
        let waiting: u64 = orders.outbox.backlog().await?.iter().map(|shard| shard.events).sum();
        ensure!(waiting == 9, "{waiting} events wait in the outbox, nine were recorded");
        say("orders", orders.backlog().await?);

        self.shop.published.cut_off(false);
        say("all", "topics take events again");
        self.handled("the orders that waited", 18).await?;
        self.drained().await?;
        say("orders", self.services["orders"].backlog().await?);
        for placed in &self.placed[before..] {
            let order_id = &placed.order.order_id;
            let tags = self.shop.published.tags(order_id);
            let orders = tags.iter().filter_map(|tag| tag.strip_prefix("shop.orders."));
            let orders: Vec<&str> = orders.collect();
            let expected =
                ["OrderPlaced.v1", "OrderPaid.v1", "GiftWrapWanted.v1", "OrderShipped.v1"];
            ensure!(orders == expected, "{order_id} was published as {orders:?}");
        }
        note("nothing was lost, and each order's events went out in their order");
        Ok(())
    }

    /// Waits until the outboxes are empty.
    pub(super) async fn drained(&self) -> anyhow::Result<()> {
        for _ in 0..600 {
            let mut waiting = 0;
            for service in self.running.keys() {
                waiting += self.services[service].outbox.backlog().await?.len();
            }
            if waiting == 0 {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        bail!("events wait in an outbox for half a minute")
    }
}
