//! Whether all is as it should be in the end.

use anyhow::ensure;

use super::Story;
use crate::{
    cost::Load,
    database::Sql,
    journal::{note, scene},
    journeys::told,
    services::{
        delivery::Deliveries,
        orders::{Orders, Status},
        products::Stock,
    },
    topology::OrdersOn,
};

impl<D: Sql> Story<'_, D> {
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.drained().await?;
        for service in self.running.keys().copied().collect::<Vec<_>>() {
            self.stop(service).await?;
        }
        let counts = self.shop.tally.counts();
        note(format_args!(
            "published {}; handled {}, duplicates {}, retried {}, rejected {}, held back {}, \
             passed over {}, of {} deliveries",
            self.shop.published.count(),
            counts.handled,
            counts.duplicates,
            counts.retried,
            counts.rejected,
            counts.held_back,
            counts.passed_over,
            counts.delivered,
        ));
        note(format_args!("requests to AWS: {}", self.shop.aws.requests()));
        ensure!(
            counts.delivered
                == counts.handled
                    + counts.duplicates
                    + counts.retried
                    + counts.rejected
                    + counts.held_back
                    + counts.passed_over,
            "a delivery has no outcome: {counts:?}"
        );
        ensure!(counts.handled == self.handled, "{} were to be handled: {counts:?}", self.handled);
        let mut taken = 0;
        for placed in &self.placed {
            taken += self.is_done(placed).await?;
        }
        let mut left = 0;
        let mut stock = self.services["products"].store.read().await?;
        for product in ["mug", "teapot", "kettle"] {
            left += stock.left(product).await?.unwrap_or_default();
        }
        ensure!(left == 3_000 - taken, "stock is {left} after {taken} of 3000 were ordered");
        self.knows_all().await?;
        note(format_args!(
            "{} orders: each reduced stock once while there was one, has one delivery, and is on its way",
            self.placed.len()
        ));
        self.sequences()?;
        self.costs();
        Ok(())
    }

    /// Shows in which order services handled the events of the first order that had to be tried again,
    /// and fails if any order's came out of order where the topic keeps it.
    fn sequences(&self) -> anyhow::Result<()> {
        let journeys = self.shop.tally.journeys.all();
        let tried = self.placed.iter().find(|placed| placed.order.product_id == "kettle");
        let shown = tried.map(|placed| placed.order.order_id.as_str()).unwrap_or_default();
        for (_, service, steps) in journeys.iter().filter(|(order, ..)| order == shown) {
            note(format_args!("{shown} in {service}: {}", told(steps)));
        }
        let astray: Vec<_> = journeys.iter().filter(|(.., steps)| !steps.is_sorted()).collect();
        match self.shop.orders_on {
            OrdersOn::Kinesis => {
                ensure!(astray.is_empty(), "handled out of order: {astray:?}");
                note("every service handled the events of each order in their order");
            }
            OrdersOn::Sns => note(format_args!(
                "{} of {} such sequences were out of order: a standard topic promises none \
                 (--orders-on kinesis keeps it), and these handlers do not need it",
                astray.len(),
                journeys.len()
            )),
        }
        Ok(())
    }

    /// What the topic of orders would cost with more to do.
    fn costs(&self) {
        scene("What the topic of orders would cost");
        let bytes = self.shop.published.mean_bytes("orders");
        Load { events_per_second: 100.0, services: 3, bytes }.compare();
        note("other loads: shop cost --help");
    }

    /// That all happened to an order that should, once; gives what it took from the stock.
    async fn is_done(&self, placed: &super::Placed) -> anyhow::Result<i64> {
        let id = &placed.order.order_id;
        let mut stock = self.services["products"].store.read().await?;
        let (times, taken) = stock.taken(id).await?;
        let expected =
            if placed.reduces_stock { (1, i64::from(placed.order.quantity)) } else { (0, 0) };
        ensure!((times, taken) == expected, "{id} reduced stock {times} times, by {taken}");
        let marks = stock.marks(id).await?;
        ensure!(marks == (times, times), "{id} was marked as sold and gone so often: {marks:?}");
        let deliveries = self.services["delivery"].store.read().await?.of(id).await?;
        ensure!(deliveries == 1, "{id} has {deliveries} deliveries");
        let status = self.services["orders"].store.read().await?.status(id).await?;
        ensure!(matches!(status, Some(Status::OnItsWay { .. })), "{id} is {status:?}");
        Ok(taken)
    }
}
