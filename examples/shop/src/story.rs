//! What events are good for, in some scenes; fails if anything is lost or happens twice.

mod basics;
mod newcomer;
mod outage;
mod read_side;
mod summary;

use std::collections::BTreeMap;

use anyhow::Context;
use fanfare::aws;

use crate::{
    database::Sql,
    journal::scene,
    service::{SERVICES, Service},
    services::orders::{OrderBook, OrderPlaced},
    shop::{Shop, Started},
};

/// Plays all scenes, takes down on AWS what it put up, and removes its databases if all went well.
pub async fn tell<D: Sql>(shop: Shop<D>) -> anyhow::Result<()> {
    let played = tokio::select! {
        played = play(&shop) => played,
        () = aws::interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    // What went wrong in the story matters more than what is left behind.
    let removed = aws::deprovision(&shop.aws, &shop.topology(&SERVICES)).await;
    played?;
    removed?;
    Ok(D::remove(shop.home).await?)
}

async fn play<D: Sql>(shop: &Shop<D>) -> anyhow::Result<()> {
    let mut story = Story::new(shop).await?;
    let orders = shop.orders_on;
    scene(orders.either(
        "1. Provisioning: a topic per publisher, a queue and a dead-letter queue per service",
        "1. Provisioning: a stream for orders, a topic per other publisher, a queue for who listens to \
         one, and a dead-letter queue per service",
    ));
    story.provision(&SERVICES[..3]).await?;
    scene(
        "2. Three services: each order reduces stock and starts a delivery, and neither knows the other",
    );
    story.three_services().await?;
    scene(orders.either(
        "3. Delivery stops while orders keep coming; then it catches up from its queue",
        "3. Delivery stops while orders keep coming; then it reads on from where it was",
    ));
    story.one_stops().await?;
    scene("4. A malformed message is parked with its reason; its neighbours are handled");
    story.one_is_malformed().await?;
    scene("5. The same event delivered twice has its effect once");
    story.one_comes_twice().await?;
    scene("6. AWS is down: orders are still taken, and their events wait in the outbox");
    story.an_outage().await?;
    scene("7. Recommendation joins, and is told of every past order; nobody else hears of it");
    story.one_joins().await?;
    scene("8. Products leaves for good, and nobody notices");
    story.one_leaves().await?;
    scene("9. The read side: orders with their delivery, in a database of its own");
    story.read_side().await?;
    scene("Summary");
    story.end().await
}

/// The shop while the story is told.
struct Story<'a, D: Sql> {
    shop: &'a Shop<D>,
    services: BTreeMap<&'static str, Service<D>>,
    running: BTreeMap<&'static str, Started>,
    book: OrderBook<D>,
    placed: Vec<Placed>,
    /// How many deliveries are handled by now if nothing is lost.
    handled: usize,
}

/// An order that was placed.
struct Placed {
    order: OrderPlaced,
    event_id: String,
    /// Whether products was still there.
    reduces_stock: bool,
}

impl<'a, D: Sql> Story<'a, D> {
    async fn new(shop: &'a Shop<D>) -> anyhow::Result<Self> {
        let mut services = BTreeMap::new();
        for name in SERVICES {
            services.insert(name, shop.open(name).await?);
        }
        let orders = &services["orders"];
        let book = OrderBook::new(orders.store.clone(), orders.outbox.clone());
        let (running, placed) = (BTreeMap::new(), Vec::new());
        Ok(Story { shop, services, running, book, placed, handled: 0 })
    }

    fn start(&mut self, service: &'static str) {
        self.running.insert(service, self.shop.start(&self.services[service]));
    }

    async fn stop(&mut self, service: &str) -> anyhow::Result<()> {
        self.running.remove(service).context("it does not run")?.stop().await
    }

    async fn place(&mut self, items: &[(&str, u32)]) -> anyhow::Result<()> {
        for &(product_id, quantity) in items {
            let order_id = format!("o-{}", self.placed.len() + 1);
            let order = OrderPlaced { order_id, product_id: product_id.into(), quantity };
            let event_id = self.book.place(&order).await?.context("it was placed before")?;
            let reduces_stock = self.running.contains_key("products");
            self.placed.push(Placed { order, event_id, reduces_stock });
        }
        Ok(())
    }

    /// Waits until `more` deliveries are handled.
    async fn handled(&mut self, what: &str, more: usize) -> anyhow::Result<()> {
        self.handled += more;
        let handled = self.handled;
        self.shop.tally.until(what, |counts| counts.handled >= handled).await
    }
}
