//! The scenes that need no more than topics and queues.

use anyhow::{Context, ensure};
use fanfare::{Publisher, aws};

use super::Story;
use crate::{
    database::Sql,
    journal::{note, say},
    services::delivery::Deliveries,
};

impl<D: Sql> Story<'_, D> {
    pub(super) async fn provision(&mut self, services: &[&str]) -> anyhow::Result<()> {
        note(aws::provision(&self.shop.aws, &self.shop.topology(services)).await?);
        Ok(())
    }

    pub(super) async fn three_services(&mut self) -> anyhow::Result<()> {
        for service in ["orders", "products", "delivery"] {
            self.start(service);
        }
        self.place(&[("mug", 2), ("teapot", 1), ("kettle", 1)]).await?;
        // Of each order products handles that it is placed, paid and shipped, delivery the first two,
        // and orders handles the delivery: six for each.
        self.handled("three orders", 18).await
    }

    pub(super) async fn one_stops(&mut self) -> anyhow::Result<()> {
        self.stop("delivery").await?;
        say("delivery", "stopped");
        self.place(&[("mug", 1), ("teapot", 2), ("mug", 3)]).await?;
        self.handled("stock for three more orders", 6).await?;
        let mut started = 0;
        for placed in &self.placed {
            let mut deliveries = self.services["delivery"].store.read().await?;
            started += deliveries.of(&placed.order.order_id).await?;
        }
        ensure!(started == 3, "a stopped service handled something");
        let place = self.shop.orders_on.either("its queue", "the stream");
        say("delivery", format_args!("starts again: three orders wait in {place}"));
        self.start("delivery");
        self.handled("the deliveries that waited", 12).await
    }

    pub(super) async fn one_is_malformed(&mut self) -> anyhow::Result<()> {
        self.place(&[("teapot", 1)]).await?;
        let good = &self.placed[self.placed.len() - 1].event_id;
        self.shop.published.until_sent(good).await?;
        let mut malformed = self.shop.published.find(good).context("the last order is gone")?;
        let id = malformed.id.replace(&malformed.id[..8], "badbadba");
        malformed.body = malformed.body.replace(&malformed.id, &id);
        malformed.body = malformed.body.replace("\"order_id\":\"", "\"oder_id\":\"");
        malformed.id.clone_from(&id);
        say("orders", "a broken order: its `order_id` is misspelt");
        self.shop.published.publish(&[malformed]).await.into_result()?;
        self.place(&[("mug", 1)]).await?;

        self.handled("the neighbours", 12).await?;
        self.shop.tally.until("the broken one", |counts| counts.rejected >= 2).await?;
        for service in ["products", "delivery"] {
            let parked = self.shop.queue(service).dead_letters().await?;
            let letter = parked.iter().find(|letter| letter.event_id.as_ref() == Some(&id));
            let letter = letter.with_context(|| format!("nothing parked for {service}"))?;
            let reason = letter.reason.as_deref().unwrap_or("no reason");
            say(service, format_args!("parked in its dead-letter queue: {reason}"));
        }
        Ok(())
    }

    pub(super) async fn one_comes_twice(&mut self) -> anyhow::Result<()> {
        let first = &self.placed[0];
        let again = self.shop.published.find(&first.event_id).context("the first is gone")?;
        self.shop.published.publish(&[again]).await.into_result()?;
        say("orders", format_args!("{} is on the topic once more", first.order.order_id));
        self.shop.tally.until("the duplicates", |counts| counts.duplicates >= 2).await?;
        say("all", "seen before: nothing done");
        Ok(())
    }
}
