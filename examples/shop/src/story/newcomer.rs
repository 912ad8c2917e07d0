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
    tally::Tally,
};

impl<D: Sql> Story<'_, D> {
    pub(super) async fn one_joins(&mut self) -> anyhow::Result<()> {
        // Its queue first: it buffers what comes while the past is being told.
        self.provision(&SERVICES).await?;
        self.place(&[("mug", 2)]).await?;
        self.handled("an order in between", 3).await?;
        self.drained().await?;

        let (before, sent) = (self.shop.tally.counts(), self.shop.published.count());
        let recommendation = &self.services["recommendation"];
        let log = EventLog::new(&self.services["orders"].store.fanfare);
        let replay = Replay::new(&log, "recommendation-joins").rate(500);
        let (consumer, queue) =
            (recommendation.consumer(&Tally::default()), self.shop.queue("recommendation"));
        let replayed = replay.run(&consumer, &queue, std::future::pending()).await?;
        say(
            "recommendation",
            format_args!("was told of {} past orders, from orders' log", replayed.handled),
        );
        ensure!(self.shop.tally.counts() == before, "somebody else handled something");
        ensure!(self.shop.published.count() == sent, "a replay was published");
        self.knows_all().await?;

        // The order in between is in its queue too: a duplicate. Then it is as the others are.
        self.start("recommendation");
        let duplicates = before.duplicates + 1;
        let seen = "the order in between";
        self.shop.tally.until(seen, |counts| counts.duplicates >= duplicates).await?;
        self.place(&[("teapot", 1)]).await?;
        self.handled("a new order, with four services", 4).await?;
        self.knows_all().await?;
        let mut purchases = self.services["recommendation"].store.read().await?;
        let (product, quantity) = purchases.best().await?.context("nothing was ever ordered")?;
        say("recommendation", format_args!("buy a {product}: {quantity} were ordered"));
        Ok(())
    }

    pub(super) async fn one_leaves(&mut self) -> anyhow::Result<()> {
        self.stop("products").await?;
        let topology = self.shop.topology(&SERVICES);
        note(aws::retire(&self.shop.aws, &topology, "products").await?);
        self.place(&[("kettle", 1), ("mug", 1)]).await?;
        self.handled("orders without products", 6).await?;
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
