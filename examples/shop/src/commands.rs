//! The commands of the shop: the story is `story.rs`.

use std::time::Duration;

use anyhow::Context;
use fanfare::{
    aws,
    sql::{EventLog, Replay, SqlInbox},
};

use crate::{
    database::Sql,
    journal::{note, say},
    progress,
    service::{SERVICES, Service},
    services::orders::{OrderBook, OrderPlaced},
    shop::Shop,
    verdict,
    view::ShopView,
};

/// What `shop place` takes.
#[derive(clap::Args)]
pub struct Place {
    /// How many
    #[arg(long, default_value_t = 1)]
    orders: u32,

    /// Begins the orders' ids; what was placed under the same name before is not placed again
    #[arg(long)]
    name: Option<String>,

    /// Milliseconds between two orders
    #[arg(long, default_value_t = 0)]
    pause: u64,

    /// After each commit, invoke the function that publishes what orders records; with --on
    #[arg(long)]
    pub wake: bool,
}

/// What `shop check` takes.
#[derive(clap::Args)]
pub struct Check {
    /// How many orders were placed
    #[arg(long)]
    orders: u32,

    /// Under which name
    #[arg(long)]
    name: String,

    /// Seconds that they may still take
    #[arg(long, default_value_t = 60)]
    within: u64,
}

/// What `shop run` takes.
#[derive(clap::Args)]
pub struct Run {
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SERVICES))]
    service: String,

    /// Leave publishing to `shop relay`
    #[arg(long)]
    without_relay: bool,

    /// Seconds after which a message that this process took comes again if the process dies, and the
    /// shards that it read are read on by another
    #[arg(long, default_value_t = 10)]
    visibility: u64,
}

/// Shows what waits in the outboxes.
pub async fn backlog<D: Sql>(home: &D::Home) -> anyhow::Result<()> {
    for name in SERVICES {
        say(name, Service::<D>::open(home, name).await?.backlog().await?);
    }
    Ok(())
}

impl Check {
    /// Waits until each order of the name has had each of its effects, and fails if one came twice. The shop
    /// has to have no others.
    pub async fn run<D: Sql>(&self, home: &D::Home) -> anyhow::Result<()> {
        let patience = Duration::from_secs(self.within);
        verdict::reached::<D>(home, &self.name, self.orders, patience).await?;
        let orders = self.orders;
        note(format_args!(
            "{orders} orders: each reduced stock once, has one delivery, and is on its way"
        ));
        Ok(())
    }
}

impl Place {
    /// Places orders, and wakes the relay if there is one to wake.
    pub async fn run<D: Sql>(
        &self,
        home: &D::Home,
        relay: Option<aws::RelayFunction>,
    ) -> anyhow::Result<()> {
        let Service { store, outbox, .. } = Service::<D>::open(home, "orders").await?;
        let book = OrderBook::new(store, outbox);
        let name = self.name.clone().unwrap_or_else(|| std::process::id().to_string());
        for number in 1..=self.orders {
            let order = order(&name, number);
            if book.place(&order).await?.is_some() {
                if let Some(relay) = &relay {
                    relay.wake().await?;
                }
                tokio::time::sleep(Duration::from_millis(self.pause)).await;
            }
        }
        Ok(())
    }
}

/// The order with this number.
pub fn order(name: &str, number: u32) -> OrderPlaced {
    let product_id = ["mug", "teapot", "kettle"][number as usize % 3].to_string();
    OrderPlaced { order_id: format!("o-{name}-{number}"), product_id, quantity: 1 }
}

/// Runs a service, and its relay, until the process is asked to end; forgets what it handled when that
/// can no longer come again.
pub async fn run<D: Sql>(shop: &Shop<D>, run: &Run) -> anyhow::Result<()> {
    let service = shop.open(&run.service).await?;
    let mut started = shop.work(&service, Duration::from_secs(run.visibility));
    if !run.without_relay {
        started.relay(shop.relay(&service));
    }
    let inbox = service.inbox();
    started.part(async move |stop| {
        inbox.purge_hourly(SqlInbox::RETENTION, stop).await;
        Ok(())
    });
    say(&run.service, "listens; Ctrl-C stops it");
    started.until(aws::interrupted()).await.map_err(hinted)
}

/// Runs the relays of some services, or of all, until the process is asked to end.
pub async fn relay<D: Sql>(shop: &Shop<D>, services: &[String]) -> anyhow::Result<()> {
    let all = SERVICES.map(String::from);
    let mut relays = tokio::task::JoinSet::new();
    for name in if services.is_empty() { &all[..] } else { services } {
        let service = shop.open(name).await?;
        say(name, "what it records is published; Ctrl-C stops it");
        relays.spawn(shop.relay(&service).run(aws::interrupted()));
    }
    while let Some(ended) = relays.join_next().await {
        ended??;
    }
    Ok(())
}

/// Tells a service of all past orders; it has to be provisioned, and must not run yet.
pub async fn replay<D: Sql>(shop: &Shop<D>, service: &str) -> anyhow::Result<()> {
    let (orders, told) = (shop.open("orders").await?, shop.open(service).await?);
    let log = EventLog::new(&orders.store.fanfare);
    let replay = Replay::new(&log, format!("{service}-joins"));
    let consumer = told.consumer();
    let replayed = replay.run(&consumer, &shop.queue(service), aws::interrupted()).await?;
    let end = if replayed.complete { "told of all" } else { "stopped; run it again to go on" };
    let (handled, known) = (replayed.handled, replayed.duplicates);
    say(service, format_args!("{handled} past events, and {known} that it knew: {end}"));
    Ok(())
}

/// Brings the view up to date, or makes it anew, and shows the last orders.
pub async fn view<D: Sql>(home: &D::Home, rebuild: bool) -> anyhow::Result<()> {
    let orders = Service::<D>::open(home, "orders").await?;
    let view = ShopView::<D>::open(home).await?;
    let bar = progress::bar("made anew");
    let drawn = bar.clone();
    let projection = view.projection(&orders).on_progress(move |progress| {
        drawn.set_length(progress.total);
        drawn.set_position(progress.done);
    });
    say("view", format_args!("{} events behind", projection.lag().await?.events));
    if rebuild {
        projection.rebuild().await?;
    } else {
        let caught_up = async {
            while projection.lag().await?.events > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        let stop = tokio_util::sync::CancellationToken::new();
        let keeping = projection.run(stop.cancelled());
        let stopping = async {
            let caught_up = caught_up.await;
            stop.cancel();
            caught_up
        };
        let (kept, caught_up) = tokio::join!(keeping, stopping);
        kept?;
        caught_up?;
    }
    bar.finish_and_clear();
    let live = projection.live_generation().await?.context("the view is empty")?;
    let look = view.look(live, 10).await?;
    if rebuild {
        say("view", format_args!("made anew, as generation {live}"));
    }
    note(format_args!("{} orders, {} on their way; the last:", look.orders, look.on_their_way));
    note(look.lines.join("\n"));
    Ok(())
}

fn hinted(error: anyhow::Error) -> anyhow::Error {
    use aws::{StreamWorkerError::NoStream, WorkerError::NoQueue};
    let no_queue = matches!(error.downcast_ref(), Some(NoQueue { .. }));
    let no_stream = matches!(error.downcast_ref(), Some(NoStream { .. }));
    match no_queue || no_stream {
        true => anyhow::anyhow!("{error} (`shop provision`, with the same --on and --orders-on)"),
        false => error,
    }
}
