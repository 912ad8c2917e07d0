//! Whether every order had each of its effects once.

use std::time::Duration;

use anyhow::{bail, ensure};
use fanfare::sql::{EventLog, Filter, Position};
use tokio::time::Instant;

use crate::{
    commands,
    database::Sql,
    service::Service,
    services::{
        delivery::Deliveries,
        orders::{Orders, Status},
        products::Stock,
    },
};

/// What became of all orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    on_their_way: u32,
    reductions: i64,
    deliveries: i64,
    sold: i64,
    gone: i64,
    logged: u64,
    waiting: u64,
}

/// Waits until every order is on its way and no event waits; fails if an effect came twice, or if
/// it takes longer than `patience`.
pub(crate) async fn reached<D: Sql>(
    home: &D::Home,
    name: &str,
    orders: u32,
    patience: Duration,
) -> anyhow::Result<Verdict> {
    let deadline = Instant::now() + patience;
    let count = i64::from(orders);
    // Each order has been placed, paid and shipped, and its history says so.
    let logged = u64::from(orders) * 3;
    let wanted = Verdict {
        on_their_way: orders,
        reductions: count,
        deliveries: count,
        sold: count,
        gone: count,
        logged,
        waiting: 0,
    };
    loop {
        let verdict = of::<D>(home, name, orders).await?;
        if verdict == wanted {
            return Ok(verdict);
        }
        if Instant::now() > deadline {
            bail!("not after {patience:?}: {verdict:?}, where {wanted:?} is to be");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What has become of all orders by now; fails if an effect came twice.
pub(crate) async fn of<D: Sql>(home: &D::Home, name: &str, orders: u32) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    let book = Service::<D>::open(home, "orders").await?;
    let products = Service::<D>::open(home, "products").await?;
    let delivery = Service::<D>::open(home, "delivery").await?;
    let mut taken = 0;
    {
        let mut statuses = book.store.read().await?;
        let mut stock = products.store.read().await?;
        let mut deliveries = delivery.store.read().await?;
        for number in 1..=orders {
            let id = commands::order(name, number).order_id;
            let (reductions, quantity) = stock.taken(&id).await?;
            ensure!(reductions <= 1, "{id} reduced stock {reductions} times");
            let (sold, gone) = stock.marks(&id).await?;
            ensure!(sold <= 1 && gone <= 1, "{id} was sold {sold} times and gone {gone} times");
            let started = deliveries.of(&id).await?;
            ensure!(started <= 1, "{id} has {started} deliveries");
            let status = statuses.status(&id).await?;
            verdict.on_their_way += u32::from(matches!(status, Some(Status::OnItsWay { .. })));
            verdict.reductions += reductions;
            verdict.deliveries += started;
            verdict.sold += sold;
            verdict.gone += gone;
            taken += quantity;
        }
        if verdict.reductions == i64::from(orders) {
            let mut left = 0;
            for product in ["mug", "teapot", "kettle"] {
                left += stock.left(product).await?.unwrap_or_default();
            }
            ensure!(left == 3_000 - taken, "stock is {left} after {taken} of 3000 were ordered");
        }
    }
    let log = EventLog::new(&book.store.fanfare);
    let end = log.high_water().await?;
    verdict.logged = log.count(&Filter::all(), Position::START, end).await?;
    for service in [&book, &products, &delivery] {
        let backlog = service.outbox.backlog().await?;
        verdict.waiting += backlog.iter().map(|shard| shard.events).sum::<u64>();
    }
    Ok(verdict)
}
