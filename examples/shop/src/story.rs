//! What events are good for, in five scenes; fails if anything is lost or happens twice.

use anyhow::{Context, ensure};
use fanfare::{Publisher, aws};

use crate::{
    journal::{note, say, scene},
    running::{STOCK, Shop, Started},
    services::orders::{OrderPlaced, Status},
};

/// Plays all scenes, and takes down on AWS what it put up.
pub async fn tell(shop: Shop) -> anyhow::Result<()> {
    let played = tokio::select! {
        played = play(&shop) => played,
        () = aws::interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    // What went wrong in the story matters more than what is left behind.
    let removed = aws::deprovision(&shop.aws, &shop.topology).await;
    played.and(removed.map(drop).map_err(Into::into))
}

async fn play(shop: &Shop) -> anyhow::Result<()> {
    scene("1. Provisioning: a topic per publisher, a queue and a dead-letter queue per service");
    note(aws::provision(&shop.aws, &shop.topology).await?);
    let provisioning = shop.aws.requests();

    scene(
        "2. Three services: each order reduces stock and starts a delivery, and neither knows the other",
    );
    let orders = shop.start("orders")?;
    let products = shop.start("products")?;
    let delivery = shop.start("delivery")?;
    let mut placed = Placed { shop, orders: Vec::new() };
    placed.place(&[("mug", 2), ("teapot", 1), ("kettle", 1)]).await?;
    // Products and delivery handle each order, orders each delivery: three for each.
    shop.tally.until("three orders", |counts| counts.handled == 9).await?;

    scene("3. Delivery stops while orders keep coming; then it catches up from its queue");
    delivery.stop().await?;
    say("delivery", "stopped");
    placed.place(&[("mug", 1), ("teapot", 2), ("mug", 3)]).await?;
    shop.tally.until("stock for three more orders", |counts| counts.handled == 12).await?;
    ensure!(placed.deliveries() == 3, "a stopped service handled something");
    say("delivery", "starts again: three orders wait in its queue");
    let delivery = shop.start("delivery")?;
    shop.tally.until("the deliveries that waited", |counts| counts.handled == 18).await?;

    scene("4. A malformed message is parked with its reason; its neighbours are handled");
    let malformed = placed.place_around_a_malformed_one().await?;
    shop.tally.until("the neighbours", |c| c.handled == 24 && c.rejected >= 2).await?;
    for service in ["products", "delivery"] {
        let parked = shop.queue(service).dead_letters().await?;
        let letter = parked.iter().find(|letter| letter.event_id.as_ref() == Some(&malformed));
        let letter = letter.with_context(|| format!("nothing parked for {service}"))?;
        let reason = letter.reason.as_deref().unwrap_or("no reason");
        say(service, format_args!("parked in its dead-letter queue: {reason}"));
    }

    scene("5. The same event delivered twice has its effect once");
    let again =
        shop.published.find(&placed.orders[0].event_id).context("the first order is gone")?;
    shop.published.publish(&[again]).await.into_result()?;
    say("orders", format_args!("{} is on the topic once more", placed.orders[0].order.order_id));
    // Each of the two publishes again what followed, and orders has seen that too.
    shop.tally.until("the duplicates", |counts| counts.duplicates >= 3).await?;
    say("all", "seen before: nothing done");

    scene("Summary");
    for service in [orders, products, delivery] {
        Started::stop(service).await?;
    }
    summary(shop, &placed, provisioning)
}

fn summary(shop: &Shop, placed: &Placed<'_>, provisioning: u64) -> anyhow::Result<()> {
    let counts = shop.tally.counts();
    let requests = shop.aws.requests() - provisioning;
    note(format_args!(
        "published {}, delivered {}: handled {}, duplicates {}, retried {}, rejected {}",
        shop.published.count(),
        counts.delivered,
        counts.handled,
        counts.duplicates,
        counts.retried,
        counts.rejected,
    ));
    note(format_args!("requests to AWS: {requests}, and {provisioning} for provisioning"));
    ensure!(
        counts.delivered == counts.handled + counts.duplicates + counts.retried + counts.rejected,
        "a delivery has no outcome: {counts:?}"
    );
    ensure!(counts.retried == 1, "one delivery was to be retried, {} were", counts.retried);
    let ordered: u32 = placed.orders.iter().map(|placed| placed.order.quantity).sum();
    let left = shop.stock.total();
    ensure!(
        left == 3 * STOCK - ordered,
        "stock is {left} after {ordered} of {} were ordered",
        3 * STOCK
    );
    for Order { order, .. } in &placed.orders {
        let id = &order.order_id;
        let deliveries = shop.deliveries.of(id);
        ensure!(deliveries == 1, "{id} has {deliveries} deliveries");
        let status = shop.book.status(id);
        ensure!(matches!(status, Some(Status::OnItsWay { .. })), "{id} is {status:?}");
    }
    note(format_args!(
        "{} orders: each reduced stock once, has one delivery, and is on its way",
        placed.orders.len()
    ));
    Ok(())
}

/// The orders that were placed.
struct Placed<'a> {
    shop: &'a Shop,
    orders: Vec<Order>,
}

struct Order {
    order: OrderPlaced,
    event_id: String,
}

impl Placed<'_> {
    async fn place(&mut self, items: &[(&str, u32)]) -> anyhow::Result<()> {
        let emitter = self.shop.emitter("orders");
        for &(product_id, quantity) in items {
            let order_id = format!("o-{}", self.orders.len() + 1);
            let order = OrderPlaced { order_id, product_id: product_id.into(), quantity };
            let event_id = self.shop.book.place(&emitter, &order).await?;
            self.orders.push(Order { order, event_id });
        }
        Ok(())
    }

    /// Two good orders with a broken one between them; gives the broken one's event id.
    async fn place_around_a_malformed_one(&mut self) -> anyhow::Result<String> {
        self.place(&[("teapot", 1)]).await?;
        let good = &self.orders[self.orders.len() - 1].event_id;
        let mut malformed = self.shop.published.find(good).context("the last order is gone")?;
        let id = malformed.id.replace(&malformed.id[..8], "badbadba");
        malformed.body = malformed.body.replace(&malformed.id, &id);
        malformed.body = malformed.body.replace("\"order_id\":\"", "\"oder_id\":\"");
        malformed.id.clone_from(&id);
        say("orders", "a broken order: its `order_id` is misspelt");
        self.shop.published.publish(&[malformed]).await.into_result()?;
        self.place(&[("mug", 1)]).await?;
        Ok(id)
    }

    fn deliveries(&self) -> usize {
        self.orders.iter().map(|placed| self.shop.deliveries.of(&placed.order.order_id)).sum()
    }
}
