//! A service joins, another leaves.

use anyhow::{Context, ensure};
use fanfare::{
    aws,
    sql::{EventLog, Replay},
};

use super::Story;
use crate::{
    database::Sql,
    journal::{note, say},
    service::SERVICES,
    services::recommendation::Purchases,
    tally::Counts,
};

impl<D: Sql> Story<'_, D> {
    pub(super) async fn one_joins(&mut self) -> anyhow::Result<()> {
        // Its queue first: it buffers what comes while the past is being told. A stream does anyway.
        self.provision(&SERVICES).await?;
        self.place(&[("mug", 2)]).await?;
        self.handled("an order in between", 6).await?;
        self.drained().await?;

        let (before, sent) = (self.shop.tally.counts(), self.shop.published.count());
        let recommendation = &self.services["recommendation"];
        let log = EventLog::new(&self.services["orders"].store.fanfare);
        let replay = Replay::new(&log, "recommendation-joins").rate(500);
        let (consumer, queue) = (recommendation.consumer(), self.shop.queue("recommendation"));
        let replayed = replay.run(&consumer, &queue, std::future::pending()).await?;
        say(
            "recommendation",
            format_args!(
                "was told of {} past events of {} orders, from orders' log",
                replayed.handled,
                self.placed.len()
            ),
        );
        let handled = self.shop.tally.counts().handled;
        ensure!(handled == before.handled, "somebody else handled something");
        ensure!(self.shop.published.count() == sent, "a replay was published");
        self.knows_all().await?;

        self.start("recommendation");
        self.knows_what_comes(before).await?;
        self.place(&[("teapot", 1)]).await?;
        self.handled("a new order, with four services", 8).await?;
        self.knows_all().await?;
        let mut purchases = self.services["recommendation"].store.read().await?;
        let (product, quantity) = purchases.best().await?.context("nothing was ever ordered")?;
        say("recommendation", format_args!("buy a {product}: {quantity} were ordered"));
        Ok(())
    }

    /// Waits until recommendation has had what it was told already, too: the order in between from its
    /// queue, or from a stream all that is still in it. Then it is as the others are.
    async fn knows_what_comes(&self, before: Counts) -> anyhow::Result<()> {
        // Placed and paid are two events, and the first order came twice.
        let everything = self.placed.len() * 2 + 1;
        let duplicates = before.duplicates + self.shop.orders_on.either(2, everything);
        // So is the broken one.
        let rejected = before.rejected + self.shop.orders_on.either(0, 1);
        let done = |counts: &Counts| counts.duplicates >= duplicates && counts.rejected >= rejected;
        self.shop.tally.until("what recommendation knows", done).await?;
        say(
            "recommendation",
            self.shop.orders_on.either(
                "the last of these waited in its queue: known, nothing done",
                "all of these are in the stream still: known, nothing done, the broken one parked",
            ),
        );
        Ok(())
    }

    pub(super) async fn one_leaves(&mut self) -> anyhow::Result<()> {
        self.stop("products").await?;
        let topology = self.shop.topology(&SERVICES);
        note(aws::retire(&self.shop.aws, &topology, "products").await?);
        self.place(&[("kettle", 1), ("mug", 1)]).await?;
        self.handled("orders without products", 10).await?;
        self.knows_all().await
    }

    /// Recommendation knows each order, once.
    pub(super) async fn knows_all(&self) -> anyhow::Result<()> {
        let mut purchases = self.services["recommendation"].store.read().await?;
        for placed in &self.placed {
            let order_id = &placed.order.order_id;
            let known = purchases.known(order_id).await?;
            ensure!(known == 1, "recommendation knows {order_id} {known} times");
        }
        Ok(())
    }
}
